package format

import (
	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
)

// The metadata of Arrow IPC: Message.fbs and Schema.fbs of the Arrow columnar format, version 1.5. The numbers of fields and enum
// values below are those of the files.

const (
	msgSchema     = 1
	msgDictionary = 2
	msgRecord     = 3
)

// wireField is a field as it is sent.
type wireField struct {
	arrow.Field
	kids   []*wireField
	dictID int64
	dict   bool // the buffers hold indices; Type is an arrow.DictionaryType
	value  *wireField
}

func badMessage(why string) error {
	return fault.New(fault.InvalidRequest, "not an Arrow stream: %s", why)
}

type schemaReader struct {
	count int
	bad   error
}

// readSchema reads a Schema table.
func readSchema(t fbTable) ([]*wireField, error) {
	if t.i16(0, 0) != 0 {
		return nil, fault.New(fault.InvalidRequest, "the Arrow stream is big-endian; send it little-endian")
	}
	r := schemaReader{}
	fields := r.fields(t.vector(1, 4), 1)
	t.vector(3, 8)
	switch {
	case r.bad != nil:
		return nil, r.bad
	case t.f.bad:
		return nil, badMessage("the schema is damaged")
	}
	return fields, nil
}

func (r *schemaReader) fail(err error) {
	if r.bad == nil {
		r.bad = err
	}
}

func (r *schemaReader) fields(v fbVector, depth int) []*wireField {
	if r.count += v.n; r.count > 3*maxColumns || depth > 2*maxDepth {
		r.fail(fault.New(fault.TooLarge, "the Arrow schema has more than %d columns or %d levels", maxColumns, maxDepth))
	}
	if r.bad != nil || v.f.bad {
		return nil
	}
	out := make([]*wireField, v.n)
	for i := range out {
		out[i] = r.field(v.table(i), depth)
		if r.bad != nil || v.f.bad {
			return nil
		}
	}
	return out
}

func (r *schemaReader) field(t fbTable, depth int) *wireField {
	w := &wireField{Field: arrow.Field{Name: t.text(0), Nullable: t.i8(1, 0) != 0}}
	w.kids = r.fields(t.vector(5, 4), depth+1)
	w.Metadata = pairs(t.vector(6, 4))
	if r.bad != nil || t.f.bad {
		return nil
	}
	body, _ := t.table(3)
	w.Type = wireType(t.i8(2, 0), body, w.kids)
	if w.Type == nil {
		r.fail(fault.New(fault.InvalidRequest, "column %q: its Arrow type is not supported", shorten(w.Name)))
		return nil
	}
	d, ok := t.table(4)
	if !ok {
		return w
	}
	index := arrow.PrimitiveTypes.Int32
	if it, ok := d.table(1); ok {
		index = wireInt(it)
	}
	if index == nil {
		r.fail(fault.New(fault.InvalidRequest, "column %q: the type of its dictionary indices is unknown", shorten(w.Name)))
		return nil
	}
	return &wireField{
		Field:  arrow.Field{Name: w.Name, Nullable: w.Nullable, Metadata: w.Metadata, Type: &arrow.DictionaryType{IndexType: index, ValueType: w.Type, Ordered: d.i8(2, 0) != 0}},
		dictID: d.i64(0), dict: true, value: w,
	}
}

// pairs returns key-value metadata.
func pairs(v fbVector) arrow.Metadata {
	var keys, values []string
	for i := 0; i < v.n && !v.f.bad; i++ {
		t := v.table(i)
		keys, values = append(keys, t.text(0)), append(values, t.text(1))
	}
	return arrow.NewMetadata(keys, values)
}

func wireInt(t fbTable) arrow.DataType {
	signed := t.i8(1, 0) != 0
	switch t.i32(0, 0) {
	case 8:
		return either[arrow.DataType](signed, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Uint8)
	case 16:
		return either[arrow.DataType](signed, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Uint16)
	case 32:
		return either[arrow.DataType](signed, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Uint32)
	case 64:
		return either[arrow.DataType](signed, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint64)
	}
	return nil
}

func either[T any](c bool, a, b T) T {
	if c {
		return a
	}
	return b
}

// wireType returns the type with number id of the Type union, or nil.
func wireType(id int, t fbTable, kids []*wireField) arrow.DataType {
	switch id {
	case 1:
		return arrow.Null
	case 2:
		return wireInt(t)
	case 3:
		return [...]arrow.DataType{arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, nil}[min(uint(t.i16(0, 0)), 3)]
	case 4:
		return arrow.BinaryTypes.Binary
	case 5:
		return arrow.BinaryTypes.String
	case 6:
		return arrow.FixedWidthTypes.Boolean
	case 7:
		return wireDecimal(int32(t.i32(0, 0)), int32(t.i32(1, 0)), t.i32(2, 128))
	case 8:
		return either[arrow.DataType](t.i16(0, 1) == 0, arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64)
	case 9:
		unit := wireUnit(t.i16(0, 1))
		if unit <= arrow.Millisecond != (t.i32(1, 32) == 32) {
			return nil
		}
		return either[arrow.DataType](unit <= arrow.Millisecond, &arrow.Time32Type{Unit: unit}, &arrow.Time64Type{Unit: unit})
	case 10:
		return &arrow.TimestampType{Unit: wireUnit(t.i16(0, 0)), TimeZone: t.text(1)}
	case 15:
		if n := t.i32(0, 0); n >= 0 {
			return &arrow.FixedSizeBinaryType{ByteWidth: n}
		}
	case 18:
		return &arrow.DurationType{Unit: wireUnit(t.i16(0, 1))}
	case 19:
		return arrow.BinaryTypes.LargeBinary
	case 20:
		return arrow.BinaryTypes.LargeString
	case 23:
		return arrow.BinaryTypes.BinaryView
	case 24:
		return arrow.BinaryTypes.StringView
	}
	return wireNested(id, t, kids)
}

func wireUnit(n int) arrow.TimeUnit { return arrow.TimeUnit(min(uint(n), uint(arrow.Nanosecond))) }

func wireDecimal(p, s int32, bits int) arrow.DataType {
	switch bits {
	case 32:
		return &arrow.Decimal32Type{Precision: p, Scale: s}
	case 64:
		return &arrow.Decimal64Type{Precision: p, Scale: s}
	case 128:
		return &arrow.Decimal128Type{Precision: p, Scale: s}
	case 256:
		return &arrow.Decimal256Type{Precision: p, Scale: s}
	}
	return nil
}

func wireNested(id int, t fbTable, kids []*wireField) arrow.DataType {
	if id == 13 {
		return arrow.StructOf(plain(kids)...)
	}
	if id == 22 && len(kids) == 2 {
		switch kids[0].Type.ID() {
		case arrow.INT16, arrow.INT32, arrow.INT64:
			return arrow.RunEndEncodedOf(kids[0].Type, kids[1].Type)
		}
		return nil
	}
	if len(kids) != 1 {
		return nil
	}
	elem := kids[0].Field
	switch id {
	case 12:
		return arrow.ListOfField(elem)
	case 16:
		if n := t.i32(0, 0); n > 0 {
			return arrow.FixedSizeListOfField(int32(n), elem)
		}
	case 17:
		if e := kids[0]; e.Type.ID() == arrow.STRUCT && len(e.kids) == 2 {
			key := e.kids[0].Field
			key.Nullable = false
			return arrow.MapOfFields(key, e.kids[1].Field)
		}
	case 21:
		return arrow.LargeListOfField(elem)
	case 25:
		return arrow.ListViewOfField(elem)
	case 26:
		return arrow.LargeListViewOfField(elem)
	}
	return nil
}
