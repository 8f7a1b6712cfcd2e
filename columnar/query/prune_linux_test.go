package query_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"

	"coldframe/columnar/query"
)

// prunable is a table of all types that conditions are told of, and some that they are not, nullable and not.
func prunable() *arrow.Schema {
	var fields []arrow.Field
	for _, t := range []struct {
		name string
		typ  arrow.DataType
	}{
		{"i8", arrow.PrimitiveTypes.Int8},
		{"i16", arrow.PrimitiveTypes.Int16},
		{"i32", arrow.PrimitiveTypes.Int32},
		{"i64", arrow.PrimitiveTypes.Int64},
		{"u8", arrow.PrimitiveTypes.Uint8},
		{"u16", arrow.PrimitiveTypes.Uint16},
		{"u32", arrow.PrimitiveTypes.Uint32},
		{"u64", arrow.PrimitiveTypes.Uint64},
		{"f16", arrow.FixedWidthTypes.Float16},
		{"f32", arrow.PrimitiveTypes.Float32},
		{"f64", arrow.PrimitiveTypes.Float64},
		{"flag", arrow.FixedWidthTypes.Boolean},
		{"text", arrow.BinaryTypes.String},
		{"long", arrow.BinaryTypes.String}, // longer than a bound
		{"deep", arrow.BinaryTypes.String}, // longer than what DuckDB looks at of a bound
		{"dict", &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}},
		{"bytes", arrow.BinaryTypes.Binary},
		{"fixed", &arrow.FixedSizeBinaryType{ByteWidth: 3}},
		{"day", arrow.FixedWidthTypes.Date32},
		{"day64", arrow.FixedWidthTypes.Date64},
		{"t32", arrow.FixedWidthTypes.Time32ms},
		{"tus", arrow.FixedWidthTypes.Time64us},
		{"tns", arrow.FixedWidthTypes.Time64ns},
		{"ts", &arrow.TimestampType{Unit: arrow.Second}},
		{"tms", &arrow.TimestampType{Unit: arrow.Millisecond}},
		{"tsus", &arrow.TimestampType{Unit: arrow.Microsecond}},
		{"tsns", &arrow.TimestampType{Unit: arrow.Nanosecond}},
		{"tz", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "Europe/Berlin"}},
		{"tzns", &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}},
		{"took", arrow.FixedWidthTypes.Duration_ms},
		{"d9", &arrow.Decimal128Type{Precision: 9, Scale: 2}},
		{"d18", &arrow.Decimal128Type{Precision: 18, Scale: 4}},
		{"d38", &arrow.Decimal128Type{Precision: 38, Scale: 2}},
		{"list", arrow.ListOf(arrow.PrimitiveTypes.Int32)},
		{"pair", arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int32, Nullable: true})},
	} {
		fields = append(fields, arrow.Field{Name: t.name, Type: t.typ, Nullable: true}, arrow.Field{Name: t.name + "_", Type: t.typ})
	}
	return arrow.NewSchema(fields, nil)
}

// sample returns value n of a type as SQL, and as text for its builder. Values rise with n, which is from 0 to 199.
func sample(t arrow.DataType, name string, n int) (sql, text string) {
	quoted := func(typ, text string) (string, string) {
		return typ + " '" + text + "'", strings.Replace(text, " ", "T", 1)
	}
	switch t := t.(type) {
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type:
		return fmt.Sprint(n - 100), fmt.Sprint(n - 100)
	case *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type:
		return fmt.Sprint(n), fmt.Sprint(n)
	case *arrow.Uint64Type:
		v := uint64(n) * (math.MaxUint64 / 199)
		return fmt.Sprint(v), fmt.Sprint(v)
	case *arrow.Float16Type, *arrow.Float32Type, *arrow.Float64Type:
		switch n {
		case 0:
			return "'-inf'::DOUBLE", "-Inf"
		case 198:
			return "'inf'::DOUBLE", "+Inf"
		case 199:
			return "'nan'::DOUBLE", "NaN"
		}
		return fmt.Sprint(float64(n-100) / 4), fmt.Sprint(float64(n-100) / 4)
	case *arrow.BooleanType:
		return fmt.Sprint(n > 100), fmt.Sprint(n > 100)
	case *arrow.StringType, *arrow.DictionaryType:
		s := fmt.Sprintf("%c%03d", 'a'+n/8, n)
		if n == 150 {
			s = "" + string(rune(0x10ffff)) // the end of all characters
		}
		if strings.HasPrefix(name, "long") {
			s = strings.Repeat("œ", 60) + s
		}
		if strings.HasPrefix(name, "deep") {
			s = "œœœœœœœœ" + s
		}
		return "'" + s + "'", s
	case *arrow.BinaryType, *arrow.FixedSizeBinaryType:
		return fmt.Sprintf(`'\x%02X\x00\xFF'::BLOB`, n), string([]byte{byte(n), 0, 0xff})
	case *arrow.Date32Type, *arrow.Date64Type:
		d := fmt.Sprintf("%04d-03-01", 1900+n)
		return "DATE '" + d + "'", d
	case *arrow.Time32Type, *arrow.Time64Type:
		return quoted("TIME", fmt.Sprintf("%02d:00:%02d.%03d", n/10, n%60, n))
	case *arrow.TimestampType:
		d := fmt.Sprintf("%04d-03-01 12:34:%02d", 1900+n, n%60)
		if t.TimeZone != "" {
			return "TIMESTAMPTZ '" + d + "+00'", strings.Replace(d, " ", "T", 1) + "Z"
		}
		return quoted("TIMESTAMP", d)
	case *arrow.DurationType:
		return fmt.Sprint(n - 100), fmt.Sprintf("%dms", n-100)
	case arrow.DecimalType:
		v := fmt.Sprintf("%.2f", float64(n-100)*1.25)
		return v, v
	case *arrow.ListType:
		return fmt.Sprintf("[%d]", n), fmt.Sprintf("[%d]", n)
	}
	return fmt.Sprintf("{'a': %d}", n), fmt.Sprintf(`{"a":%d}`, n)
}

// group returns rows whose values lie close together, with some nulls: none, some, or nothing else.
func group(t *rapid.T, schema *arrow.Schema) arrow.RecordBatch {
	rows := rapid.IntRange(1, 30).Draw(t, "rows")
	columns := make([]arrow.Array, schema.NumFields())
	for i, f := range schema.Fields() {
		from, width := rapid.IntRange(0, 199).Draw(t, "from"), rapid.SampledFrom([]int{1, 3, 200}).Draw(t, "width")
		nulls := rapid.SampledFrom([]int{0, 0, 3, 1}).Draw(t, "nulls") // 3: each third; 1: all
		b := array.NewBuilder(memory.DefaultAllocator, f.Type)
		for row := range rows {
			_, text := sample(f.Type, f.Name, min(from+(row*7)%width, 199))
			switch b := b.(type) {
			case *array.BinaryBuilder:
				b.AppendString(text)
				continue
			case *array.FixedSizeBinaryBuilder:
				b.Append([]byte(text))
				continue
			}
			if f.Nullable && nulls > 0 && row%nulls == 0 {
				b.AppendNull()
			} else if err := b.AppendValueFromString(text); err != nil {
				t.Fatalf("%s of %s: %v", text, f.Type, err)
			}
		}
		columns[i] = b.NewArray()
	}
	return array.NewRecordBatch(schema, columns, int64(rows))
}

// predicate draws a condition on a row, of columns and literals, in many ways to write it. a is the name of the table.
func predicate(t *rapid.T, schema *arrow.Schema, depth int) string {
	f := schema.Field(rapid.IntRange(0, schema.NumFields()-1).Draw(t, "column"))
	c := `a."` + f.Name + `"`
	literal := func() string {
		sql, _ := sample(f.Type, f.Name, rapid.IntRange(0, 199).Draw(t, "literal"))
		return sql
	}
	op := rapid.SampledFrom([]string{"=", "<>", "<", "<=", ">", ">=", "IS NOT DISTINCT FROM", "IS DISTINCT FROM"}).Draw(t, "op")
	shape := rapid.IntRange(0, 12).Draw(t, "shape")
	switch {
	case shape == 0:
		return c + " IS NULL"
	case shape == 1:
		return c + " IS NOT NULL"
	case shape == 2 && !arrow.IsNested(f.Type.ID()): // DuckDB has no BETWEEN for those
		return c + " BETWEEN " + literal() + " AND " + literal()
	case shape == 3:
		return c + " IN (" + literal() + ", " + literal() + ", " + literal() + ")"
	case shape == 4:
		return c + " NOT IN (" + literal() + ", " + literal() + ")"
	case shape == 5 && depth > 0:
		return "(" + predicate(t, schema, depth-1) + " OR " + predicate(t, schema, depth-1) + ")"
	case shape == 6:
		return "(" + c + " = " + literal() + " OR " + c + " > " + literal() + " AND " + c + " < " + literal() + ")"
	case shape == 7:
		return "NOT (" + c + " " + op + " " + literal() + ")"
	case shape == 8:
		return literal() + " " + op + " " + c
	case shape == 9 && f.Type.ID() == arrow.BOOL:
		return rapid.SampledFrom([]string{c, "NOT " + c, c + " IS TRUE"}).Draw(t, "boolean")
	case shape == 9 && f.Type.ID() == arrow.STRING:
		return c + rapid.SampledFrom([]string{" LIKE 'c%'", " COLLATE NOCASE = 'C020'", " ILIKE 'C02%'", " >= ''"}).Draw(t, "text")
	case shape == 10 && arrow.IsInteger(f.Type.ID()):
		return c + " " + op + " 20.5"
	case shape == 11:
		return "(" + c + " IS NULL OR " + c + " " + op + " " + literal() + ")"
	}
	return c + " " + op + " " + literal()
}

// Whatever the condition, a statement gives the same whether row groups are left out or not.
func TestPruningChangesNothing(t *testing.T) {
	o, schema := options(t), prunable()
	pruned, all := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorldOf(t, schema)
		for range rapid.IntRange(1, 4).Draw(rt, "groups") {
			w.write(group(rt, schema))
		}
		where := predicate(rt, schema, 2)
		for range rapid.IntRange(0, 2).Draw(rt, "more") {
			where += " AND " + predicate(rt, schema, 1)
		}
		sql := fmt.Sprintf(rapid.SampledFrom([]string{
			`SELECT a.* FROM mixed a WHERE %s`,
			`SELECT (SELECT count(*) FROM mixed), (SELECT max(i64_) FROM mixed), count(*), count(text), sum(i32_), min(long_), count(list_), list(i8_ ORDER BY i8_) FROM mixed a WHERE %s`,
			`WITH t AS (SELECT * FROM mixed) SELECT (SELECT count(*) FROM t), count(*), max(day_) FROM t a WHERE %s`,
			`SELECT a.i32, b.i32_ FROM mixed a JOIN mixed b ON a.u8_ = b.u8_ AND b.i16_ > 20 WHERE %s`,
			`SELECT a.i32_, b.c FROM mixed a, (SELECT count(*) AS c FROM mixed) b WHERE %s`,
		}).Draw(rt, "statement"), where)
		run := func() (string, int64) {
			var got []arrow.RecordBatch
			n := w.counted(func() (err error) {
				if got, err = w.run(context.Background(), o, sql); err != nil {
					rt.Fatalf("%s: %v", sql, err)
				}
				return nil
			})
			rows := strings.Split(cells(got), ";")
			slices.Sort(rows)
			return strings.Join(rows, ";"), n
		}
		got, less := run()
		defer query.SetMaxComparisons(0)()
		want, whole := run()
		if got != want {
			rt.Fatalf("%s\n%s\nwithout pruning\n%s", sql, got, want)
		}
		all++
		if less < whole {
			pruned++
		}
	})
	if t.Logf("%d of %d statements fetched less", pruned, all); pruned*10 < all {
		t.Error("next to nothing was pruned")
	}
}

// DuckDB reads what stands in for the chunks of every type, where it does not see by itself that a row group has no wanted rows: it looks at
// the first bytes of a string only, and at alternatives after it has read all columns.
func TestStandIns(t *testing.T) {
	schema := prunable()
	w, o := newWorldOf(t, schema), options(t)
	rapid.Check(t, func(rt *rapid.T) {
		if w.head == nil {
			for range 20 {
				w.write(group(rt, schema))
			}
		}
	})
	where := `deep_ = 'œœœœœœœœm5' OR deep_ = 'œœœœœœœœn'`
	all, none := w.fetched(o, `SELECT * FROM mixed`), w.fetched(o, `SELECT count(*) FROM mixed`)
	if n := w.fetched(o, `SELECT * FROM mixed WHERE `+where); (n-none)*2 > all-none {
		t.Errorf("%d bytes of %d", n, all)
	}
	got, err := w.run(t.Context(), o, `SELECT * FROM mixed WHERE `+where)
	if err != nil || cells(got) != "" {
		t.Errorf("%s, %v", cells(got), err)
	}
}

// Of row groups that cannot have rows for which the filters of a statement are true nothing is fetched.
func TestFetchedBytes(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(60_000)
	w.add(60_000)
	all, none := w.fetched(o, `SELECT * FROM mixed`), w.fetched(o, `SELECT count(*) FROM mixed`)
	for where, least := range map[string]int64{ // the share of the whole that is not fetched
		`id = 70000`:                                        12,
		`id IN (70000, 70001, 70005)`:                       12,
		`id BETWEEN 70000 AND 70005 AND price >= 0`:         12,
		`70000 > id AND id >= 69990`:                        6,
		`id = 5 OR id = 7 OR id > 119990`:                   6,
		`time < TIMESTAMP '2023-11-14 22:20:00'`:            12,
		`"time" < '2023-11-14 22:20:00' AND note LIKE 'a%'`: 12,
		`id > 119000 AND length(token) = 16`:                12,
		`id < 0`:                                            100,
		`id <> 5`:                                           1,
		`id % 7 = 0`:                                        1,
		`id::VARCHAR = '70000'`:                             1,
		`id = 70000 OR price < 5`:                           1,
	} {
		n := w.fetched(o, `SELECT * FROM mixed WHERE `+where) - none
		if n*least > all {
			t.Errorf("%s: %d bytes of %d", where, n, all)
		}
		if least == 1 && n < (all-none)*99/100 {
			t.Errorf("%s: only %d bytes of %d", where, n, all)
		}
	}
	// The row groups of one scan are needed, even if another of the same table has a filter.
	if n := w.fetched(o, `SELECT count(*) FROM mixed a JOIN mixed b USING (id) WHERE b.price > 5`); n*12 < all {
		t.Errorf("%d bytes of %d", n, all)
	}
}
