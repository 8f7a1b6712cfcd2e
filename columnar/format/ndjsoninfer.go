package format

import (
	"fmt"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
)

// shape gathers what occurs at one place of the JSON rows.
type shape struct {
	name    string
	numbers guess // numbers, and the words NaN, Infinity and -Infinity
	bools   bool
	strings bool
	words   bool // strings that are words for floats
	objects bool
	lists   bool
	fields  []*shape // of objects, in the order of their first occurrence
	index   map[string]*shape
	elem    *shape
	mark    int // the object in which the field was last met
	serial  int // of objects here
}

// kinds returns how many kinds of value occur, those of one column being one. Words for floats count with the numbers, or as strings.
func (s *shape) kinds() int {
	n := 0
	for _, b := range []bool{s.numbers.total > 0, s.bools, s.strings || s.words && s.numbers.total == 0, s.objects, s.lists} {
		if b {
			n++
		}
	}
	return n
}

// count returns how many shapes there are.
func (s *shape) count() int {
	n := 1
	for _, f := range s.fields {
		n += f.count()
	}
	if s.elem != nil {
		n += s.elem.count()
	}
	return n
}

// result returns the type of the values, which are of one kind. Where only nulls were met it is string, for an object without fields
// a map of strings.
func (s *shape) result() arrow.DataType {
	switch {
	case s.bools:
		return arrow.FixedWidthTypes.Boolean
	case s.numbers.total > 0:
		g := s.numbers
		if s.words {
			g.n[classWord]++
			g.total++
		}
		return g.result()
	case s.lists:
		return arrow.ListOfField(arrow.Field{Name: "element", Type: s.elem.result(), Nullable: true})
	case s.objects && len(s.fields) == 0:
		return arrow.MapOfFields(arrow.Field{Name: "key", Type: arrow.BinaryTypes.String}, arrow.Field{Name: "value", Type: arrow.BinaryTypes.String, Nullable: true})
	case s.objects:
		fields := make([]arrow.Field, len(s.fields))
		for i, f := range s.fields {
			fields[i] = arrow.Field{Name: f.name, Type: f.result(), Nullable: true}
		}
		return arrow.StructOf(fields...)
	}
	return arrow.BinaryTypes.String
}

// shapeScan adds the values of JSON texts to shapes.
type shapeScan struct {
	jsonDecoder
	declared *arrow.Schema // top fields whose values are of no interest
	total    int           // shapes
}

var errShapes = fault.New(fault.TooLarge, "more than %d columns, nested ones counted", maxColumns)

func (s *shapeScan) value(at *shape, depth int) error {
	if depth > maxDepth {
		return fault.New(fault.TooLarge, "nested more than %d levels deep", maxDepth)
	}
	switch c := s.peek(); c {
	case '{':
		at.objects = true
		return s.mixed(at, s.object(at, depth))
	case '[':
		at.lists = true
		if at.elem == nil {
			at.elem = &shape{}
			s.total++
		}
		return s.mixed(at, s.elements(func() error { return s.value(at.elem, depth+1) }))
	case '"':
		t, err := s.str()
		if isFloatWord(t) {
			at.words = true
		} else {
			at.strings = true
		}
		return s.mixed(at, err)
	case 't':
		at.bools = true
		return s.mixed(at, s.word("true"))
	case 'f':
		at.bools = true
		return s.mixed(at, s.word("false"))
	case 'n':
		return s.word("null")
	}
	t, err := s.number()
	if err != nil {
		return err
	}
	at.numbers.add(t)
	if at.numbers.result().ID() == arrow.STRING {
		return jsonError("no number type holds all values exactly; declare one with schema")
	}
	return s.mixed(at, nil)
}

// mixed refuses a second kind of value at one place.
func (s *shapeScan) mixed(at *shape, err error) error {
	if err == nil && at.kinds() > 1 {
		return jsonError("values of different kinds in one column")
	}
	return err
}

func (s *shapeScan) object(at *shape, depth int) error {
	at.serial++
	serial := at.serial
	return s.pairs(func() error {
		key, err := s.str()
		if err != nil {
			return err
		}
		name := string(key)
		s.enter(shorten(name), -1)
		if err := s.want(':'); err != nil {
			return err
		}
		f := at.index[name]
		if f == nil {
			if s.total++; s.total > maxColumns {
				return errShapes
			}
			if len(name) > maxNameBytes {
				return jsonError(fmt.Sprintf("the name is longer than %d bytes", maxNameBytes))
			}
			f = &shape{name: name}
			if at.index == nil {
				at.index = map[string]*shape{}
			}
			at.index[name] = f
			at.fields = append(at.fields, f)
		}
		if f.mark == serial {
			return jsonError("the field occurs twice")
		}
		f.mark = serial
		if depth == 1 && s.declared != nil && s.declared.HasField(name) {
			err = s.ignore(1)
		} else {
			err = s.value(f, depth+1)
		}
		if err == nil {
			s.leave()
		}
		return err
	})
}

// ignore steps over a value whose type is declared.
func (s *shapeScan) ignore(depth int) error {
	if depth > maxDepth {
		return fault.New(fault.TooLarge, "nested more than %d levels deep", maxDepth)
	}
	switch s.peek() {
	case '{':
		return s.pairs(func() error {
			if _, err := s.str(); err != nil {
				return err
			}
			if err := s.want(':'); err != nil {
				return err
			}
			return s.ignore(depth + 1)
		})
	case '[':
		return s.elements(func() error { return s.ignore(depth + 1) })
	case '"':
		_, err := s.str()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, err := s.number()
	return err
}
