package chunk

import (
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
	"coldframe/internal/parquetguard"
)

// Column is a top-level column of a row group, in the clear.
type Column struct {
	Field    arrow.Field   // its type is one that a dataset stores
	Elements []pme.Element // the column in the schema of its file
	Rows     int
	Leaves   []Leaf
}

// Leaf is the chunk of a leaf column: its plain pages behind one another.
type Leaf struct {
	Pages      []byte
	Compressed bool // with zstd
}

// Decode returns the rows of a column. What it allocates comes out of mem, which panics if it has no more; what is wrong with the pages
// is fault.NotAuthentic, or fault.TooLarge or fault.Policy if other readers may like them.
func Decode(mem *parquetguard.Budget, c Column) (arrow.Array, error) {
	root, err := layout(c)
	if err != nil {
		return nil, err
	}
	d := decoder{mem: mem, column: c, decodeScratch: decodeScratches.Get().(*decodeScratch), levels: make([]levels, len(c.Leaves))}
	defer decodeScratches.Put(d.decodeScratch)
	defer d.drop(0, len(d.levels))
	data, err := d.array(root)
	if err != nil {
		return nil, err
	}
	defer data.Release()
	if data.Len() != c.Rows {
		return nil, damaged("a column of %d rows in a row group of %d", data.Len(), c.Rows)
	}
	return array.MakeFromData(data), nil
}

func damaged(format string, args ...any) error { return fault.New(fault.NotAuthentic, format, args...) }

// decoder decodes one column.
type decoder struct {
	mem    *parquetguard.Budget
	column Column
	levels []levels // of the nested leaves that were decoded, as long as they are needed
	*decodeScratch
}

// decodeScratch is memory for one page at a time, which goes from column to column.
type decodeScratch struct {
	page  []byte
	words []byte
	index [indexBlock]uint32
}

const (
	wordBytes  = 8
	indexBlock = 1024    // indices into a dictionary that are looked at together
	maxScratch = 4 << 20 // beyond that scratch is not kept
	slack      = 64      // bytes behind values, for copies of more than is there
)

var decodeScratches = sync.Pool{New: func() any { return new(decodeScratch) }}

// room returns n bytes of scratch, with anything in them, that live until the next call, and charges them until give is called.
func (d *decoder) room(kept *[]byte, n int) (b []byte, give func()) {
	d.mem.Take(int64(n))
	if b = *kept; cap(b) < n {
		b = make([]byte, n)
		if n <= maxScratch {
			*kept = b
		}
	}
	return b[:n], func() { d.mem.Give(int64(n)) }
}

// growing is a buffer that grows, out of the budget. What is behind its length is zero.
type growing struct {
	mem *parquetguard.Budget
	b   []byte
}

// grow makes it n bytes long. If that takes other memory, there will be room for more bytes after them.
func (g *growing) grow(n, more int) {
	if n > cap(g.b) {
		b := g.mem.Allocate(n + more)
		copy(b, g.b)
		g.release()
		g.b = b[:n:cap(b)]
		return
	}
	g.b = g.b[:n]
}

func (g *growing) release() {
	if cap(g.b) > 0 {
		g.mem.Free(g.b[:cap(g.b)])
	}
}

// buffer gives the first n bytes away.
func (g *growing) buffer(n int) *memory.Buffer {
	b := memory.NewBufferWithAllocator(g.b[:cap(g.b)], g.mem)
	b.ResizeNoShrink(n)
	return b
}
