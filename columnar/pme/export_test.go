package pme

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"

	"coldframe/internal/fault"
)

// SwapAEAD makes data keys use another cipher until restore is called.
func SwapAEAD(f func(key []byte) (cipher.AEAD, error)) (restore func()) {
	newAEAD = f
	return func() { newAEAD = aesGCM }
}

// AESGCM is the real cipher.
func AESGCM(key []byte) (cipher.AEAD, error) { return aesGCM(key) }

// Forged is a file whose tail an insider takes apart, who has the footer key.
type Forged struct {
	Body        []byte // up to the tail
	Unique      []byte
	KeyMetadata []byte
	DEK         []byte // of the footer
	Footer      []byte // FileMetaData
}

// Forge opens the tail of a file.
func Forge(file []byte, keys Keys, prefix []byte) (*Forged, error) {
	n, err := TailSize(file, int64(len(file)), ReadOptions{})
	if err != nil {
		return nil, err
	}
	tail := append([]byte(nil), file[int64(len(file))-n:]...)
	c, at, err := parseFileCrypto(tail)
	if err != nil {
		return nil, err
	}
	dek, err := keys.DataKey(nil, c.keyMetadata)
	if err != nil {
		return nil, err
	}
	k, err := newDataKey(dek)
	if err != nil {
		return nil, err
	}
	footer, err := k.open(tail[at:len(tail)-footerTrailer], footerAAD(append(append([]byte(nil), prefix...), c.unique...)))
	return &Forged{Body: file[:int64(len(file))-n], Unique: c.unique, KeyMetadata: c.keyMetadata, DEK: dek, Footer: footer}, err
}

// AAD returns the associated data of the footer.
func (f *Forged) AAD(prefix []byte) []byte {
	return footerAAD(append(append([]byte(nil), prefix...), f.Unique...))
}

// Seal puts the file together again.
func (f *Forged) Seal(prefix []byte) []byte {
	k, err := newDataKey(f.DEK)
	if err != nil {
		panic(err)
	}
	frame, err := k.seal(nil, f.Footer, f.AAD(prefix))
	if err != nil {
		panic(err)
	}
	return f.SealWith(prefix, frame)
}

// SealWith puts the file together with a footer module made elsewhere.
func (f *Forged) SealWith(prefix, frame []byte) []byte {
	tail := append((&fileCrypto{prefix: prefix, unique: f.Unique, keyMetadata: f.KeyMetadata}).encode(), frame...)
	tail = binary.LittleEndian.AppendUint32(tail, uint32(len(tail)))
	return append(append(append([]byte(nil), f.Body...), tail...), magicEncrypted...)
}

// WrapKey is wrapKey.
func WrapKey(mk NamedKey, dek, nonce []byte, footer bool) ([]byte, error) {
	return wrapKey(mk, dek, nonce, footer)
}

// Frame is the module frame of plaintext.
func Frame(key, plaintext, aad []byte) []byte {
	k, err := newDataKey(key)
	if err != nil {
		panic(err)
	}
	b, err := k.seal(nil, plaintext, aad)
	if err != nil {
		panic(err)
	}
	return b
}

// PageAAD is the associated data of a module with a page number.
func PageAAD(prefix []byte, kind, rowGroup, column, page int) []byte {
	a := newPageAAD(prefix, rowGroup, column)
	return a.page(moduleType(kind), page)
}

// ModuleAAD is the associated data of a module without a page number.
func ModuleAAD(prefix []byte, kind, rowGroup, column int) []byte {
	a := newPageAAD(prefix, rowGroup, column)
	return a.module(moduleType(kind))
}

// SpendKey counts what a data key would have sealed, and returns the error of the next module of size bytes.
func SpendKey(modules, bytes uint64, size int) error {
	var k dataKey
	k.modules.Store(modules)
	k.bytes.Store(bytes)
	_, err := k.use(size)
	return err
}

// Limits of a data key.
const (
	MaxKeyModules = maxKeyModules
	MaxKeyBytes   = maxKeyBytes
	MaxOrdinal    = maxOrdinal
)

// Encoder writes Thrift for forged structures.
type Encoder = encoder

// Methods and types of Encoder under exported names.
func (e *encoder) Int(id int16, typ byte, v int64) { e.integer(id, typ, v) }
func (e *encoder) Str(id int16, v string)          { e.binary(id, []byte(v)) }
func (e *encoder) List(id int16, elem byte, n int) { e.list(id, elem, n) }
func (e *encoder) Begin(id int16)                  { e.begin(id) }
func (e *encoder) Elem()                           { e.beginElement() }
func (e *encoder) End()                            { e.end() }
func (e *encoder) Raw(b []byte)                    { e.b = append(e.b, b...) }
func (e *encoder) Bytes() []byte                   { return e.b }
func (e *encoder) Header(id int16, typ byte)       { e.header(id, typ) }

// Thrift types.
const (
	TI16, TI32, TI64, TBinary, TList, TStruct = tI16, tI32, tI64, tBinary, tList, tStruct
)

// Parsers of outside bytes, for fuzzing.
var (
	ParsePageHeader = func(b []byte) (int, error) { _, n, err := parsePageHeader(b); return n, err }
	ParseMaterial   = func(b []byte) ([]byte, error) {
		m, err := parseMaterial(b)
		if err != nil {
			return nil, err
		}
		return m.encode()
	}
	ParseFileCrypto = func(b []byte) ([]byte, int, error) {
		c, n, err := parseFileCrypto(b)
		if err != nil {
			return nil, 0, err
		}
		return c.encode(), n, nil
	}
	ResizePage = func(b []byte, size int64) ([]byte, error) {
		var e encoder
		if err := resizePage(&e, b, size); err != nil {
			return nil, err
		}
		e.end()
		return e.b, nil
	}
)

// FillHeader stretches an empty page header to n bytes.
func FillHeader(n int) ([]byte, error) {
	var e encoder
	err := fillHeader(&e, n)
	return e.b, err
}

// Padme is padme.
func Padme(n int64) int64 { return padme(n) }

// OpenFrame opens a module frame.
func OpenFrame(key, frame, aad []byte) ([]byte, error) {
	k, err := newDataKey(key)
	if err != nil {
		return nil, err
	}
	f, rest, err := nextFrame(frame)
	if err != nil || len(rest) != 0 {
		return nil, errNotAuthentic
	}
	return k.open(f, aad)
}

// PlainWithChunk is a plain file of one column like plain, with another chunk of n values.
func PlainWithChunk(plain, pages []byte, n int64) []byte {
	m, err := plainFooter(plain)
	if err != nil {
		panic(err)
	}
	g, err := onlyRowGroup(m)
	if err != nil {
		panic(err)
	}
	var chunk encoder
	_ = eachElement(g.columns, tStruct, 1, func(_ int, raw []byte) error {
		cc, _ := parseColumnChunk(raw)
		return fields(cc.metadata, func(f field) error {
			switch f.id {
			case cmValues:
				chunk.integer(f.id, tI64, n)
			case cmCompressed, cmRaw:
				chunk.integer(f.id, tI64, int64(len(pages)))
			case cmDataOffset:
				chunk.integer(f.id, tI64, magicSize)
			case cmDictOffset:
			default:
				chunk.field(f)
			}
			return nil
		})
	})
	chunk.end()
	var e encoder
	e.integer(fmVersion, tI32, 2)
	e.list(fmSchema, tStruct, 1+len(m.schema.elements))
	e.b = append(e.b, m.schema.root...)
	for _, el := range m.schema.elements {
		e.b = append(e.b, el.raw...)
	}
	e.integer(fmRows, tI64, n)
	e.list(fmRowGroups, tStruct, 1)
	e.beginElement()
	e.list(rgColumns, tStruct, 1)
	e.beginElement()
	e.integer(ccOffset, tI64, 0)
	e.field(field{id: ccMetadata, typ: tStruct, raw: chunk.b})
	e.end()
	e.integer(rgBytes, tI64, int64(len(pages)))
	e.integer(rgRows, tI64, n)
	e.end()
	e.end()
	out := append(append([]byte(nil), magicPlain...), pages...)
	out = append(out, e.b...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(e.b)))
	return append(out, magicPlain...)
}

// SealPlain seals a column that another encoder wrote as a plain Parquet file of its own, whatever its pages are.
func (f *FileWriter) SealPlain(rowGroupOrdinal, columnIndex int, plain, dst []byte) (*SealedColumn, error) {
	meta, err := plainFooter(plain)
	if err != nil {
		return nil, err
	}
	group, err := onlyRowGroup(meta)
	if err != nil {
		return nil, err
	}
	s, err := f.SealColumn(rowGroupOrdinal, columnIndex, group.rows, dst)
	if err != nil {
		return nil, err
	}
	err = eachElement(group.columns, tStruct, len(meta.schema.leaves), func(_ int, raw []byte) error {
		cc, err := parseColumnChunk(raw)
		if err != nil {
			return err
		}
		m, err := parseChunkMeta(bytes.Clone(cc.metadata))
		if err != nil {
			return err
		}
		s.begin(m)
		if err := s.chunk.sealPages(plain[m.start() : m.start()+m.compressed]); err != nil {
			return err
		}
		return s.end(m)
	})
	if err != nil {
		return nil, err
	}
	return s.Close(), nil
}

// sealPages seals the pages of a plain chunk under their own headers.
func (s *chunkSealer) sealPages(chunk []byte) error {
	for len(chunk) > 0 {
		h, n, err := parsePageHeader(chunk)
		if err != nil {
			return err
		}
		if h.size > int64(len(chunk)-n) {
			return fault.New(fault.Internal, "a page beyond its chunk")
		}
		s.header.b = s.header.b[:0]
		if err := resizePage(&s.header, chunk[:n], h.size+frameOverhead); err != nil {
			return err
		}
		s.header.end()
		if err := s.add(h, chunk[n:n+int(h.size)]); err != nil {
			return err
		}
		chunk = chunk[n+int(h.size):]
	}
	return nil
}

func onlyRowGroup(m *fileMeta) (g rowGroup, err error) {
	err = eachElement(m.rowGroups, tStruct, 1, func(_ int, raw []byte) (err error) {
		g, err = parseRowGroup(raw)
		return err
	})
	return g, err
}

// SealOnly seals the only chunk of plain without taking its hash.
func (f *FileWriter) SealOnly(plain, dst []byte) error {
	m, err := plainFooter(plain)
	if err != nil {
		return err
	}
	g, err := onlyRowGroup(m)
	if err != nil {
		return err
	}
	return eachElement(g.columns, tStruct, 1, func(_ int, raw []byte) error {
		cc, err := parseColumnChunk(raw)
		if err != nil {
			return err
		}
		cm, err := parseChunkMeta(cc.metadata)
		if err != nil {
			return err
		}
		s := chunkSealer{key: f.leaves[0].key, aad: newPageAAD(f.aad, 0, 0), meta: cm, maxPage: f.maxPage, out: dst[:0]}
		return s.sealPages(plain[cm.start() : cm.start()+cm.compressed])
	})
}

// Restate gives the only leaf of a column other statistics.
func (c *SealedColumn) Restate(s Statistics) {
	var e encoder
	_ = fields(c.leaves[0].meta.raw, func(f field) error {
		if f.id != cmStatistics {
			e.field(f)
			return nil
		}
		s.encode(&e)
		return nil
	})
	e.end()
	c.leaves[0].meta.raw = e.b
}

// ForgeColumn seals one page as the only one of a column's chunk, whatever its header says. The header is padded to a length.
func (f *FileWriter) ForgeColumn(plain, page []byte, dictionary bool, header int) *SealedColumn {
	m, err := plainFooter(plain)
	if err != nil {
		panic(err)
	}
	g, err := onlyRowGroup(m)
	if err != nil {
		panic(err)
	}
	c := &SealedColumn{Rows: g.rows}
	_ = eachElement(g.columns, tStruct, 1, func(_ int, raw []byte) error {
		cc, _ := parseColumnChunk(raw)
		cm, _ := parseChunkMeta(cc.metadata)
		n, err := eachField(page, func(field) error { return nil })
		if err != nil {
			panic(err)
		}
		s := chunkSealer{key: f.leaves[0].key, aad: newPageAAD(f.aad, 0, 0), meta: cm}
		leaf := sealedLeaf{meta: cm}
		var h encoder
		if err := resizePage(&h, page[:n], int64(len(page)-n+frameOverhead)); err != nil {
			panic(err)
		}
		h.end()
		padded := append(h.b, make([]byte, max(0, header-len(h.b)))...)
		headerAAD, pageAAD := s.aad.module(moduleDictPageHeader), ModuleAAD(f.aad, int(moduleDictPage), 0, 0)
		if !dictionary {
			headerAAD, pageAAD = s.aad.page(moduleDataPageHeader, 0), PageAAD(f.aad, int(moduleDataPage), 0, 0, 0)
		}
		if s.out, err = s.key.seal(nil, padded, headerAAD); err == nil {
			s.out, err = s.key.seal(s.out, page[n:], pageAAD)
		}
		if err != nil {
			panic(err)
		}
		if dictionary {
			leaf.data = int64(len(s.out))
			var e encoder
			_ = fields(cm.raw, func(fl field) error {
				e.field(fl)
				if fl.id == cmDataOffset {
					e.integer(cmDictOffset, tI64, 4)
				}
				return nil
			})
			e.end()
			leaf.meta, _ = parseChunkMeta(e.b)
		}
		leaf.length = int64(len(s.out))
		c.Data, c.leaves = s.out, []sealedLeaf{leaf}
		return nil
	})
	return c
}

// PageSize returns the length of the page header at the start of b and that of its page.
func PageSize(b []byte) (header, page int, err error) {
	h, n, err := parsePageHeader(b)
	return n, int(h.size), err
}
