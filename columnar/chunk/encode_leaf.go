package chunk

import (
	"fmt"
	"sort"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// leaf is a leaf of a column: what is a column chunk in Parquet.
type leaf struct {
	path           []step
	nullable       bool
	maxDef, maxRep int
	form           form
	order          order
	text           bool
	physical       int // type, as parquet.thrift numbers it
	width          int // bytes of a value; 0: they differ

	chosen, fallback choice // fallback: where a dictionary gets too large
}

// step leads from an array to the elements of its lists or to a field of its structs.
type step struct {
	list     bool
	field    int
	nullable bool
}

// form is how values are kept between array and page.
type form int

const (
	formNull    form = iota
	formBool         // bits
	form32           // values.halves
	form64           // values.words
	formFixed        // values.bytes
	formDecimal      // values.bytes, big endian
	formBytes        // values.bytes and lengths
)

// order is how the values of a leaf are compared.
type order int

const (
	orderNone order = iota
	orderSigned
	orderUnsigned
	orderFloat
	orderBytes
	orderDecimal
)

func newLeaf(t arrow.DataType, nullable bool, path []step) *leaf {
	l := &leaf{path: path, nullable: nullable, text: t.ID() == arrow.STRING, form: form32}
	for _, s := range path {
		l.maxDef += count(s.nullable) + count(s.list)
		l.maxRep += count(s.list)
	}
	l.maxDef += count(nullable)
	switch id := t.ID(); {
	case id == arrow.NULL:
		l.form = formNull
	case id == arrow.BOOL:
		l.form, l.order = formBool, orderUnsigned
	case id == arrow.STRING, id == arrow.BINARY:
		l.form, l.order = formBytes, orderBytes
	case id == arrow.FIXED_SIZE_BINARY:
		l.form, l.order = formFixed, orderBytes
	case id == arrow.FLOAT16:
		l.form, l.order = formFixed, orderFloat
	case arrow.IsDecimal(id):
		l.form, l.order = formDecimal, orderDecimal
	case arrow.IsFloating(id):
		l.order = orderFloat
	case arrow.IsUnsignedInteger(id):
		l.order = orderUnsigned
	default:
		l.order = orderSigned
	}
	return l
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// describe takes from the schema how values are kept.
func (l *leaf) describe(c *schema.Column) {
	if int(c.MaxDefinitionLevel()) != l.maxDef || int(c.MaxRepetitionLevel()) != l.maxRep {
		panic(fmt.Sprintf("chunk: column %s has other levels than its type", c.Path()))
	}
	l.physical = int(c.PhysicalType())
	switch c.PhysicalType() {
	case parquet.Types.Boolean:
		l.width = 1
	case parquet.Types.Int32, parquet.Types.Float:
		l.width = 4
		if l.form != formNull {
			l.form, l.order = form32, l.wordOrder()
		}
	case parquet.Types.Int64, parquet.Types.Double:
		l.width, l.form, l.order = 8, form64, l.wordOrder()
	case parquet.Types.FixedLenByteArray:
		l.width = c.TypeLength()
	}
}

// wordOrder is the order of decimals, too, once they are integers.
func (l *leaf) wordOrder() order {
	if l.order == orderDecimal {
		return orderSigned
	}
	return l.order
}

// node is an array on the way to a leaf.
type node struct {
	arr     arrow.Array
	step    step
	offsets []int32 // of lists, and of the values of strings
	valid   []byte  // nil: nothing is null
	shift   int     // of valid, in bits
}

func newNode(a arrow.Array) node {
	n := node{arr: a, shift: a.Data().Offset()}
	if a.NullN() > 0 {
		n.valid = a.NullBitmapBytes()
	}
	return n
}

func (n *node) isValid(i int) bool {
	i += n.shift
	return n.valid == nil || n.valid[i/8]>>(i%8)&1 == 1
}

// nodes returns the arrays from a column to its leaf.
func (l *leaf) nodes(a arrow.Array) []node {
	var out []node
	for _, s := range l.path {
		n := newNode(a)
		n.step = s
		if list, ok := a.(array.ListLike); ok && s.list {
			n.offsets = list.(interface{ Offsets() []int32 }).Offsets()[a.Data().Offset():]
			a = list.ListValues()
		} else {
			a = a.(*array.Struct).Field(s.field)
		}
		out = append(out, n)
	}
	n := newNode(a)
	if l.form == formBytes && a.Len() > 0 {
		n.offsets = arrow.Int32Traits.CastFromBytes(a.Data().Buffers()[1].Bytes())[a.Data().Offset():]
	}
	return append(out, n)
}

// index returns the number of the first leaf element of row i.
func index(nodes []node, i int) int {
	for _, n := range nodes[:len(nodes)-1] {
		if n.step.list {
			i = int(n.offsets[i])
		}
	}
	return i
}

// fitting returns how many rows from row on take at most room bytes in memory, and what they take.
func (l *leaf) fitting(nodes []node, row, room int) (rows, size int) {
	left := nodes[0].arr.Len() - row
	if l.width > 0 && len(nodes) == 1 {
		rows = min(left, room/l.width)
		return rows, rows * l.width
	}
	rows = sort.Search(left, func(n int) bool { return l.size(nodes, row, row+n+1) > room })
	return rows, l.size(nodes, row, row+rows)
}

// size returns what rows take in memory.
func (l *leaf) size(nodes []node, from, to int) int {
	rows := to - from
	from, to = index(nodes, from), index(nodes, to)
	size := max(l.width, 4)*(to-from) + len(l.path)*rows
	if l.form == formBytes && to > from {
		offsets := nodes[len(nodes)-1].offsets
		size += int(offsets[to] - offsets[from])
	}
	return size
}
