package pme

import "coldframe/internal/fault"

// Limits of a schema. A leaf column's number is an ordinal.
const (
	maxLeaves   = maxOrdinal + 1
	maxElements = 2 * maxLeaves
)

// Leaf is one leaf column of a file: what Parquet stores as a column chunk. A nested top-level column has several.
type Leaf struct {
	Index  int      // number among the leaves, from 0
	Column int      // number of its top-level column, from 0
	Path   []string // names from the top-level column down
}

// schemaTree is a Parquet schema: the elements as they were encoded, depth first, the root aside.
type schemaTree struct {
	root     []byte
	elements []element
	columns  []column
	leaves   []Leaf
	repeated []bool // for each leaf, whether it or a group above it repeats
}

type element struct {
	raw      []byte
	name     string
	physical int64 // type, of a leaf
	length   int64 // bytes of a value, if the type says no length
	children int
	optional bool
	repeated bool
}

// Element is a node of a column in the schema of a file.
type Element struct {
	Physical int64 // type of a leaf, its number in parquet.thrift
	Length   int64 // of the values of a leaf of fixed length, in bytes
	Children int   // 0: a leaf
	Optional bool
	Repeated bool
}

// Elements returns the schema of a top-level column, depth first.
func (f *File) Elements(columnIndex int) []Element {
	c := f.meta.schema.columns[columnIndex].elements
	out := make([]Element, 0, c[1]-c[0])
	for _, e := range f.meta.schema.elements[c[0]:c[1]] {
		out = append(out, Element{Physical: e.physical, Length: e.length, Children: e.children, Optional: e.optional, Repeated: e.repeated})
	}
	return out
}

// column is a top-level column: its elements and leaves as half-open ranges.
type column struct {
	elements, leaves [2]int
}

func parseSchema(list field) (*schemaTree, error) {
	n, err := listLen(list)
	if err != nil {
		return nil, err
	}
	if n > maxElements {
		return nil, fault.New(fault.TooLarge, "a schema of %d elements, %d allowed", n, maxElements)
	}
	all := make([]element, 0, n)
	err = eachElement(list, tStruct, maxElements, func(_ int, raw []byte) error {
		e, err := parseElement(raw)
		all = append(all, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errThrift("a schema without a root")
	}
	t := &schemaTree{root: all[0].raw, elements: all[1:]}
	return t, t.build(all[0].children)
}

func parseElement(raw []byte) (element, error) {
	e := element{raw: raw}
	err := fields(raw, func(f field) error {
		switch f.id {
		case 1:
			v, err := f.integer(tI32)
			e.physical = v
			return err
		case 2:
			v, err := f.integer(tI32)
			e.length = v
			return err
		case 3:
			v, err := f.integer(tI32)
			e.optional, e.repeated = v == 1, v == 2
			return err
		case 4:
			v, err := f.binary()
			e.name = string(v)
			return err
		case 5:
			v, err := f.integer(tI32)
			if v < 0 || v > maxElements {
				return fault.New(fault.TooLarge, "a schema element of %d children", v)
			}
			e.children = int(v)
			return err
		}
		return nil
	})
	return e, err
}

// build finds the top-level columns and leaves.
func (t *schemaTree) build(columns int) error {
	next := 0
	for range columns {
		c := column{elements: [2]int{next, 0}, leaves: [2]int{len(t.leaves), 0}}
		var err error
		if next, err = t.walk(next, nil, false); err != nil {
			return err
		}
		c.elements[1], c.leaves[1] = next, len(t.leaves)
		if c.leaves[0] == c.leaves[1] {
			return errThrift("a schema with a column without leaves")
		}
		t.columns = append(t.columns, c)
	}
	if next != len(t.elements) {
		return errThrift("a schema with elements outside its tree")
	}
	return nil
}

func (t *schemaTree) walk(i int, path []string, repeated bool) (next int, err error) {
	if i >= len(t.elements) {
		return 0, errThrift("a schema ends early")
	}
	if len(path) >= maxNesting {
		return 0, fault.New(fault.TooLarge, "a schema nested deeper than %d", maxNesting)
	}
	e := t.elements[i]
	path = append(append(make([]string, 0, len(path)+1), path...), e.name)
	repeated = repeated || e.repeated
	if e.children == 0 {
		if len(t.leaves) == maxLeaves {
			return 0, fault.New(fault.TooLarge, "more than %d leaf columns", maxLeaves)
		}
		t.leaves = append(t.leaves, Leaf{Index: len(t.leaves), Column: len(t.columns), Path: path})
		t.repeated = append(t.repeated, repeated)
		return i + 1, nil
	}
	next = i + 1
	for range e.children {
		if next, err = t.walk(next, path, repeated); err != nil {
			return 0, err
		}
	}
	return next, nil
}
