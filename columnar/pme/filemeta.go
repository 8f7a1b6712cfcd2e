package pme

import (
	"bytes"
	"encoding/binary"

	"coldframe/internal/fault"
)

var (
	magicPlain     = []byte("PAR1")
	magicEncrypted = []byte("PARE")
)

const (
	magicSize = 4
	// footerTrailer is the footer's length and the magic after it.
	footerTrailer = 4 + magicSize
)

// Fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData that this package sets or reads.
const (
	fmVersion, fmSchema, fmRows, fmRowGroups, fmKeyValue, fmCreatedBy, fmColumnOrders, fmEncryption, fmSigningKey = 1, 2, 3, 4, 5, 6, 7, 8, 9

	rgColumns, rgBytes, rgRows, rgSorting, rgOffset, rgCompressed, rgOrdinal = 1, 2, 3, 4, 5, 6, 7

	ccPath, ccOffset, ccMetadata, ccCrypto, ccEncrypted = 1, 2, 3, 8, 9

	cmType, cmEncodings, cmPath, cmCodec, cmValues, cmRaw, cmCompressed            = 1, 2, 3, 4, 5, 6, 7
	cmDataOffset, cmIndexOffset, cmDictOffset, cmStatistics, cmBloom, cmBloomBytes = 9, 10, 11, 12, 14, 15
)

// fileMeta is a FileMetaData: what is needed of it is taken apart, the rest stays encoded.
type fileMeta struct {
	version      int64
	schema       *schemaTree
	rows         int64
	rowGroups    field
	keyValue     []keyValue
	createdBy    []byte
	columnOrders [][]byte // one for each leaf, or none
}

type keyValue struct {
	key   string
	value []byte // content of the value
	raw   []byte // the pair, encoded
}

// maxKeyValues bounds the key-value metadata of a file.
const maxKeyValues = 10_000

func parseFileMeta(b []byte) (*fileMeta, error) {
	m := &fileMeta{version: 2}
	err := fields(b, func(f field) (err error) {
		switch f.id {
		case fmVersion:
			m.version, err = f.integer(tI32)
		case fmSchema:
			m.schema, err = parseSchema(f)
		case fmRows:
			m.rows, err = f.integer(tI64)
		case fmRowGroups:
			m.rowGroups = f
		case fmKeyValue:
			err = m.parseKeyValues(f)
		case fmCreatedBy:
			m.createdBy, err = f.binary()
		case fmColumnOrders:
			err = eachElement(f, tStruct, maxLeaves, func(_ int, raw []byte) error {
				m.columnOrders = append(m.columnOrders, raw)
				return nil
			})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if m.schema == nil || m.rowGroups.typ != tList {
		return nil, errThrift("a footer without schema or row groups")
	}
	if m.rows < 0 || len(m.columnOrders) != 0 && len(m.columnOrders) != len(m.schema.leaves) {
		return nil, errThrift("a footer whose counts do not agree")
	}
	return m, nil
}

func (m *fileMeta) parseKeyValues(f field) error {
	return eachElement(f, tStruct, maxKeyValues, func(_ int, raw []byte) error {
		kv := keyValue{raw: raw}
		err := fields(raw, func(f field) error {
			v, err := f.binary()
			switch f.id {
			case 1:
				kv.key = string(v)
			case 2:
				kv.value = v
			}
			return err
		})
		m.keyValue = append(m.keyValue, kv)
		return err
	})
}

func (m *fileMeta) value(key string) []byte {
	for _, kv := range m.keyValue {
		if kv.key == key {
			return kv.value
		}
	}
	return nil
}

// plainFooter returns the FileMetaData of a whole plain Parquet file.
func plainFooter(b []byte) (*fileMeta, error) {
	if len(b) < magicSize+footerTrailer || !bytes.HasPrefix(b, magicPlain) || !bytes.HasSuffix(b, magicPlain) {
		return nil, fault.New(fault.Internal, "the encoder made no plain Parquet file")
	}
	n := binary.LittleEndian.Uint32(b[len(b)-footerTrailer:])
	end := len(b) - footerTrailer
	if uint64(n) > uint64(end-magicSize) {
		return nil, fault.New(fault.Internal, "the encoder made a Parquet file with a damaged footer")
	}
	return parseFileMeta(b[end-int(n) : end])
}

// columnChunk is a ColumnChunk of a footer.
type columnChunk struct {
	metadata  []byte // ColumnMetaData in the clear, or nil
	encrypted []byte // ColumnMetaData as a module frame, or nil
	crypto    field  // ColumnCryptoMetaData; typ 0 if absent
	otherFile bool
}

func parseColumnChunk(raw []byte) (columnChunk, error) {
	var c columnChunk
	err := fields(raw, func(f field) (err error) {
		switch f.id {
		case ccPath:
			c.otherFile = true
		case ccMetadata:
			c.metadata, err = f.nested()
		case ccCrypto:
			_, err = f.nested()
			c.crypto = f
		case ccEncrypted:
			c.encrypted, err = f.binary()
		}
		return err
	})
	return c, err
}

// rowGroup is a RowGroup of a footer.
type rowGroup struct {
	columns field
	rows    int64
	bytes   int64
	ordinal int64 // -1 if absent
}

func parseRowGroup(raw []byte) (rowGroup, error) {
	g := rowGroup{ordinal: -1}
	err := fields(raw, func(f field) (err error) {
		switch f.id {
		case rgColumns:
			g.columns = f
		case rgBytes:
			g.bytes, err = f.integer(tI64)
		case rgRows:
			g.rows, err = f.integer(tI64)
		case rgOrdinal:
			g.ordinal, err = f.integer(tI16)
		}
		return err
	})
	if err == nil && (g.columns.typ != tList || g.rows < 0) {
		err = errThrift("a row group without columns")
	}
	return g, err
}

// chunkMeta is what a ColumnMetaData says about where its chunk lies and what it holds. fields keep the rest, encoded.
type chunkMeta struct {
	raw        []byte
	physical   int64
	codec      int64
	values     int64
	rawSize    int64
	compressed int64
	dataOffset int64
	dictOffset int64 // 0 if there is no dictionary page
	path       field
}

func parseChunkMeta(raw []byte) (chunkMeta, error) {
	m := chunkMeta{raw: raw, values: -1, compressed: -1, dataOffset: -1}
	err := fields(raw, func(f field) (err error) {
		switch f.id {
		case cmType:
			m.physical, err = f.integer(tI32)
		case cmPath:
			m.path = f
		case cmCodec:
			m.codec, err = f.integer(tI32)
		case cmValues:
			m.values, err = f.integer(tI64)
		case cmRaw:
			m.rawSize, err = f.integer(tI64)
		case cmCompressed:
			m.compressed, err = f.integer(tI64)
		case cmDataOffset:
			m.dataOffset, err = f.integer(tI64)
		case cmDictOffset:
			m.dictOffset, err = f.integer(tI64)
		}
		return err
	})
	if err == nil && (m.values < 0 || m.compressed < 0 || m.dataOffset < 0 || m.dictOffset < 0 || m.rawSize < 0) {
		err = errThrift("a column whose sizes are missing or negative")
	}
	return m, err
}

// start returns the offset of the chunk's first page. A writer may leave a dictionary offset of nonsense beside no dictionary, so
// only one before the data counts.
func (m *chunkMeta) start() int64 {
	if m.dictOffset > 0 && m.dictOffset < m.dataOffset {
		return m.dictOffset
	}
	return m.dataOffset
}

// place returns the ColumnMetaData of the same chunk lying elsewhere: size bytes from offset start on, whose first data page is at
// offset data. Offsets of page indexes and Bloom filters are dropped, since neither is carried along.
func (m *chunkMeta) place(start, data, size int64) []byte {
	var e encoder
	_ = fields(m.raw, func(f field) error {
		switch f.id {
		case cmCompressed:
			e.integer(f.id, tI64, size)
		case cmDataOffset:
			e.integer(f.id, tI64, data)
			if start < data {
				e.integer(cmDictOffset, tI64, start)
			}
		case cmDictOffset, cmIndexOffset, cmBloom, cmBloomBytes:
		default:
			e.field(f)
		}
		return nil
	})
	e.end()
	return e.b
}

// samePath reports whether the list of strings f is path.
func samePath(f field, path []string) bool {
	n := 0
	err := eachElement(f, tBinary, maxNesting, func(i int, raw []byte) error {
		v, err := binaryValue(raw)
		if err == nil && i < len(path) && string(v) == path[i] {
			n++
		}
		return err
	})
	got, lerr := listLen(f)
	return err == nil && lerr == nil && n == len(path) && got == n
}
