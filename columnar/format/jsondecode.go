package format

import (
	"errors"
	"fmt"
	"strconv"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// node appends the JSON values of one field to its builder.
type node struct {
	field arrow.Field
	b     array.Builder
	width int // raw bytes of one value, variable parts not counted

	text   func([]byte) bool // plain values
	quoted bool              // plain values must be strings
	bare   bool              // plain values must be numbers or words

	fields []*node        // of a struct; of a list: the element; of a map: key and value
	index  map[string]int // of a struct
	seen   []bool         // of a struct: fields met in this object
}

func newNode(f arrow.Field, b array.Builder) *node {
	n := &node{field: f, b: b, width: rawWidth(f.Type)}
	switch t := f.Type.(type) {
	case *arrow.StructType:
		sb := b.(*array.StructBuilder)
		n.index = make(map[string]int, t.NumFields())
		n.seen = make([]bool, t.NumFields())
		for i, child := range t.Fields() {
			n.index[child.Name] = i
			n.fields = append(n.fields, newNode(child, sb.FieldBuilder(i)))
		}
	case *arrow.MapType:
		mb := b.(*array.MapBuilder)
		n.fields = []*node{newNode(t.KeyField(), mb.KeyBuilder()), newNode(t.ItemField(), mb.ItemBuilder())}
	case *arrow.ListType:
		n.fields = []*node{newNode(t.ElemField(), b.(*array.ListBuilder).ValueBuilder())}
	default:
		n.text = textAppender(f.Type, b)
		n.quoted, n.bare = tokenOf(f.Type)
	}
	return n
}

// tokenOf says which JSON token a plain type takes: a string only, no string, or either.
func tokenOf(t arrow.DataType) (quoted, bare bool) {
	switch t.ID() {
	case arrow.BOOL, arrow.NULL:
		return false, true
	case arrow.STRING, arrow.BINARY, arrow.FIXED_SIZE_BINARY, arrow.DICTIONARY, arrow.DATE32, arrow.TIME32, arrow.TIME64, arrow.TIMESTAMP:
		return true, false
	}
	return false, false
}

// step is one element of the path to a value.
type step struct {
	name  string
	index int // of a list element, -1 for a field
}

// jsonDecoder reads JSON texts into builders.
type jsonDecoder struct {
	jsonScan
	path []step
	cost int // raw bytes of the rows so far in this text
}

// decode appends the value in text, the whole of it, to n.
func (d *jsonDecoder) decode(n *node, text []byte) error {
	d.reset(text)
	d.path = d.path[:0]
	d.cost = 0
	if err := d.value(n); err != nil {
		return err
	}
	return d.atEnd()
}

// where writes the path of the last error, "a.b[3]"; empty at the top.
func (d *jsonDecoder) where() string {
	s := ""
	for _, p := range d.path {
		switch {
		case p.index >= 0:
			s += "[" + strconv.Itoa(p.index) + "]"
		case s == "":
			s = p.name
		default:
			s += "." + p.name
		}
	}
	return shorten(s)
}

func (d *jsonDecoder) enter(name string, index int) { d.path = append(d.path, step{name, index}) }
func (d *jsonDecoder) leave()                       { d.path = d.path[:len(d.path)-1] }

var errRowTooLarge = fault.New(fault.TooLarge, "the row is larger than %d bytes", maxRowBytes)

// spend counts the memory of one value. It keeps a short text from growing without bound: [{},{},{}] of a struct with a thousand fields.
func (d *jsonDecoder) spend(n *node) error {
	if d.cost += n.width; d.cost > maxRowBytes {
		return errRowTooLarge
	}
	return nil
}

func (d *jsonDecoder) value(n *node) error {
	c := d.peek()
	if c == 'n' {
		if err := d.word("null"); err != nil {
			return err
		}
		return n.appendNull()
	}
	switch b := n.b.(type) {
	case *array.StructBuilder:
		if c != '{' {
			return n.misfit()
		}
		b.Append(true)
		return d.object(n)
	case *array.MapBuilder:
		return d.mapping(n, b, c)
	case *array.ListBuilder:
		if c != '[' {
			return n.misfit()
		}
		b.Append(true)
		return d.list(n.fields[0])
	}
	return d.plain(n, c)
}

func (n *node) appendNull() error {
	if !n.field.Nullable {
		return jsonError("null in a column that is declared not null")
	}
	n.b.AppendNull()
	return nil
}

func (n *node) misfit() error { return jsonError("not a value of type " + FormatType(n.field.Type)) }

func (d *jsonDecoder) plain(n *node, c byte) (err error) {
	var t []byte
	switch c {
	case '"':
		if t, err = d.str(); err == nil && n.bare {
			return n.misfit()
		}
	case 't', 'f':
		t = []byte("true")
		if c == 'f' {
			t = []byte("false")
		}
		if err = d.word(string(t)); err == nil && n.field.Type.ID() != arrow.BOOL {
			return n.misfit()
		}
	case '{', '[':
		return n.misfit()
	default:
		if t, err = d.number(); err == nil && n.quoted {
			return n.misfit()
		}
	}
	if err != nil {
		return err
	}
	if !n.text(t) {
		return n.misfit()
	}
	return nil
}

// object reads the fields of a struct, whose place is already appended.
func (d *jsonDecoder) object(n *node) error {
	clear(n.seen)
	err := d.pairs(func() error {
		key, err := d.str()
		if err != nil {
			return err
		}
		i, ok := n.index[string(key)]
		switch {
		case !ok:
			d.enter(shorten(string(key)), -1)
			return jsonError("the schema has no such field")
		case n.seen[i]:
			d.enter(n.fields[i].field.Name, -1)
			return jsonError("the field occurs twice")
		}
		n.seen[i] = true
		if err := d.want(':'); err != nil {
			return err
		}
		d.enter(n.fields[i].field.Name, -1)
		if err := d.value(n.fields[i]); err != nil {
			return err
		}
		d.leave()
		return nil
	})
	if err != nil {
		return err
	}
	for i, ok := range n.seen {
		if !ok {
			if err := n.fields[i].appendNull(); err != nil {
				d.enter(n.fields[i].field.Name, -1)
				return jsonError("missing in a column that is declared not null")
			}
		}
	}
	return nil
}

// pairs reads { member, member … }, calling member for each.
func (d *jsonDecoder) pairs(member func() error) error {
	d.i++ // the brace
	if d.take('}') {
		return nil
	}
	for {
		d.peek()
		if err := member(); err != nil {
			return err
		}
		if d.take('}') {
			return nil
		}
		if err := d.want(','); err != nil {
			return err
		}
	}
}

// elements reads [ value, value … ], calling value for each.
func (d *jsonDecoder) elements(value func() error) error {
	d.i++ // the bracket
	if d.take(']') {
		return nil
	}
	for i := 0; ; i++ {
		d.enter("", i)
		if err := value(); err != nil {
			return err
		}
		d.leave()
		if d.take(']') {
			return nil
		}
		if err := d.want(','); err != nil {
			return err
		}
	}
}

func (d *jsonDecoder) list(elem *node) error {
	return d.elements(func() error {
		if err := d.spend(elem); err != nil {
			return err
		}
		return d.value(elem)
	})
}

// mapping reads a map: an object if its keys are strings, or a list of {"key": …, "value": …}. Keys may repeat, as in Arrow.
func (d *jsonDecoder) mapping(n *node, b *array.MapBuilder, c byte) error {
	key, item := n.fields[0], n.fields[1]
	switch {
	case c == '{' && key.quoted:
		b.Append(true)
		return d.pairs(func() error {
			k, err := d.str()
			if err != nil {
				return err
			}
			d.enter(shorten(string(k)), -1)
			if err := d.spend(item); err != nil {
				return err
			}
			if err := d.want(':'); err != nil {
				return err
			}
			if !key.text(k) {
				return key.misfit()
			}
			if err := d.value(item); err != nil {
				return err
			}
			d.leave()
			return nil
		})
	case c == '[':
		b.Append(true)
		return d.elements(func() error { return d.entry(key, item) })
	}
	return n.misfit()
}

// entry reads {"key": …, "value": …}, in either order.
func (d *jsonDecoder) entry(key, item *node) error {
	if d.peek() != '{' {
		return jsonError("not a map entry")
	}
	if err := d.spend(item); err != nil {
		return err
	}
	var keys, items int
	err := d.pairs(func() error {
		name, err := d.str()
		if err != nil {
			return err
		}
		if err := d.want(':'); err != nil {
			return err
		}
		switch string(name) {
		case "key":
			keys++
			return d.value(key)
		case "value":
			items++
			return d.value(item)
		}
		return jsonError("a map entry has a key and a value only")
	})
	switch {
	case err != nil:
		return err
	case keys != 1 || items > 1:
		return jsonError("a map entry has one key and one value")
	case items == 0:
		return item.appendNull()
	}
	return nil
}

// rowError adds the place to an error of a JSON row. It keeps the code of a fault.
func rowError(err error, place, path, hint string) error {
	if path != "" {
		place += ", field " + strconv.Quote(path)
	}
	code, why := fault.InvalidRequest, err.Error()
	if f, ok := errors.AsType[*fault.Error](err); ok {
		code, why = f.Code, f.Detail
	}
	return fault.New(code, "%s", fmt.Sprintf("%s: %s%s", place, why, hint))
}
