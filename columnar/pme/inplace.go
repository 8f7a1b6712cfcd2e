package pme

import "encoding/binary"

// Place is where the plain pages of a chunk are, counted from where its sealed chunk lay: Size bytes, of which the first Data ones are
// before the first data page. Constant says that they are those of File.Constant.
type Place struct {
	Data, Size int64
	Constant   bool
}

// Place returns what a footer has to know to find the chunk.
func (c *UnsealedChunk) Place() Place { return Place{Data: int64(c.data), Size: int64(len(c.pages))} }

// FooterInPlace returns the end of a plain file of all row groups and the given columns, which rise, in which each plain chunk begins
// where its sealed one does: footer, its length and the magic. A chunk that place does not have lies at offset end, which must be behind
// all that can be read: whoever reads it meets the end of the file, never other bytes.
func (f *File) FooterInPlace(columns []int, end int64, place func(rowGroup, leaf int) (Place, bool)) []byte {
	b := plainBuilder{file: f, columns: columns}
	groups := make([][]byte, len(f.groups))
	for ordinal, g := range f.groups {
		var chunks []placed
		for _, column := range columns {
			first, last := f.LeavesOf(column)
			for leaf := first; leaf < last; leaf++ {
				m, _ := parseChunkMeta(g.chunks[leaf].metadata) // parsed before
				at, here := end, Place{Size: g.chunks[leaf].length}
				if p, ok := place(ordinal, leaf); ok {
					at, here = g.chunks[leaf].offset, p
				}
				if here.Constant {
					m = m.constant(g.rows)
				}
				chunks = append(chunks, placed{metadata: m.place(at, at+here.Data, here.Size), at: at, size: here.Size, raw: m.rawSize})
			}
		}
		groups[ordinal] = encodeGroup(ordinal, g.rows, chunks)
	}
	footer := b.footer(groups, f.meta.rows)
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	return append(footer, magicPlain...)
}
