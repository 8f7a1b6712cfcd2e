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
// columns, in the order of both. columns rise.
func (f *File) PlainFile(rowGroups, columns []int, chunks []*UnsealedChunk) *PlainFile {
	p := &PlainFile{}
	p.append(magicPlain)
	b := plainBuilder{file: f, columns: columns}
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
