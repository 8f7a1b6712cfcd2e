package columnar_test

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

var flatTypes = []arrow.DataType{
	arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
	arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
	arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary,
	&arrow.FixedSizeBinaryType{ByteWidth: 1}, &arrow.FixedSizeBinaryType{ByteWidth: 16},
	arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64, arrow.FixedWidthTypes.Time32s, arrow.FixedWidthTypes.Time32ms,
	arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Time64ns,
	arrow.FixedWidthTypes.Timestamp_s, arrow.FixedWidthTypes.Timestamp_ms, arrow.FixedWidthTypes.Timestamp_us, arrow.FixedWidthTypes.Timestamp_ns,
	&arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Europe/Zurich"},
	&arrow.TimestampType{Unit: arrow.Second, TimeZone: "+05:30"},
	arrow.FixedWidthTypes.Duration_s, arrow.FixedWidthTypes.Duration_ms, arrow.FixedWidthTypes.Duration_us, arrow.FixedWidthTypes.Duration_ns,
	&arrow.Decimal32Type{Precision: 7, Scale: 2}, &arrow.Decimal64Type{Precision: 15, Scale: 0}, &arrow.Decimal128Type{Precision: 9, Scale: 9},
	&arrow.Decimal128Type{Precision: 18, Scale: 4}, &arrow.Decimal128Type{Precision: 38, Scale: 10},
	&arrow.Decimal256Type{Precision: 20, Scale: 1}, &arrow.Decimal256Type{Precision: 76, Scale: 30},
}

var indexTypes = []arrow.DataType{
	arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Int32,
	arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint64,
}

func drawType(t *rapid.T, depth int) arrow.DataType {
	kinds := 3
	if depth > 0 {
		kinds = 8
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	default:
		return rapid.SampledFrom(flatTypes).Draw(t, "type")
	case 2:
		return arrow.Null
	case 3:
		value := rapid.SampledFrom(dictionaryValues).Draw(t, "values")
		return &arrow.DictionaryType{IndexType: rapid.SampledFrom(indexTypes).Draw(t, "index"), ValueType: value}
	case 4:
		return arrow.ListOfField(arrow.Field{Name: "item", Type: drawType(t, depth-1), Nullable: true})
	case 5:
		n := rapid.Int32Range(1, 3).Draw(t, "width")
		return arrow.FixedSizeListOfField(n, arrow.Field{Name: "item", Type: drawType(t, depth-1), Nullable: true})
	case 6, 7:
		var fields []arrow.Field
		for i := range rapid.IntRange(1, 3).Draw(t, "fields") {
			fields = append(fields, arrow.Field{Name: fmt.Sprintf("f.%d", i), Type: drawType(t, depth-1), Nullable: true})
		}
		return arrow.StructOf(fields...)
	case 8:
		key := rapid.SampledFrom([]arrow.DataType{arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32}).Draw(t, "key")
		return arrow.MapOf(key, drawType(t, depth-1))
	}
}

// dictionaryValues are the types for which arrow-go can build dictionaries.
var dictionaryValues = []arrow.DataType{
	arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64,
	arrow.FixedWidthTypes.Date32, &arrow.FixedSizeBinaryType{ByteWidth: 4}, arrow.FixedWidthTypes.Timestamp_us,
}

// drawValue appends a value of the builder's type.
func drawValue(t *rapid.T, b array.Builder, nullable bool) {
	if nullable && rapid.IntRange(0, 4).Draw(t, "null") == 0 {
		b.AppendNull()
		return
	}
	number := func() int64 { return rapid.Int64().Draw(t, "number") }
	switch b := b.(type) {
	case *array.NullBuilder:
		b.AppendNull()
	case *array.BooleanBuilder:
		b.Append(rapid.Bool().Draw(t, "bool"))
	case *array.Int8Builder:
		b.Append(int8(number()))
	case *array.Int16Builder:
		b.Append(int16(number()))
	case *array.Int32Builder:
		b.Append(int32(number()))
	case *array.Int64Builder:
		b.Append(number())
	case *array.Uint8Builder:
		b.Append(uint8(number()))
	case *array.Uint16Builder:
		b.Append(uint16(number()))
	case *array.Uint32Builder:
		b.Append(uint32(number()))
	case *array.Uint64Builder:
		b.Append(uint64(number()))
	case *array.Float16Builder:
		b.Append(float16.New(rapid.Float32Range(-60000, 60000).Draw(t, "float")))
	case *array.Float32Builder:
		b.Append(rapid.Float32().Draw(t, "float"))
	case *array.Float64Builder:
		b.Append(rapid.Float64().Draw(t, "float"))
	case *array.StringBuilder:
		b.Append(rapid.String().Draw(t, "string"))
	case *array.BinaryBuilder:
		b.Append(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
	case *array.FixedSizeBinaryBuilder:
		n := b.Type().(*arrow.FixedSizeBinaryType).ByteWidth
		b.Append(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "bytes"))
	case *array.Date32Builder:
		b.Append(arrow.Date32(number()))
	case *array.Date64Builder:
		b.Append(arrow.Date64(number()))
	case *array.Time32Builder:
		b.Append(arrow.Time32(rapid.Int32Range(0, 86_399).Draw(t, "time")))
	case *array.Time64Builder:
		b.Append(arrow.Time64(number()))
	case *array.TimestampBuilder:
		v := arrow.Timestamp(number())
		if b.Type().(*arrow.TimestampType).Unit == arrow.Second {
			v /= 1000
		}
		b.Append(v)
	case *array.DurationBuilder:
		b.Append(arrow.Duration(number()))
	default:
		drawOther(t, b)
	}
}

func drawOther(t *rapid.T, b array.Builder) {
	switch b := b.(type) {
	case *array.Decimal32Builder:
		b.Append(decimal.Decimal32(rapid.Int32Range(-9_999_999, 9_999_999).Draw(t, "decimal")))
	case *array.Decimal64Builder:
		b.Append(decimal.Decimal64(rapid.Int64Range(-999_999_999_999_999, 999_999_999_999_999).Draw(t, "decimal")))
	case *array.Decimal128Builder, *array.Decimal256Builder:
		d := b.Type().(arrow.DecimalType)
		digits := rapid.StringMatching(fmt.Sprintf("-?[0-9]{1,%d}", d.GetPrecision())).Draw(t, "digits")
		if err := b.AppendValueFromString(point(digits, int(d.GetScale()))); err != nil {
			t.Fatalf("%s as %s: %v", digits, d, err)
		}
	case array.DictionaryBuilder:
		v := array.NewBuilder(memory.DefaultAllocator, b.Type().(*arrow.DictionaryType).ValueType)
		drawValue(t, v, false)
		if err := b.AppendArray(v.NewArray()); err != nil {
			t.Fatal(err)
		}
	case *array.MapBuilder:
		b.Append(true)
		for range rapid.IntRange(0, 3).Draw(t, "entries") {
			drawValue(t, b.KeyBuilder(), false)
			drawValue(t, b.ItemBuilder(), true)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range b.Type().(*arrow.FixedSizeListType).Len() {
			drawValue(t, b.ValueBuilder(), true)
		}
	case *array.ListBuilder:
		b.Append(true)
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			drawValue(t, b.ValueBuilder(), true)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			drawValue(t, b.FieldBuilder(i), true)
		}
	default:
		t.Fatalf("no values for %T", b)
	}
}

// point puts a decimal point before the last scale digits.
func point(digits string, scale int) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	if scale == 0 {
		return sign + digits
	}
	digits = strings.Repeat("0", max(scale+1-len(digits), 0)) + digits
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

func drawBatch(t *rapid.T, schema *arrow.Schema, maxRows int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for range rapid.IntRange(0, maxRows).Draw(t, "rows") {
		for i, f := range schema.Fields() {
			drawValue(t, b.Field(i), f.Nullable)
		}
	}
	return b.NewRecordBatch()
}

// values returns every value of a column as text.
func values(batches []arrow.RecordBatch, column int) []string {
	var out []string
	for _, b := range batches {
		for i := range int(b.NumRows()) {
			out = append(out, text(b.Column(column), i))
		}
	}
	return out
}

// text returns a value with all that is in it. ValueStr would do but for dictionaries, where it shows empty values as null.
func text(arr arrow.Array, i int) string {
	if arr.IsNull(i) {
		return "NULL"
	}
	switch a := arr.(type) {
	case *array.Dictionary:
		return text(a.Dictionary(), a.GetValueIndex(i))
	case *array.Struct:
		var s strings.Builder
		for f := range a.NumField() {
			s.WriteString("{" + text(a.Field(f), i) + "}")
		}
		return s.String()
	case array.ListLike:
		var s strings.Builder
		for start, end := a.ValueOffsets(i); start < end; start++ {
			s.WriteString("[" + text(a.ListValues(), int(start)) + "]")
		}
		return "(" + s.String() + ")"
	}
	return strconv.Quote(arr.ValueStr(i))
}

// TestTypes writes and reads tables of random types and values, in slices of batches, over several row groups.
func TestTypes(t *testing.T) {
	store := folder(t)
	rapid.Check(t, func(t *rapid.T) {
		var fields []arrow.Field
		for i := range rapid.IntRange(1, 4).Draw(t, "columns") {
			typ := drawType(t, 3)
			nullable := typ.ID() == arrow.NULL || rapid.Bool().Draw(t, "nullable")
			fields = append(fields, arrow.Field{
				Name: fmt.Sprintf("column.%d", i), Type: typ, Nullable: nullable, Metadata: arrow.NewMetadata([]string{"unit"}, []string{"m"}),
			})
		}
		meta := arrow.NewMetadata([]string{"source"}, []string{"test"})
		schema := arrow.NewSchema(fields, &meta)
		var batches []arrow.RecordBatch
		for range rapid.IntRange(0, 3).Draw(t, "batches") {
			b := drawBatch(t, schema, 20)
			from := rapid.Int64Range(0, b.NumRows()).Draw(t, "from")
			batches = append(batches, b.NewSlice(from, b.NumRows()))
		}
		w := newWorld(t, store, schema)
		w.options = func(o *columnar.WriterOptions) {
			o.RowGroupBytes = rapid.SampledFrom([]int64{8 << 10, 32 << 10, 1 << 20}).Draw(t, "row group")
		}
		w.mustPut(batches...)
		got, err := w.get(columnar.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if w.head.Contents.Schema.String() != schema.String() {
			t.Fatalf("schema %v, want %v", w.head.Contents.Schema, schema)
		}
		for i, f := range schema.Fields() {
			for _, b := range got {
				if b.Schema().Field(i).String() != f.String() || b.Column(i).DataType().String() != f.Type.String() {
					t.Fatalf("type %s, want %s", b.Column(i).DataType(), f.Type)
				}
			}
			g, want := values(got, i), values(batches, i)
			if len(g) != len(want) {
				t.Fatalf("%d values of %s, want %d", len(g), f.Type, len(want))
			}
			for j := range want {
				if g[j] != want[j] {
					t.Fatalf("value %d of type %s: got %s, want %s", j, f.Type, g[j], want[j])
				}
			}
		}
	})
}

// TestSpecialFloats keeps the bits of infinities, NaN payloads and negative zero.
func TestSpecialFloats(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Float64}}, nil)
	bits := []uint64{0, 1 << 63, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000001, 0xfff8dead00000000, 1}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for _, v := range bits {
		b.Field(0).(*array.Float64Builder).Append(math.Float64frombits(v))
	}
	w := newWorld(t, folder(t), schema)
	w.mustPut(b.NewRecordBatch())
	got, err := w.get(columnar.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got[0].Column(0).(*array.Float64).Float64Values() {
		if math.Float64bits(v) != bits[i] {
			t.Errorf("value %d: %x, want %x", i, math.Float64bits(v), bits[i])
		}
	}
}

func TestRefusedTypes(t *testing.T) {
	for _, typ := range []arrow.DataType{
		arrow.BinaryTypes.StringView, arrow.BinaryTypes.LargeString, arrow.LargeListOf(arrow.PrimitiveTypes.Int8), arrow.StructOf(),
		arrow.FixedWidthTypes.MonthInterval, arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int8),
		&arrow.FixedSizeBinaryType{}, &arrow.Decimal128Type{Precision: 5, Scale: -2}, &arrow.Decimal128Type{Precision: 5, Scale: 6},
		arrow.SparseUnionOf([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int8}}, []arrow.UnionTypeCode{0}),
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.ListOf(arrow.PrimitiveTypes.Int8)},
	} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "good", Type: arrow.PrimitiveTypes.Int8}, {Name: "odd one", Type: typ, Nullable: true}}, nil)
		w := newWorld(t, folder(t), schema)
		_, _, err := w.writer(t.Context())
		if !errors.Is(err, fault.InvalidRequest) || !strings.Contains(err.Error(), `"odd one"`) {
			t.Errorf("%s: %v", typ, err)
		}
		if len(w.names) != 0 {
			t.Errorf("%s: an object was begun", typ)
		}
	}
}
