package pme

import (
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// maxPageHeader bounds the header of a page; statistics in it are the only long thing.
const maxPageHeader = 1 << 20

// UnsealedChunk is a column chunk in the clear, every page of which was authentic and in its place.
type UnsealedChunk struct {
	file           *File
	rowGroup, leaf int
	pages          []byte
	data           int // bytes before the first data page
	compressed     bool
}

// Bytes returns the plain pages, a part of the buffer that UnsealChunk was given.
func (c *UnsealedChunk) Bytes() []byte { return c.pages }

// Compressed reports whether the bodies of the pages are compressed: in zstd frames, unless another writer made the file.
func (c *UnsealedChunk) Compressed() bool { return c.compressed }

// UnsealChunk decrypts the chunk of a leaf in place and returns it once all of its pages were found authentic, in order, complete and
// within the limits. Otherwise the buffer is cleared and nothing is returned. sealed is exactly the bytes of Range, and belongs to the
// result from then on. UnsealChunk may run beside itself.
func (f *File) UnsealChunk(rowGroupOrdinal, leaf int, sealed []byte) (*UnsealedChunk, error) {
	l := &f.leaves[leaf]
	if l.hidden {
		return nil, errHidden
	}
	c := f.groups[rowGroupOrdinal].chunks[leaf]
	m, err := parseChunkMeta(c.metadata)
	if err != nil {
		return nil, err
	}
	if int64(len(sealed)) != c.length {
		secret.Wipe(sealed)
		return nil, fault.New(fault.NotAuthentic, "a column chunk of %d bytes where its metadata says %d", len(sealed), c.length)
	}
	out := &UnsealedChunk{file: f, rowGroup: rowGroupOrdinal, leaf: leaf, compressed: m.codec != CodecNone}
	if l.protection == inTheClear {
		out.pages, out.data = sealed, int(m.dataOffset-m.start())
		return out, nil
	}
	u := chunkUnsealer{key: l.key, aad: newPageAAD(f.aad, rowGroupOrdinal, leaf), meta: &m, maxPage: f.options.maxPage(), foreign: f.options.Foreign, buf: sealed}
	if err := u.unseal(); err != nil {
		secret.Wipe(sealed)
		return nil, err
	}
	out.pages, out.data = sealed[:u.end:u.end], u.data
	return out, nil
}

// chunkUnsealer opens the modules of one chunk in place. A page stays where it lay; its plain header is stretched so that it fills the
// room between the page before and its own: frames, tags and the sealed header lay there. So no page is copied.
type chunkUnsealer struct {
	key     *dataKey
	aad     pageAAD
	meta    *chunkMeta
	maxPage int
	foreign bool
	buf     []byte
	next    int // start of the next module
	end     int // end of the plain pages so far
	data    int
	sum     tally
	header  encoder
}

func (u *chunkUnsealer) unseal() error {
	if u.meta.start() < u.meta.dataOffset && len(u.buf) > 0 {
		if err := u.page(-1); err != nil {
			return err
		}
	}
	u.data = u.end
	for page := 0; u.next < len(u.buf); page++ {
		if page > maxOrdinal {
			return fault.New(fault.TooLarge, "more than %d pages in a column chunk", maxOrdinal+1)
		}
		if err := u.page(page); err != nil {
			return err
		}
	}
	if u.sum.values != u.meta.values {
		return fault.New(fault.NotAuthentic, "a column chunk of %d values where its metadata says %d", u.sum.values, u.meta.values)
	}
	return nil
}

// module opens the next module and returns where its plaintext lies in the buffer.
func (u *chunkUnsealer) module(aad []byte, want int64) (start, end int, err error) {
	frame, _, err := nextFrame(u.buf[u.next:])
	if err != nil {
		return 0, 0, err
	}
	if want >= 0 && want != int64(len(frame)) {
		return 0, 0, fault.New(fault.NotAuthentic, "a page of %d bytes where its header says %d", len(frame), want)
	}
	plain, err := u.key.open(frame, aad)
	if err != nil {
		return 0, 0, err
	}
	start = u.next + frameHead
	u.next += len(frame)
	return start, start + len(plain), nil
}

// page opens a page header and its page, number n or the dictionary if n is -1, and leaves both in the clear behind the page before.
func (u *chunkUnsealer) page(n int) error {
	aad := u.headerAAD(n)
	start, end, err := u.module(aad, -1)
	if err != nil {
		return err
	}
	if end-start > maxPageHeader {
		return fault.New(fault.TooLarge, "a page header of %d bytes, %d allowed", end-start, maxPageHeader)
	}
	h, _, err := parsePageHeader(u.buf[start:end])
	if err != nil {
		return err
	}
	if (n < 0) != (h.kind == pageDict) || n >= 0 && h.kind != pageData && h.kind != pageDataV2 {
		return fault.New(fault.NotAuthentic, "a page of type %d in the wrong place", h.kind)
	}
	if err := h.check(int(h.size)-frameOverhead, u.meta.codec, u.maxPage); err != nil {
		return err
	}
	if !u.foreign {
		if err := h.checkWritten(); err != nil {
			return err
		}
	}
	if err := u.sum.add(h); err != nil {
		return err
	}
	u.header.b = u.header.b[:0]
	if err := resizePage(&u.header, u.buf[start:end], h.size-frameOverhead); err != nil {
		return err
	}
	bodyStart, bodyEnd, err := u.module(u.bodyAAD(n), h.size)
	if err != nil {
		return err
	}
	if err := fillHeader(&u.header, bodyStart-u.end); err != nil {
		return err
	}
	copy(u.buf[u.end:bodyStart], u.header.b)
	u.end = bodyEnd
	return nil
}

func (u *chunkUnsealer) headerAAD(n int) []byte {
	if n < 0 {
		return u.aad.module(moduleDictPageHeader)
	}
	return u.aad.page(moduleDataPageHeader, n)
}

func (u *chunkUnsealer) bodyAAD(n int) []byte {
	if n < 0 {
		return u.aad.module(moduleDictPage)
	}
	return u.aad.page(moduleDataPage, n)
}
