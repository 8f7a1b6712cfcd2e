package format

import (
	"github.com/apache/arrow-go/v18/arrow"
)

// column is one field of one record batch: where its buffers are.
type column struct {
	wire   *wireField
	length int64
	nulls  int64 // as declared
	bufs   []piece
	kids   []*column
}

// parts hands out the nodes and buffers of a batch in the order of the format: depth first.
type parts struct {
	nodes, variadic fbVector
	bufs            []piece
	node, buf, view int
}

const maxLength = 1 << 40 // rows of one array; keeps products of lengths and widths inside an int64

func errBatch() error { return badMessage("a batch does not match the schema") }

func (p *parts) used() bool {
	return p.node == p.nodes.n && p.buf == len(p.bufs) && p.view == p.variadic.n
}

// columns takes the columns of fields, each of which must have rows rows.
func (p *parts) columns(fields []*wireField, rows int64) ([]*column, error) {
	out := make([]*column, len(fields))
	for i, w := range fields {
		c, err := p.column(w)
		if err != nil {
			return nil, err
		}
		if c.length != rows {
			return nil, errBatch()
		}
		out[i] = c
	}
	return out, nil
}

func (p *parts) column(w *wireField) (*column, error) {
	if p.node == p.nodes.n {
		return nil, errBatch()
	}
	at := p.nodes.pos + 16*p.node
	c := &column{wire: w, length: p.nodes.f.i64(at), nulls: p.nodes.f.i64(at + 8)}
	p.node++
	if c.length < 0 || c.length > maxLength || c.nulls < 0 || c.nulls > c.length {
		return nil, errBatch()
	}
	n := buffersOf(w.Type.ID())
	if id := w.Type.ID(); id == arrow.STRING_VIEW || id == arrow.BINARY_VIEW {
		if p.view == p.variadic.n {
			return nil, errBatch()
		}
		more := p.variadic.f.i64(p.variadic.pos + 8*p.view)
		p.view++
		if more < 0 || more > int64(len(p.bufs)) {
			return nil, errBatch()
		}
		n += int(more)
	}
	if n > len(p.bufs)-p.buf {
		return nil, errBatch()
	}
	c.bufs = p.bufs[p.buf : p.buf+n]
	p.buf += n
	return c, p.children(c)
}

func (p *parts) children(c *column) error {
	if c.wire.dict { // its values come in messages of their own
		return nil
	}
	for _, k := range c.wire.kids {
		kid, err := p.column(k)
		if err != nil {
			return err
		}
		c.kids = append(c.kids, kid)
	}
	switch t := c.wire.Type.(type) {
	case *arrow.StructType:
		for _, k := range c.kids {
			if k.length < c.length {
				return errBatch()
			}
		}
	case *arrow.FixedSizeListType:
		if c.kids[0].length/int64(t.Len()) < c.length {
			return errBatch()
		}
	case *arrow.RunEndEncodedType:
		if c.kids[0].length != c.kids[1].length {
			return errBatch()
		}
	}
	return nil
}

// buffersOf returns how many buffers an array of a type has, those of its children and of views not counted.
func buffersOf(id arrow.Type) int {
	switch id {
	case arrow.NULL, arrow.RUN_END_ENCODED:
		return 0
	case arrow.STRUCT, arrow.FIXED_SIZE_LIST:
		return 1
	case arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY, arrow.LIST_VIEW, arrow.LARGE_LIST_VIEW:
		return 3
	}
	return 2
}
