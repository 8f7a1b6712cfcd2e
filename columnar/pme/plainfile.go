package pme

import (
	"encoding/binary"
	"fmt"
	"io"
	"sort"

	"coldframe/internal/fault"
)

// PlainFile is a plain Parquet file that was never written: unsealed chunks, and a footer that points at them. Its schema has the
// wanted columns only. It is an io.ReaderAt, io.ReadSeeker and io.WriterTo; ReadAt may be used by several goroutines at once.
type PlainFile struct {
	segments []segment
	size     int64
	pos      int64
}

type segment struct {
	offset int64
	data   []byte
}

// PlainFile puts unsealed chunks together: for each of the row groups, in that order, the chunks of all leaves of the wanted top-level
// columns, in the order of both. columns rise. arrowSchema is the value of ARROW:schema for the wanted columns; nil carries over the
// file's own if all columns are wanted, and else leaves it out.
func (f *File) PlainFile(rowGroups, columns []int, chunks []*UnsealedChunk, arrowSchema []byte) *PlainFile {
	p := &PlainFile{}
	p.append(magicPlain)
	b := plainBuilder{file: f, columns: columns, arrowSchema: arrowSchema}
	groups := make([][]byte, 0, len(rowGroups))
	rows := int64(0)
	for _, ordinal := range rowGroups {
		var leaves []*UnsealedChunk
		for _, c := range columns {
			first, end := f.LeavesOf(c)
			for leaf := first; leaf < end; leaf++ {
				if len(chunks) == 0 || chunks[0].file != f || chunks[0].rowGroup != ordinal || chunks[0].leaf != leaf {
					panic(fmt.Sprintf("pme: the chunk of row group %d and leaf %d is not given in its place", ordinal, leaf))
				}
				leaves, chunks = append(leaves, chunks[0]), chunks[1:]
			}
		}
		groups = append(groups, b.group(p, len(groups), f.groups[ordinal].rows, leaves))
		rows += f.groups[ordinal].rows
	}
	if len(chunks) != 0 {
		panic("pme: more chunks than the plain file has")
	}
	footer := b.footer(groups, rows)
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	p.append(append(footer, magicPlain...))
	return p
}

// plainBuilder encodes the footer of a plain file.
type plainBuilder struct {
	file        *File
	columns     []int
	arrowSchema []byte
	fixed96     func(column int) bool // INT96 columns that become fixed_len_byte_array(12); nil: none
}

// placed is a chunk of a plain file: size bytes from at on.
type placed struct {
	metadata []byte // ColumnMetaData, encoded
	at, size int64
	raw      int64 // bytes, uncompressed
}

// group appends the chunks of a row group to p and returns its RowGroup.
func (b *plainBuilder) group(p *PlainFile, ordinal int, rows int64, leaves []*UnsealedChunk) []byte {
	var chunks []placed
	for _, c := range leaves {
		m, _ := parseChunkMeta(b.file.groups[c.rowGroup].chunks[c.leaf].metadata) // parsed before
		at := p.size
		p.append(c.pages)
		chunks = append(chunks, placed{
			metadata: m.place(at, at+int64(c.data), int64(len(c.pages))), at: at, size: int64(len(c.pages)), raw: m.rawSize,
		})
	}
	return encodeGroup(ordinal, rows, chunks)
}

// encodeGroup returns the RowGroup of chunks that follow each other in a plain file.
func encodeGroup(ordinal int, rows int64, chunks []placed) []byte {
	var e encoder
	raw, size := int64(0), int64(0)
	e.list(rgColumns, tStruct, len(chunks))
	for _, c := range chunks {
		e.beginElement()
		e.integer(ccOffset, tI64, c.at)
		e.field(field{id: ccMetadata, typ: tStruct, raw: c.metadata})
		e.end()
		raw += c.raw
		size += c.size
	}
	e.integer(rgBytes, tI64, raw)
	e.integer(rgRows, tI64, rows)
	if len(chunks) > 0 {
		e.integer(rgOffset, tI64, chunks[0].at)
	}
	e.integer(rgCompressed, tI64, size)
	e.integer(rgOrdinal, tI16, int64(ordinal))
	e.end()
	return e.b
}

func (b *plainBuilder) footer(groups [][]byte, rows int64) []byte {
	m := b.file.meta
	var e encoder
	e.integer(fmVersion, tI32, m.version)
	b.schema(&e)
	e.integer(fmRows, tI64, rows)
	e.list(fmRowGroups, tStruct, len(groups))
	for _, g := range groups {
		e.b = append(e.b, g...)
	}
	if kv := b.keyValues(); len(kv) > 0 {
		e.list(fmKeyValue, tStruct, len(kv))
		for _, raw := range kv {
			e.b = append(e.b, raw...)
		}
	}
	if m.createdBy != nil {
		e.binary(fmCreatedBy, m.createdBy)
	}
	if len(m.columnOrders) > 0 {
		b.columnOrders(&e)
	}
	e.end()
	return e.b
}

// schema writes the root, for as many children as are wanted, and the elements of the wanted columns.
func (b *plainBuilder) schema(e *encoder) {
	s := b.file.meta.schema
	n := 1
	for _, c := range b.columns {
		n += s.columns[c].elements[1] - s.columns[c].elements[0]
	}
	e.list(fmSchema, tStruct, n)
	e.beginElement()
	_ = fields(s.root, func(f field) error {
		if f.id == 5 {
			e.integer(5, tI32, int64(len(b.columns)))
		} else {
			e.field(f)
		}
		return nil
	})
	e.end()
	for _, c := range b.columns {
		for _, el := range s.elements[s.columns[c].elements[0]:s.columns[c].elements[1]] {
			if b.fixed96 != nil && b.fixed96(c) {
				el.raw = fixed96Element(el.raw)
			}
			e.b = append(e.b, el.raw...)
		}
	}
}

const arrowSchemaKey = "ARROW:schema"

func (b *plainBuilder) keyValues() [][]byte {
	var all [][]byte
	whole := len(b.columns) == len(b.file.meta.schema.columns)
	for _, kv := range b.file.meta.keyValue {
		if kv.key == commitmentsKey || kv.key == arrowSchemaKey && (b.arrowSchema != nil || !whole) {
			continue
		}
		all = append(all, kv.raw)
	}
	if b.arrowSchema != nil {
		var e encoder
		e.binary(1, []byte(arrowSchemaKey))
		e.binary(2, b.arrowSchema)
		e.end()
		all = append(all, e.b)
	}
	return all
}

func (b *plainBuilder) columnOrders(e *encoder) {
	var kept [][]byte
	for _, c := range b.columns {
		first, end := b.file.LeavesOf(c)
		kept = append(kept, b.file.meta.columnOrders[first:end]...)
	}
	e.list(fmColumnOrders, tStruct, len(kept))
	for _, o := range kept {
		e.b = append(e.b, o...)
	}
}

func (p *PlainFile) append(b []byte) {
	p.segments = append(p.segments, segment{offset: p.size, data: b})
	p.size += int64(len(b))
}

// Size returns the length of the file.
func (p *PlainFile) Size() int64 { return p.size }

// ReadAt reads from the segments that the range touches.
func (p *PlainFile) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.New(fault.NotAuthentic, "a read before the start of the file")
	}
	n := 0
	i := sort.Search(len(p.segments), func(i int) bool { return p.segments[i].offset > off }) - 1
	for ; i < len(p.segments) && n < len(b); i++ {
		s := p.segments[i]
		if at := off + int64(n) - s.offset; at < int64(len(s.data)) {
			n += copy(b[n:], s.data[at:])
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Read reads on from where the last Read or Seek ended.
func (p *PlainFile) Read(b []byte) (int, error) {
	n, err := p.ReadAt(b, p.pos)
	p.pos += int64(n)
	if n > 0 && err == io.EOF { //nolint:errorlint // as it comes from ReadAt
		err = nil
	}
	return n, err
}

// Seek sets where the next Read begins.
func (p *PlainFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.pos
	case io.SeekEnd:
		offset += p.size
	}
	if offset < 0 {
		return 0, fault.New(fault.NotAuthentic, "a seek before the start of the file")
	}
	p.pos = offset
	return offset, nil
}

// WriteTo writes the whole file.
func (p *PlainFile) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for _, s := range p.segments {
		n, err := w.Write(s.data)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
