package format

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"
)

// drawType draws a canonical type.
func drawType(t *rapid.T, depth int) arrow.DataType {
	plain := []string{
		"null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64", "string",
		"binary", "fixed_size_binary(3)", "decimal(1,0)", "decimal(18,4)", "decimal(38,38)", "decimal(39,0)", "decimal(76,10)", "date", "time[ms]",
		"time[us]", "time[ns]", "timestamp[ms]", "timestamp[us]", "timestamp[ns]", "timestamp[us, UTC]", "timestamp[ns, Europe/Zurich]",
	}
	kinds := plain
	if depth == 1 {
		kinds = append(kinds, "dictionary<string>", "dictionary<binary, ordered>")
	}
	if depth < 4 {
		kinds = append(kinds, "list", "struct", "map", "list", "struct", "map")
	}
	switch k := rapid.SampledFrom(kinds).Draw(t, "kind"); k {
	case "list":
		return arrow.ListOfField(arrow.Field{Name: "element", Type: drawType(t, depth+1), Nullable: true})
	case "map":
		key := mustSchema(t, "k "+rapid.SampledFrom([]string{"string", "int64", "date", "decimal(18,4)", "bool", "binary"}).Draw(t, "key")).Field(0).Type
		return arrow.MapOfFields(arrow.Field{Name: "key", Type: key}, arrow.Field{Name: "value", Type: drawType(t, depth+1), Nullable: true})
	case "struct":
		fields := make([]arrow.Field, rapid.IntRange(1, 3).Draw(t, "fields"))
		for i := range fields {
			fields[i] = arrow.Field{Name: fmt.Sprintf("f%d", i), Type: drawType(t, depth+1), Nullable: true}
		}
		return arrow.StructOf(fields...)
	default:
		return mustSchema(t, "k "+k).Field(0).Type
	}
}

func mustSchema(t interface{ Fatal(...any) }, text string) *arrow.Schema {
	s, err := ParseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var someStrings = []string{"", "a", "NaN", "null", "true", "1", "2024-01-01", `quo"te`, "com,ma", "li\nne", "c\r\nr", "\r", "nul\x00", "ünï 🜁", " ", "\\", "\u2028\x7f", "\ufeffbom", "{}", "[]"}

// drawValue appends one value to b.
func drawValue(t *rapid.T, b array.Builder, nullable bool) {
	if nullable && rapid.IntRange(0, 4).Draw(t, "null") == 0 {
		b.AppendNull()
		return
	}
	i64 := func(lo, hi int64) int64 {
		return rapid.OneOf(rapid.Int64Range(lo, hi), rapid.SampledFrom([]int64{lo, hi})).Draw(t, "int")
	}
	switch b := b.(type) {
	case *array.NullBuilder:
		b.AppendNull()
	case *array.BooleanBuilder:
		b.Append(rapid.Bool().Draw(t, "bool"))
	case *array.Int8Builder:
		b.Append(int8(i64(math.MinInt8, math.MaxInt8)))
	case *array.Int16Builder:
		b.Append(int16(i64(math.MinInt16, math.MaxInt16)))
	case *array.Int32Builder:
		b.Append(int32(i64(math.MinInt32, math.MaxInt32)))
	case *array.Int64Builder:
		b.Append(i64(math.MinInt64, math.MaxInt64))
	case *array.Uint8Builder:
		b.Append(uint8(i64(0, math.MaxUint8)))
	case *array.Uint16Builder:
		b.Append(uint16(i64(0, math.MaxUint16)))
	case *array.Uint32Builder:
		b.Append(uint32(i64(0, math.MaxUint32)))
	case *array.Uint64Builder:
		b.Append(uint64(i64(math.MinInt64, math.MaxInt64)))
	case *array.Float16Builder:
		b.Append(float16.New(float32(drawFloat(t))))
	case *array.Float32Builder:
		b.Append(float32(drawFloat(t)))
	case *array.Float64Builder:
		b.Append(drawFloat(t))
	case *array.StringBuilder:
		b.Append(drawString(t))
	case *array.BinaryBuilder:
		b.Append([]byte(drawString(t)))
	case *array.FixedSizeBinaryBuilder:
		b.Append(rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "fixed"))
	case *array.BinaryDictionaryBuilder:
		if err := b.Append([]byte(drawString(t))); err != nil {
			t.Fatal(err)
		}
	case *array.Decimal128Builder:
		b.Append(decimal128.FromBigInt(drawBig(t, b.Type())))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromBigInt(drawBig(t, b.Type())))
	case *array.Date32Builder:
		b.Append(arrow.Date32(i64(math.MinInt32, math.MaxInt32)))
	case *array.Time32Builder:
		b.Append(arrow.Time32(i64(0, daySeconds*1000-1)))
	case *array.Time64Builder:
		per, _ := perSecond(b.Type().(*arrow.Time64Type).Unit)
		b.Append(arrow.Time64(i64(0, daySeconds*per-1)))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(i64(math.MinInt64, math.MaxInt64)))
	case *array.MapBuilder:
		b.Append(true)
		for range rapid.IntRange(0, 3).Draw(t, "entries") {
			drawValue(t, b.KeyBuilder(), false)
			drawValue(t, b.ItemBuilder(), true)
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
		t.Fatalf("no values for %s", b.Type())
	}
}

func drawFloat(t *rapid.T) float64 {
	return rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 1e21, 1e-7, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324})).Draw(t, "float")
}

func drawString(t *rapid.T) string {
	return rapid.OneOf(rapid.SampledFrom(someStrings), rapid.StringN(0, 12, 40)).Draw(t, "string")
}

func drawBig(t *rapid.T, dt arrow.DataType) *big.Int {
	p := dt.(arrow.DecimalType).GetPrecision()
	digits := rapid.OneOf(rapid.IntRange(0, int(p)), rapid.Just(int(p))).Draw(t, "digits")
	n := new(big.Int)
	for range digits {
		n.Mul(n, big.NewInt(10)).Add(n, big.NewInt(int64(rapid.IntRange(0, 9).Draw(t, "digit"))))
	}
	if digits == int(p) && rapid.Bool().Draw(t, "all nines") {
		n.Exp(big.NewInt(10), big.NewInt(int64(p)), nil).Sub(n, big.NewInt(1))
	}
	if rapid.Bool().Draw(t, "negative") {
		n.Neg(n)
	}
	return n
}

// drawTable draws a schema and one or two batches.
func drawTable(t *rapid.T) (*arrow.Schema, []arrow.RecordBatch) {
	fields := make([]arrow.Field, rapid.IntRange(1, 4).Draw(t, "columns"))
	for i := range fields {
		fields[i] = arrow.Field{Name: fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"c", "a b", `q"`, "x,\n", "ü.", "0"}).Draw(t, "name"), i), Type: drawType(t, 1), Nullable: true}
	}
	schema, err := Canonical(arrow.NewSchema(fields, nil))
	if err != nil {
		t.Fatal(err)
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	var batches []arrow.RecordBatch
	for range rapid.IntRange(0, 2).Draw(t, "batches") {
		for range rapid.IntRange(1, 6).Draw(t, "rows") {
			for i := range fields {
				drawValue(t, b.Field(i), true)
			}
		}
		batches = append(batches, b.NewRecordBatch())
	}
	return schema, batches
}

// rowsOf returns each value of each row as text that tells all values apart, from the arrays themselves.
func rowsOf(batches []arrow.RecordBatch) []string {
	var out []string
	for _, b := range batches {
		for i := range int(b.NumRows()) {
			s := ""
			for _, c := range b.Columns() {
				s += valueText(c, i) + " | "
			}
			out = append(out, s)
		}
	}
	return out
}

func valueText(arr arrow.Array, i int) string {
	if arr.IsNull(i) || arr.DataType().ID() == arrow.NULL {
		return "null"
	}
	bits := func(v float64, b uint64) string {
		if math.IsNaN(v) {
			return "NaN"
		}
		return fmt.Sprintf("%x", b)
	}
	switch a := arr.(type) {
	case *array.Float16:
		return bits(float64(a.Value(i).Float32()), uint64(a.Value(i).Uint16()))
	case *array.Float32:
		return bits(float64(a.Value(i)), uint64(math.Float32bits(a.Value(i))))
	case *array.Float64:
		return bits(a.Value(i), math.Float64bits(a.Value(i)))
	case *array.String:
		return fmt.Sprintf("%q", a.Value(i))
	case *array.Binary:
		return fmt.Sprintf("%x.", a.Value(i))
	case *array.Dictionary:
		return valueText(a.Dictionary(), a.GetValueIndex(i))
	case *array.Timestamp:
		return fmt.Sprint(int64(a.Value(i)))
	case *array.Date32:
		return fmt.Sprint(int64(a.Value(i)))
	case *array.Decimal128:
		return a.Value(i).BigInt().String()
	case *array.Decimal256:
		return a.Value(i).BigInt().String()
	case *array.Struct:
		s := "{"
		for j := range a.NumField() {
			s += valueText(a.Field(j), i) + ","
		}
		return s + "}"
	case *array.Map:
		return elements(a.List, i)
	case *array.List:
		return elements(a, i)
	}
	return arr.ValueStr(i)
}

func elements(a *array.List, i int) string {
	from, to := a.ValueOffsets(i)
	s := "["
	for j := from; j < to; j++ {
		s += valueText(a.ListValues(), int(j)) + ","
	}
	return s + "]"
}

func sameTable(t interface {
	Helper()
	Fatalf(string, ...any)
}, what string, gotSchema, wantSchema *arrow.Schema, got, want []arrow.RecordBatch,
) {
	t.Helper()
	if !gotSchema.Equal(wantSchema) {
		t.Fatalf("%s: schema %s, want %s", what, FormatSchema(gotSchema), FormatSchema(wantSchema))
	}
	g, w := rowsOf(got), rowsOf(want)
	if len(g) != len(w) {
		t.Fatalf("%s: %d rows, want %d", what, len(g), len(w))
	}
	for i := range g {
		if g[i] != w[i] {
			t.Fatalf("%s: row %d of %s\n got %s\nwant %s", what, i+1, FormatSchema(wantSchema), g[i], w[i])
		}
	}
}

// All types with nulls and extremes, through every pair of formats. pyarrow wrote the table.
func TestEveryPair(t *testing.T) {
	for _, name := range []string{"pyarrow-all.arrows", "polars.arrows", "duckdb.arrows", "pandas.arrows", "pyarrow-empty.arrows"} {
		schema, table := readAll(t, Arrow, fixture(t, name), ReadOptions{})
		for _, in := range Kinds() {
			for _, out := range Kinds() {
				t.Run(fmt.Sprintf("%s/%s-%s", name, in, out), func(t *testing.T) {
					o := ReadOptions{Schema: schema, SpoolDir: t.TempDir()}
					s1, b1 := readAll(t, in, write(t, in, schema, table), o)
					sameTable(t, string(in), s1, schema, b1, table)
					s2, b2 := readAll(t, out, write(t, out, s1, b1), o)
					sameTable(t, string(out), s2, schema, b2, table)
				})
			}
		}
	}
}

// Any table, through every format.
func TestAnyTable(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		schema, table := drawTable(r)
		for _, k := range Kinds() {
			s, b, err := tryRead(k, bytesOf(r, k, schema, table), ReadOptions{Schema: schema, SpoolDir: dir, BatchBytes: rapid.SampledFrom([]int{0, 1, 100}).Draw(r, "batch")})
			if err != nil {
				r.Fatalf("%s: %v (%s)", k, err, FormatSchema(schema))
			}
			sameTable(r, string(k), s, schema, b, table)
		}
	})
}
