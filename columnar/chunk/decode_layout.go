package chunk

import (
	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar/pme"
)

// layoutNode is a node of a column: where Parquet has levels, which say of each entry of a leaf how far down its path values are there (def)
// and which lists it goes on (rep), Arrow has an array for each node, with a slot for each entry that gets so far.
type layoutNode struct {
	typ              arrow.DataType
	slotDef, slotRep uint8 // entries of at least that def and at most that rep have a slot
	def              uint8 // from that on the slot is not null
	children         []*layoutNode
	leaf             int // its first
	nested           bool
	element          pme.Element
}

// maxDepth bounds the nesting. Levels stay below three times that.
const maxDepth = 64

// Repetitions of an element.
const (
	required = iota
	optional
	repeated
)

// layouter walks over the elements of a column beside its type: they have to be exactly those that stand for the type.
type layouter struct {
	elements []pme.Element
	leaves   int
}

func layout(c Column) (*layoutNode, error) {
	l := layouter{elements: c.Elements}
	n, err := l.node(c.Field, place{})
	if err == nil && (len(l.elements) != 0 || l.leaves != len(c.Leaves)) {
		err = errSchema
	}
	return n, err
}

var errSchema = damaged("a column whose schema is not that of its type")

// place is where the slots of a node come from.
type place struct {
	slotDef, slotRep, def uint8
	depth                 int
}

// take returns the next element, which must be as the caller expects it.
func (l *layouter) take(repetition, children int) (pme.Element, error) {
	if len(l.elements) == 0 {
		return pme.Element{}, errSchema
	}
	e := l.elements[0]
	l.elements = l.elements[1:]
	if e.Children != children || e.Optional != (repetition == optional) || e.Repeated != (repetition == repeated) {
		return e, errSchema
	}
	return e, nil
}

func (l *layouter) node(f arrow.Field, p place) (*layoutNode, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errSchema
	}
	repetition := required
	if f.Nullable {
		repetition = optional
		p.def++
	}
	n := &layoutNode{typ: f.Type, slotDef: p.slotDef, slotRep: p.slotRep, def: p.def, leaf: l.leaves, nested: p.depth > 1}
	var err error
	switch t := f.Type.(type) {
	case *arrow.StructType:
		if _, err = l.take(repetition, t.NumFields()); err == nil {
			err = l.children(n, t.Fields(), p)
		}
	case *arrow.ListType:
		err = l.list(n, repetition, 1, []arrow.Field{t.ElemField()}, p)
	case *arrow.MapType:
		err = l.list(n, repetition, 2, []arrow.Field{{Name: "entries", Type: t.Elem()}}, p)
	default:
		l.leaves++
		n.element, err = l.take(repetition, 0)
	}
	return n, err
}

// list lays out a list: the group itself, the repeated group in it, and the elements, which are that group's fields if it has two.
func (l *layouter) list(n *layoutNode, repetition, inner int, elem []arrow.Field, p place) error {
	if _, err := l.take(repetition, 1); err != nil {
		return err
	}
	p.def++
	p.slotRep++
	p.slotDef = p.def
	if inner == 1 {
		if _, err := l.take(repeated, 1); err != nil {
			return err
		}
		return l.children(n, elem, p)
	}
	if _, err := l.take(repeated, inner); err != nil {
		return err
	}
	entries := &layoutNode{typ: elem[0].Type, slotDef: p.slotDef, slotRep: p.slotRep, def: p.def, leaf: l.leaves}
	n.children = []*layoutNode{entries}
	return l.children(entries, elem[0].Type.(*arrow.StructType).Fields(), p)
}

func (l *layouter) children(n *layoutNode, fields []arrow.Field, p place) error {
	for _, f := range fields {
		child, err := l.node(f, p)
		if err != nil {
			return err
		}
		n.children = append(n.children, child)
	}
	return nil
}
