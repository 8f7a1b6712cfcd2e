package pme

import (
	"crypto/sha256"
	"encoding/binary"
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

// Page is a page of version 1 in the clear, or a dictionary; its levels are in RLE.
type Page struct {
	Dictionary bool  // it holds the dictionary, not rows
	Encoding   int64 // of its values, by its number in parquet.thrift
	Values     int   // nulls included
	RawSize    int   // of Body before it was compressed
	Body       []byte
}

// ChunkInfo is what the metadata of a chunk says besides what its pages say. Numbers are those of parquet.thrift.
type ChunkInfo struct {
	Physical   int
	Encodings  []int
	Statistics Statistics
}

// Codecs of a chunk.
const CodecNone, CodecZstd = 0, 6

// ColumnSealer seals one top-level column of a row group: for each leaf in order BeginChunk, its pages, EndChunk. It is for one goroutine.
type ColumnSealer struct {
	file  *FileWriter
	out   *SealedColumn
	chunk chunkSealer
}

// SealColumn begins a top-level column of a row group. Data of the result is appended to dst[:0], which is the caller's again once
// AppendRowGroup has written it. SealColumn and what it returns may be used beside all other methods.
func (f *FileWriter) SealColumn(rowGroupOrdinal, columnIndex int, rows int64, dst []byte) (*ColumnSealer, error) {
	if rowGroupOrdinal > maxOrdinal {
		return nil, fault.New(fault.TooLarge, "more than %d row groups in a file", maxOrdinal+1)
	}
	c := &SealedColumn{RowGroup: rowGroupOrdinal, Column: columnIndex, Rows: rows, Data: dst[:0]}
	return &ColumnSealer{file: f, out: c}, nil
}

// BeginChunk begins the chunk of the next leaf. codec is CodecNone or CodecZstd.
func (s *ColumnSealer) BeginChunk(codec int) {
	s.begin(chunkMeta{codec: int64(codec)})
}

func (s *ColumnSealer) begin(m chunkMeta) {
	leaf := s.nextLeaf()
	s.chunk = chunkSealer{
		key: s.file.leaves[leaf].key, aad: newPageAAD(s.file.aad, s.out.RowGroup, leaf), meta: m, maxPage: s.file.maxPage,
		out: s.out.Data, start: len(s.out.Data), header: encoder{b: s.chunk.header.b},
	}
}

func (s *ColumnSealer) nextLeaf() int {
	leaves := s.file.template.schema.columns[s.out.Column].leaves
	if leaves[0]+len(s.out.leaves) >= leaves[1] {
		panic("pme: a chunk too many")
	}
	return leaves[0] + len(s.out.leaves)
}

// Page seals a page. Its body is not kept.
func (s *ColumnSealer) Page(p Page) error { return s.chunk.page(p) }

// EndChunk ends the chunk of a leaf.
func (s *ColumnSealer) EndChunk(c ChunkInfo) error {
	leaf := s.nextLeaf()
	raw := s.chunk.metadata(c, s.file.template.schema.leaves[leaf].Path)
	m, err := parseChunkMeta(raw)
	if err != nil {
		return err
	}
	return s.end(m)
}

func (s *ColumnSealer) end(m chunkMeta) error {
	if s.chunk.sum.values != m.values {
		return fault.New(fault.Internal, "the encoder wrote %d values where it says %d", s.chunk.sum.values, m.values)
	}
	sealed := s.chunk.out[s.chunk.start:]
	s.out.leaves = append(s.out.leaves, sealedLeaf{
		index: s.nextLeaf(), length: int64(len(sealed)), data: int64(s.chunk.data), meta: m, sum: sha256.Sum256(sealed),
	})
	s.out.Data = s.chunk.out
	return nil
}

// Close returns the sealed column, which has a chunk for each leaf.
func (s *ColumnSealer) Close() *SealedColumn {
	if leaves := s.file.template.schema.columns[s.out.Column].leaves; len(s.out.leaves) != leaves[1]-leaves[0] {
		panic("pme: a chunk too few")
	}
	return s.out
}

// chunkSealer seals the pages of one chunk behind one another.
type chunkSealer struct {
	key     *dataKey
	aad     pageAAD
	meta    chunkMeta // of it codec alone
	maxPage int
	out     []byte
	start   int // of the chunk in out
	data    int // bytes of the chunk before the first data page's header
	pages   int // data pages so far
	sum     tally
	headers int64 // bytes of the page headers
	header  encoder
}

// page seals a page under a header of its own.
func (s *chunkSealer) page(p Page) error {
	h := pageHeader{kind: pageData, rawSize: int64(p.RawSize), values: int64(p.Values), encoding: p.Encoding}
	if p.Dictionary {
		h.kind = pageDict
	}
	e := &s.header
	e.b, e.last = e.b[:0], 0
	e.integer(phType, tI32, h.kind)
	e.integer(phRaw, tI32, h.rawSize)
	e.integer(phSize, tI32, int64(len(p.Body)+frameOverhead))
	if p.Dictionary {
		e.begin(phDict)
	} else {
		e.begin(phData)
	}
	e.integer(1, tI32, h.values)
	e.integer(2, tI32, h.encoding)
	if !p.Dictionary {
		e.integer(3, tI32, encodingRLE) // of the levels, if there are any
		e.integer(4, tI32, encodingRLE)
	}
	e.end()
	e.end()
	return s.add(h, p.Body)
}

// add seals the header that was encoded and the body of a page as two modules.
func (s *chunkSealer) add(h pageHeader, body []byte) (err error) {
	if err := h.check(len(body), s.meta.codec, s.maxPage); err != nil {
		return err
	}
	if err := s.sum.add(h); err != nil {
		return err
	}
	s.headers += int64(len(s.header.b))
	s.out = slices.Grow(s.out, len(s.header.b)+len(body)+2*frameOverhead)
	switch {
	case h.kind == pageDict && len(s.out) == s.start:
		s.out, err = s.key.seal(s.out, s.header.b, s.aad.module(moduleDictPageHeader))
		if err == nil {
			s.out, err = s.key.seal(s.out, body, s.aad.module(moduleDictPage))
		}
		s.data = len(s.out) - s.start
		return err
	case h.kind != pageData && h.kind != pageDataV2:
		return fault.New(fault.Internal, "the encoder wrote a page of type %d", h.kind)
	case s.pages > maxOrdinal:
		return fault.New(fault.TooLarge, "more than %d pages in a column chunk", maxOrdinal+1)
	}
	s.out, err = s.key.seal(s.out, s.header.b, s.aad.page(moduleDataPageHeader, s.pages))
	if err == nil {
		s.out, err = s.key.seal(s.out, body, s.aad.page(moduleDataPage, s.pages))
	}
	s.pages++
	return err
}

// metadata returns the ColumnMetaData of the chunk at no place yet.
func (s *chunkSealer) metadata(c ChunkInfo, path []string) []byte {
	var e encoder
	e.integer(cmType, tI32, int64(c.Physical))
	e.list(cmEncodings, tI32, len(c.Encodings))
	for _, v := range c.Encodings {
		e.b = binary.AppendVarint(e.b, int64(v))
	}
	e.list(cmPath, tBinary, len(path))
	for _, name := range path {
		e.element([]byte(name))
	}
	e.integer(cmCodec, tI32, s.meta.codec)
	e.integer(cmValues, tI64, s.sum.values)
	e.integer(cmRaw, tI64, s.sum.rawSize+s.headers)
	e.integer(cmCompressed, tI64, 0)
	e.integer(cmDataOffset, tI64, 0)
	c.Statistics.encode(&e)
	e.end()
	return e.b
}
