package columnar_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"

	"coldframe/columnar"
	"coldframe/columnar/format"
)

// A literal is a value of a column, drawn like its other ones. The oracle compares values as numbers of any size or as bytes, and knows
// nothing of storage types, statistics or row groups.

// key is what a value is compared by: a whole number (of the smallest unit of its type), a float, or bytes.
type key struct {
	number *big.Int
	float  float64
	bytes  []byte
}

func keyOf(arr arrow.Array, i int) key {
	whole := func(n int64) key { return key{number: big.NewInt(n)} }
	switch a := arr.(type) {
	case *array.Dictionary:
		return keyOf(a.Dictionary(), a.GetValueIndex(i))
	case *array.Boolean:
		if a.Value(i) {
			return whole(1)
		}
		return whole(0)
	case *array.Int8:
		return whole(int64(a.Value(i)))
	case *array.Int16:
		return whole(int64(a.Value(i)))
	case *array.Int32:
		return whole(int64(a.Value(i)))
	case *array.Int64:
		return whole(a.Value(i))
	case *array.Uint8:
		return whole(int64(a.Value(i)))
	case *array.Uint16:
		return whole(int64(a.Value(i)))
	case *array.Uint32:
		return whole(int64(a.Value(i)))
	case *array.Uint64:
		return key{number: new(big.Int).SetUint64(a.Value(i))}
	case *array.Date32:
		return whole(int64(a.Value(i)))
	case *array.Date64:
		return whole(int64(a.Value(i)))
	case *array.Time32:
		return whole(int64(a.Value(i)))
	case *array.Time64:
		return whole(int64(a.Value(i)))
	case *array.Timestamp:
		return whole(int64(a.Value(i)))
	case *array.Duration:
		return whole(int64(a.Value(i)))
	case *array.Decimal32:
		return whole(int64(a.Value(i)))
	case *array.Decimal64:
		return whole(int64(a.Value(i)))
	case *array.Decimal128:
		return key{number: a.Value(i).BigInt()}
	case *array.Decimal256:
		return key{number: a.Value(i).BigInt()}
	case *array.Float16:
		return key{float: float64(a.Value(i).Float32())}
	case *array.Float32:
		return key{float: float64(a.Value(i))}
	case *array.Float64:
		return key{float: a.Value(i)}
	case *array.String:
		return key{bytes: []byte(a.Value(i))}
	case *array.Binary:
		return key{bytes: a.Value(i)}
	case *array.FixedSizeBinary:
		return key{bytes: a.Value(i)}
	}
	panic(fmt.Sprintf("no key of %T", arr))
}

func compareKeys(a, b key) int {
	switch {
	case a.number != nil:
		return a.number.Cmp(b.number)
	case a.bytes != nil || b.bytes != nil:
		return bytes.Compare(a.bytes, b.bytes)
	case math.IsNaN(a.float) && math.IsNaN(b.float):
		return 0
	case math.IsNaN(a.float):
		return 1
	case math.IsNaN(b.float):
		return -1
	}
	return cmp.Compare(a.float, b.float)
}

var fulfilled = map[string]func(c int) bool{
	"=": func(c int) bool { return c == 0 }, "!=": func(c int) bool { return c != 0 }, "<>": func(c int) bool { return c != 0 },
	"<": func(c int) bool { return c < 0 }, "<=": func(c int) bool { return c <= 0 }, ">": func(c int) bool { return c > 0 },
	">=": func(c int) bool { return c >= 0 },
}

// drawNear appends a value of few different ones, some at the ends of the type's range.
func drawNear(t *rapid.T, b array.Builder) {
	near := rapid.SampledFrom([]int64{0, 0, 1, 1, 2, 3, 4, 5, -1, -1, -2, -3, math.MaxInt64, math.MinInt64}).Draw(t, "near")
	day := func(limit int64) int64 { return ((near%limit + limit) % limit) }
	switch b := b.(type) {
	case *array.Float16Builder:
		b.Append(float16.New(float32(drawFloat(t, 60000))))
	case *array.Float32Builder:
		b.Append(float32(drawFloat(t, math.MaxFloat32)))
	case *array.Float64Builder:
		b.Append(drawFloat(t, math.MaxFloat64))
	case *array.StringBuilder:
		b.Append(drawText(t))
	case *array.BinaryBuilder:
		b.Append(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0xff}), 0, 3).Draw(t, "bytes"))
	case *array.Time32Builder:
		b.Append(arrow.Time32(day(86_400)))
	case *array.Time64Builder:
		b.Append(arrow.Time64(day(86_400_000_000)))
	case *array.TimestampBuilder:
		if b.Type().(*arrow.TimestampType).Unit == arrow.Second {
			near /= 1000
		}
		b.Append(arrow.Timestamp(near))
	case *array.Date32Builder:
		b.Append(arrow.Date32(near))
	case *array.Int64Builder:
		b.Append(near)
	case *array.Uint64Builder:
		b.Append(uint64(near))
	case *array.Int32Builder:
		b.Append(int32(near>>32 | near&7))
	case *array.Uint32Builder:
		b.Append(uint32(near))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromBigInt(nearDecimal(b, near)))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromBigInt(nearDecimal(b, near)))
	default:
		drawValue(t, b, false)
	}
}

func nearDecimal(b array.Builder, near int64) *big.Int {
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(b.Type().(arrow.DecimalType).GetPrecision())), nil)
	if near == math.MaxInt64 {
		return most.Sub(most, big.NewInt(1))
	}
	return new(big.Int).Rem(big.NewInt(near), most)
}

func drawFloat(t *rapid.T, most float64) float64 {
	return rapid.SampledFrom([]float64{
		0, math.Copysign(0, -1), 0.5, -0.5, 1, -1, 2, most, -most, math.Inf(1), math.Inf(-1), math.NaN(), 1.0009765625,
	}).Draw(t, "float")
}

// drawText draws texts that differ early, or only behind what statistics keep.
func drawText(t *rapid.T) string {
	start := rapid.SampledFrom([]string{
		"", "a", strings.Repeat("a", 70), strings.Repeat("a", 63) + "é", strings.Repeat("\U0010ffff", 20), strings.Repeat("x", 60) + "\U0010ffff\U0010ffff",
		strings.Repeat("퟿", 30), strings.Repeat("\x7f", 65), "é", "~",
	}).Draw(t, "start")
	return start + rapid.SampledFrom([]string{"", "", "a", "\x00", "ÿ", "\U0010ffff"}).Draw(t, "end")
}

// literal writes value i of arr as a condition has it, or reports false if there is no way to write it.
func literal(t fataler, arr arrow.Array, i int) (string, bool) {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	switch a := arr.(type) {
	case *array.Dictionary:
		return literal(t, a.Dictionary(), a.GetValueIndex(i))
	case *array.String:
		return quote(a.Value(i)), true
	case *array.Decimal32, *array.Decimal64, *array.Decimal128, *array.Decimal256:
		return arr.ValueStr(i), true
	case *array.Time32:
		return quote(a.ValueStr(i)), true
	case *array.Duration:
		return fmt.Sprint(int64(a.Value(i))), true
	case *array.Timestamp:
		if u := a.DataType().(*arrow.TimestampType); u.Unit == arrow.Second {
			b := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: u.TimeZone})
			b.Append(1000 * a.Value(i))
			return literal(t, b.NewArray(), 0)
		}
	case *array.Date64:
		b := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Millisecond})
		b.Append(arrow.Timestamp(a.Value(i)))
		return literal(t, b.NewArray(), 0)
	}
	one := array.NewSlice(arr, int64(i), int64(i+1))
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arr.DataType(), Nullable: true}}, nil)
	var out bytes.Buffer
	w, err := format.NewWriter(format.CSV, &out, schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(array.NewRecordBatch(schema, []arrow.Array{one}, 1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, s, _ := strings.Cut(strings.TrimSuffix(out.String(), "\n"), "\n")
	id := arr.DataType().ID()
	if bare := id == arrow.BOOL || arrow.IsInteger(id) || arrow.IsDecimal(id) || arrow.IsFloating(id) && strings.ContainsAny(s, "0123456789"); bare {
		return s, true
	}
	return quote(strings.Trim(s, `"`)), true
}

// oracleTerm is a comparison with a column.
type oracleTerm struct {
	column  int
	op      string
	literal key
}

func (o oracleTerm) holds(arr arrow.Array, i int) bool {
	null := arr.IsNull(i) || arr.DataType().ID() == arrow.NULL // whose arrays say of no value that it is null
	switch {
	case o.op == "IS NULL", o.op == "IS NOT NULL":
		return null == (o.op == "IS NULL")
	case null:
		return false
	}
	return fulfilled[o.op](compareKeys(keyOf(arr, i), o.literal))
}

// TestWhereAgainstBruteForce reads tables of all types under random conditions: exactly the rows that fulfil them come, in order.
func TestWhereAgainstBruteForce(t *testing.T) {
	store := columnar.NewMemStore()
	rapid.Check(t, func(t *rapid.T) {
		fields := []arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int32}}
		for i := range rapid.IntRange(1, 2).Draw(t, "columns") {
			typ := rapid.SampledFrom(flatTypes).Draw(t, "type")
			if rapid.IntRange(0, 4).Draw(t, "any") == 0 {
				typ = drawType(t, 1)
			}
			fields = append(fields, arrow.Field{Name: fmt.Sprintf("c %d", i), Type: typ, Nullable: typ.ID() == arrow.NULL || rapid.Bool().Draw(t, "nullable")})
		}
		schema := arrow.NewSchema(fields, nil)
		rows := rapid.IntRange(1, 24).Draw(t, "rows")
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		wild := rapid.Bool().Draw(t, "wild") // else few values, often the same
		for row := range rows {
			b.Field(0).(*array.Int32Builder).Append(int32(row))
			for i, f := range fields[1:] {
				switch {
				case f.Nullable && rapid.IntRange(0, 3).Draw(t, "null") == 0:
					b.Field(i + 1).AppendNull()
				case !slices.Contains(flatTypes, f.Type) || wild && f.Type.ID() != arrow.TIME64:
					drawValue(t, b.Field(i+1), false)
				default:
					drawNear(t, b.Field(i+1))
				}
			}
		}
		batch := b.NewRecordBatch()
		w := newWorld(t, store, schema)
		w.options = func(o *columnar.WriterOptions) {
			o.RowGroupBytes = rapid.SampledFrom([]int64{1, 64, 256, 1 << 20}).Draw(t, "row group")
		}
		w.mustPut(batch)
		var texts []string
		var terms []oracleTerm
		for range rapid.IntRange(1, 3).Draw(t, "terms") {
			text, term := drawTerm(t, batch)
			texts, terms = append(texts, text), append(terms, term)
		}
		checkWhere(t, w, batch, strings.Join(texts, " AND "), terms)
	})
}

func drawTerm(t *rapid.T, batch arrow.RecordBatch) (string, oracleTerm) {
	c := rapid.IntRange(0, int(batch.NumCols())-1).Draw(t, "column")
	name, arr := fmt.Sprintf("%q", batch.ColumnName(c)), batch.Column(c)
	null := oracleTerm{column: c, op: rapid.SampledFrom([]string{"IS NULL", "IS NOT NULL"}).Draw(t, "nullness")}
	ordered := !arrow.IsNested(arr.DataType().ID()) && arr.DataType().ID() != arrow.NULL || arr.DataType().ID() == arrow.DICTIONARY
	if !ordered || rapid.IntRange(0, 5).Draw(t, "null op") == 0 {
		return name + " " + null.op, null
	}
	i := rapid.IntRange(0, arr.Len()-1).Draw(t, "literal of row")
	if arr.IsNull(i) {
		return name + " " + null.op, null
	}
	lit, ok := literal(t, arr, i)
	if !ok {
		return name + " " + null.op, null
	}
	term := oracleTerm{column: c, op: rapid.SampledFrom([]string{"=", "!=", "<>", "<", "<=", ">", ">="}).Draw(t, "op"), literal: keyOf(arr, i)}
	return name + " " + term.op + " " + lit, term
}

func checkWhere(t *rapid.T, w *world, batch arrow.RecordBatch, text string, terms []oracleTerm) {
	where, err := columnar.ParseWhere(text)
	if err == nil {
		err = where.Check(w.schema)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var want []int
	for i := range int(batch.NumRows()) {
		if !slices.ContainsFunc(terms, func(o oracleTerm) bool { return !o.holds(batch.Column(o.column), i) }) {
			want = append(want, i)
		}
	}
	o := columnar.ReadOptions{Where: where, Limit: int64(rapid.IntRange(0, 5).Draw(t, "limit"))}
	if o.Limit > 0 {
		want = want[:min(len(want), int(o.Limit))]
	}
	var shown []int
	for i := range w.columns {
		if rapid.Bool().Draw(t, "shown") || i == len(w.columns)-1 && shown == nil {
			shown, o.Columns = append(shown, i), append(o.Columns, w.columns[i])
		}
	}
	got, err := w.get(o)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for at, column := range shown {
		all, g := values([]arrow.RecordBatch{batch}, column), values(got, at)
		var expect []string
		for _, i := range want {
			expect = append(expect, all[i])
		}
		if !slices.Equal(g, expect) {
			t.Fatalf("%s limit %d: column %s %s: %v, want %v, of %v", text, o.Limit, w.schema.Field(column).Name, w.schema.Field(column).Type, g, expect, all)
		}
	}
}
