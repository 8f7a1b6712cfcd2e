package pme

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"coldframe/internal/fault"
)

// SealedColumn is one top-level column of one row group, sealed: the chunks of its leaves behind one another in Data.
type SealedColumn struct {
	RowGroup, Column int
	Rows             int64
	Data             []byte
	leaves           []sealedLeaf
}

type sealedLeaf struct {
	index  int
	length int64
	data   int64 // of the first data page, from the start of the chunk
	meta   chunkMeta
	sum    [sha256.Size]byte
}

// SealColumn seals a top-level column of a row group. plain is a plain Parquet file of that one column and one row group, as the
// encoder wrote it; it is not kept. Data of the result is appended to dst[:0], which must not be plain and is the caller's again once
// AppendRowGroup has written it. SealColumn may run beside itself and all other methods.
func (f *FileWriter) SealColumn(rowGroupOrdinal, columnIndex int, plain, dst []byte) (*SealedColumn, error) {
	if rowGroupOrdinal > maxOrdinal {
		return nil, fault.New(fault.TooLarge, "more than %d row groups in a file", maxOrdinal+1)
	}
	meta, err := plainFooter(plain)
	if err != nil {
		return nil, err
	}
	if !f.template.schema.sameColumn(columnIndex, meta.schema) {
		return nil, fault.New(fault.Internal, "the encoder wrote column %d with another schema", columnIndex)
	}
	group, err := onlyRowGroup(meta)
	if err != nil {
		return nil, err
	}
	c := &SealedColumn{RowGroup: rowGroupOrdinal, Column: columnIndex, Rows: group.rows, Data: slices.Grow(dst[:0], sealedSize(plain))}
	first := f.template.schema.columns[columnIndex].leaves[0]
	err = eachElement(group.columns, tStruct, len(meta.schema.leaves), func(i int, raw []byte) error {
		return f.sealLeaf(c, first+i, raw, plain)
	})
	if err == nil && len(c.leaves) != len(meta.schema.leaves) {
		err = fault.New(fault.Internal, "the encoder left out a column chunk")
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// sealedSize is room enough for most columns; more pages make the buffer grow.
func sealedSize(plain []byte) int { return len(plain) + len(plain)/256 + 4096 }

func onlyRowGroup(m *fileMeta) (rowGroup, error) {
	var g rowGroup
	n := 0
	err := eachElement(m.rowGroups, tStruct, 1, func(_ int, raw []byte) (err error) {
		n++
		g, err = parseRowGroup(raw)
		return err
	})
	if err == nil && n != 1 {
		err = fault.New(fault.Internal, "the encoder wrote %d row groups", n)
	}
	return g, err
}

// sealLeaf seals the chunk that the encoded ColumnChunk raw describes.
func (f *FileWriter) sealLeaf(c *SealedColumn, leaf int, raw, plain []byte) error {
	cc, err := parseColumnChunk(raw)
	if err != nil {
		return err
	}
	m, err := parseChunkMeta(bytes.Clone(cc.metadata))
	if err != nil {
		return err
	}
	if !samePath(m.path, f.template.schema.leaves[leaf].Path) {
		return fault.New(fault.Internal, "the encoder wrote another column than leaf %d", leaf)
	}
	start, end := m.start(), m.start()+m.compressed
	if start < magicSize || end > int64(len(plain)) {
		return fault.New(fault.Internal, "the encoder wrote a chunk outside its file")
	}
	s := chunkSealer{
		key: f.leaves[leaf].key, aad: newPageAAD(f.aad, c.RowGroup, leaf), meta: &m, maxPage: f.maxPage, out: c.Data,
	}
	if err := s.seal(plain[start:end]); err != nil {
		return err
	}
	sealed := s.out[len(c.Data):]
	c.Data = s.out
	c.leaves = append(c.leaves, sealedLeaf{
		index: leaf, length: int64(len(sealed)), data: int64(s.data), meta: m, sum: sha256.Sum256(sealed),
	})
	return nil
}

// chunkSealer seals the pages of one chunk behind one another.
type chunkSealer struct {
	key     *dataKey
	aad     pageAAD
	meta    *chunkMeta
	maxPage int
	out     []byte
	data    int // bytes before the first data page's header
	header  encoder
}

func (s *chunkSealer) seal(chunk []byte) error {
	start, page := len(s.out), 0
	var sum tally
	for first := true; len(chunk) > 0; first = false {
		h, n, err := parsePageHeader(chunk)
		if err != nil {
			return err
		}
		if h.size > int64(len(chunk)-n) {
			return fault.New(fault.Internal, "the encoder wrote a page beyond its chunk")
		}
		header, body := chunk[:n], chunk[n:n+int(h.size)]
		chunk = chunk[n+int(h.size):]
		if err := h.check(len(body), s.meta.codec, s.maxPage); err != nil {
			return err
		}
		if err := sum.add(h); err != nil {
			return err
		}
		switch {
		case h.kind == pageDict && first:
			err = s.module(header, body, -1)
		case h.kind == pageData, h.kind == pageDataV2:
			if page > maxOrdinal {
				return fault.New(fault.TooLarge, "more than %d pages in a column chunk", maxOrdinal+1)
			}
			if page == 0 {
				s.data = len(s.out) - start
			}
			err = s.module(header, body, page)
			page++
		default:
			err = fault.New(fault.Internal, "the encoder wrote a page of type %d", h.kind)
		}
		if err != nil {
			return err
		}
	}
	if sum.values != s.meta.values {
		return fault.New(fault.Internal, "the encoder wrote %d values where it says %d", sum.values, s.meta.values)
	}
	return nil
}

// module appends the header and the body of a page as two modules. page is its number, or -1 for the dictionary.
func (s *chunkSealer) module(header, body []byte, page int) (err error) {
	s.header.b = s.header.b[:0]
	if err := resizePage(&s.header, header, int64(len(body)+frameOverhead)); err != nil {
		return err
	}
	s.header.end()
	s.out = slices.Grow(s.out, len(s.header.b)+len(body)+2*frameOverhead)
	if page < 0 {
		s.out, err = s.key.seal(s.out, s.header.b, s.aad.module(moduleDictPageHeader))
		if err == nil {
			s.out, err = s.key.seal(s.out, body, s.aad.module(moduleDictPage))
		}
		return err
	}
	s.out, err = s.key.seal(s.out, s.header.b, s.aad.page(moduleDataPageHeader, page))
	if err == nil {
		s.out, err = s.key.seal(s.out, body, s.aad.page(moduleDataPage, page))
	}
	return err
}
