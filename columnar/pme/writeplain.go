package pme

import (
	"crypto/cipher"
	"encoding/binary"
	"io"
	"slices"

	"coldframe/internal/fault"
)

// PlainOptions say what WritePlain writes.
type PlainOptions struct {
	// SkipHidden leaves out the columns that have a leaf whose key is not had. Without it such a column is fault.Forbidden.
	SkipHidden bool
	// Fixed96 names top-level columns of type INT96 that become byte arrays of fixed length 12, the same bytes. INT96 is an old form of
	// times, and decoders refuse those that do not fit theirs. nil: none.
	Fixed96 func(column string) bool
}

// WritePlain decrypts a foreign file, page by page, into a plain one. It keeps no more in memory than the longest page, the footer
// aside. Nothing is known of the pages of columns in the clear: whoever decodes what was written judges them.
func (f *File) WritePlain(w io.Writer, src io.ReaderAt, o PlainOptions) error {
	p := plainWriter{w: w, src: src, b: plainBuilder{file: f}}
	for c := range f.meta.schema.columns {
		first, end := f.LeavesOf(c)
		switch {
		case !slices.ContainsFunc(f.leaves[first:end], func(l openLeaf) bool { return l.hidden }):
			p.b.columns = append(p.b.columns, c)
		case !o.SkipHidden:
			return errHidden
		}
	}
	if len(p.b.columns) == 0 {
		return errHidden
	}
	if o.Fixed96 != nil {
		names := f.Columns()
		p.b.fixed96 = func(c int) bool {
			s := f.meta.schema
			el := s.elements[s.columns[c].elements[0]]
			return el.children == 0 && el.physical == physicalInt96 && o.Fixed96(names[c])
		}
	}
	return p.file()
}

// plainWriter writes a plain file from sealed chunks.
type plainWriter struct {
	w    io.Writer
	n    int64
	src  io.ReaderAt
	b    plainBuilder
	page chunkPages
}

func (p *plainWriter) write(b []byte) error {
	n, err := p.w.Write(b)
	p.n += int64(n)
	return err
}

func (p *plainWriter) file() error {
	f := p.b.file
	if err := p.write(magicPlain); err != nil {
		return err
	}
	var groups [][]byte
	for g := range f.groups {
		var chunks []placed
		for _, c := range p.b.columns {
			first, end := f.LeavesOf(c)
			for leaf := first; leaf < end; leaf++ {
				chunk, err := p.chunk(g, leaf)
				if err != nil {
					return err
				}
				if p.b.fixed96 != nil && p.b.fixed96(c) {
					chunk.metadata = fixed96Metadata(chunk.metadata)
				}
				chunks = append(chunks, chunk)
			}
		}
		groups = append(groups, encodeGroup(g, f.groups[g].rows, chunks))
	}
	footer := p.b.footer(groups, f.meta.rows)
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	return p.write(append(footer, magicPlain...))
}

// chunk writes the plain pages of a chunk.
func (p *plainWriter) chunk(rowGroup, leaf int) (placed, error) {
	f := p.b.file
	c := f.groups[rowGroup].chunks[leaf]
	m, err := parseChunkMeta(c.metadata)
	if err != nil {
		return placed{}, err
	}
	at, data := p.n, m.dataOffset-m.start()
	if l := &f.leaves[leaf]; l.protection == inTheClear {
		_, err = io.Copy(writerFunc(p.write), io.NewSectionReader(p.src, c.offset, c.length))
	} else {
		p.page = chunkPages{
			src: p.src, at: c.offset, end: c.offset + c.length, key: l.key, aad: newPageAAD(f.aad, rowGroup, leaf), meta: &m,
			maxPage: f.options.maxPage(), lax: f.options.AllowCTR, buf: p.page.buf, header: p.page.header,
		}
		data, err = p.page.all(p.write)
	}
	if err != nil {
		return placed{}, err
	}
	return placed{metadata: m.place(at, at+data, p.n-at), at: at, size: p.n - at, raw: m.rawSize}, nil
}

type writerFunc func([]byte) error

func (w writerFunc) Write(b []byte) (int, error) {
	if err := w(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// chunkPages opens the pages of one sealed chunk, one after the other.
type chunkPages struct {
	src     io.ReaderAt
	at, end int64
	key     *dataKey
	aad     pageAAD
	meta    *chunkMeta
	maxPage int
	lax     bool // pages may be in part under no tag
	values  int64
	buf     []byte
	header  []byte
}

// all hands the plain headers and pages to write, and returns how many bytes came before the first data page.
func (c *chunkPages) all(write func([]byte) error) (data int64, err error) {
	if c.meta.start() < c.meta.dataOffset && c.at < c.end {
		if data, err = c.next(-1, write); err != nil {
			return 0, err
		}
	}
	for page := 0; c.at < c.end; page++ {
		if page > maxOrdinal {
			return 0, fault.New(fault.TooLarge, "more than %d pages in a column chunk", maxOrdinal+1)
		}
		if _, err := c.next(page, write); err != nil {
			return 0, err
		}
	}
	if c.values != c.meta.values {
		return 0, fault.New(fault.NotAuthentic, "a column chunk of %d values where its metadata says %d", c.values, c.meta.values)
	}
	return data, nil
}

// next opens a page header and its page, number n or the dictionary if n is -1.
func (c *chunkPages) next(n int, write func([]byte) error) (int64, error) {
	headerAAD, kind := c.aad.module(moduleDictPageHeader), moduleDictPage
	if n >= 0 {
		headerAAD, kind = c.aad.page(moduleDataPageHeader, n), moduleDataPage
	}
	sealed, err := c.frame(maxPageHeader)
	if err != nil {
		return 0, err
	}
	plain, err := c.key.open(sealed, headerAAD)
	if err != nil {
		return 0, err
	}
	h, _, err := parsePageHeader(plain)
	if err != nil {
		return 0, err
	}
	overhead := int64(frameOverhead)
	if c.key.block != nil {
		overhead = frameHead
	}
	size := h.size - overhead
	if size < 0 || (n < 0) != (h.kind == pageDict) || n >= 0 && h.kind != pageData && h.kind != pageDataV2 {
		return 0, fault.New(fault.NotAuthentic, "a page of type %d in the wrong place", h.kind)
	}
	if err := h.check(int(size), c.meta.codec, c.maxPage); err != nil {
		return 0, err
	}
	if n >= 0 {
		c.values += h.values
	}
	e := encoder{b: c.header[:0]}
	if err := resizePage(&e, plain, size); err != nil {
		return 0, err
	}
	e.end()
	c.header = e.b
	levels, err := c.bareLevels(h)
	if err != nil {
		return 0, err
	}
	body, err := c.body(kind, n, h.size-int64(len(levels)))
	if err != nil {
		return 0, err
	}
	for _, b := range [][]byte{c.header, levels, body} {
		if err := write(b); err != nil {
			return 0, err
		}
	}
	return int64(len(c.header) + len(levels) + len(body)), nil
}

// bareLevels reads what stands before the module of a version 2 page that parquet-java wrote: it leaves the levels, which say where
// lists begin and values are null, in the clear and under no tag. Others seal them with the values. The two cannot be taken for one
// another: the values alone never are a module that was sealed with levels.
func (c *chunkPages) bareLevels(h pageHeader) ([]byte, error) {
	var head [lengthSize]byte
	if h.kind != pageDataV2 || h.levels == 0 || c.end-c.at < h.size {
		return nil, nil
	}
	if err := c.read(head[:], c.at); err != nil {
		return nil, err
	}
	if int64(binary.LittleEndian.Uint32(head[:])) == h.size-lengthSize {
		return nil, nil
	}
	levels := make([]byte, h.levels)
	if err := c.read(levels, c.at); err != nil {
		return nil, err
	}
	if err := c.read(head[:], c.at+h.levels); err != nil {
		return nil, err
	}
	if int64(binary.LittleEndian.Uint32(head[:])) != h.size-h.levels-lengthSize {
		return nil, nil // neither: body says so
	}
	if !c.lax {
		return nil, fault.New(fault.Policy, "a page of version 2 whose levels are in the clear and can be changed without notice")
	}
	c.at += h.levels
	return levels, nil
}

// body opens the module of a page, whose frame must be of that size.
func (c *chunkPages) body(kind moduleType, n int, size int64) ([]byte, error) {
	sealed, err := c.frame(c.maxPage)
	if err != nil {
		return nil, err
	}
	if int64(len(sealed)) != size {
		return nil, fault.New(fault.NotAuthentic, "a page of %d bytes where its header says %d", len(sealed), size)
	}
	if c.key.block != nil {
		iv := append(append(make([]byte, 0, 16), sealed[lengthSize:frameHead]...), 0, 0, 0, 1)
		cipher.NewCTR(c.key.block, iv).XORKeyStream(sealed[frameHead:], sealed[frameHead:])
		return sealed[frameHead:], nil
	}
	if n < 0 {
		return c.key.open(sealed, c.aad.module(kind))
	}
	return c.key.open(sealed, c.aad.page(kind, n))
}

// frame reads the next module frame, whose plaintext is at most limit bytes. Headers are always AES-GCM.
func (c *chunkPages) frame(limit int) ([]byte, error) {
	var head [lengthSize]byte
	if c.end-c.at < frameHead {
		return nil, fault.New(fault.NotAuthentic, "a module is cut short")
	}
	if err := c.read(head[:], c.at); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	switch {
	case n < nonceSize || n > c.end-c.at-lengthSize:
		return nil, fault.New(fault.NotAuthentic, "a module claims %d bytes where %d are left", n, c.end-c.at-lengthSize)
	case n > int64(limit)+nonceSize+tagSize:
		return nil, fault.New(fault.TooLarge, "a page or its header of %d bytes, %d allowed", n, limit)
	}
	c.buf = slices.Grow(c.buf[:0], int(n)+lengthSize)[:n+lengthSize]
	if err := c.read(c.buf, c.at); err != nil {
		return nil, err
	}
	c.at += int64(len(c.buf))
	if c.key.block == nil && n < nonceSize+tagSize {
		return nil, fault.New(fault.NotAuthentic, "a module is cut short")
	}
	return c.buf, nil
}

func (c *chunkPages) read(b []byte, at int64) error {
	n, err := c.src.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF { //nolint:errorlint // as it comes from ReadAt
		return fault.New(fault.Incomplete, "the file is shorter than its footer says")
	}
	return err
}

// Physical types of Parquet.
const (
	physicalInt96 = 3
	physicalFixed = 7
)

// fixed96Element returns the schema element of an INT96 column as one of byte arrays of length 12.
func fixed96Element(raw []byte) []byte {
	var e encoder
	_ = fields(raw, func(f field) error { // parsed before
		switch f.id {
		case 1:
			e.integer(1, tI32, physicalFixed)
			e.integer(2, tI32, 12)
		case 2, 6, 10: // length, converted and logical type
		default:
			e.field(f)
		}
		return nil
	})
	e.end()
	return e.b
}

// fixed96Metadata does the same for ColumnMetaData; statistics are of another order and go.
func fixed96Metadata(raw []byte) []byte {
	var e encoder
	_ = fields(raw, func(f field) error { // encoded by place
		switch f.id {
		case cmType:
			e.integer(cmType, tI32, physicalFixed)
		case cmStatistics:
		default:
			e.field(f)
		}
		return nil
	})
	e.end()
	return e.b
}
