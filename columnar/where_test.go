package columnar_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

func TestWhereSyntax(t *testing.T) {
	for in, want := range map[string]string{
		"a=1": `"a" = 1`, " a  <>\n-1.5e3 ": `"a" != -1.5e3`, "a >= 'it''s' and B is not null": `"a" >= 'it''s' AND "B" IS NOT NULL`,
		`"say ""hi""" != TRUE AND ü<.5`: `"say ""hi""" != TRUE AND "ü" < .5`, "_1 Is Null AND _1 <= ''": `"_1" IS NULL AND "_1" <= ''`,
		`"and" > +7.`: `"and" > +7.`, "x = false": `"x" = false`,
	} {
		w, err := columnar.ParseWhere(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got := columnar.WhereText(w); got != want {
			t.Errorf("%s: read as %s, want %s", in, got, want)
		}
	}
}

func TestWhereSyntaxErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                "position 1: the name of a column",
		"  ":              "position 3: the name of a column",
		"1 = a":           "position 1: the name of a column",
		"a":               "position 2: one of =",
		"a == 1":          "position 3: one of =",
		"a LIKE 'x'":      "position 3: one of =",
		"ü ~ 1":           "position 3: this character belongs to nothing",
		"a =":             "position 4: a number",
		"a = b":           "position 5: a number",
		`a = "b"`:         "position 5: a number",
		"a = NULL":        "position 5: nothing compares with NULL",
		"a = 'x":          "position 5: a quote that does not end",
		`"a = 1`:          "position 1: a quote that does not end",
		"a = 12abc":       "position 5: not a number",
		"a = 1.2.3":       "position 5: not a number",
		"a = -":           "position 5: not a number",
		"a = 1 OR b = 2":  "position 7: AND or the end",
		"a = 1 AND":       "position 10: the name of a column",
		"a = 1,b = 2":     "position 6: this character",
		"(a = 1)":         "position 1: this character",
		"a IS 1":          "position 6: NULL",
		"a IS NOT 1":      "position 10: NULL",
		"a IN (1)":        "position 3: one of =",
		"not = 1":         "position 1: the name of a column",
		"a = 1 AND true=": "position 11: the name of a column",
		"é = 'ü' ;":       "position 9: this character",
	} {
		_, err := columnar.ParseWhere(in)
		if !errors.Is(err, fault.InvalidRequest) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
	for in, code := range map[string]fault.Code{
		"a = '" + strings.Repeat("x", columnar.MaxWhere) + "'": fault.TooLarge, strings.Repeat("a=1 and ", 100) + "a=1": fault.TooLarge,
		"a = '\xff'": fault.InvalidRequest,
	} {
		if _, err := columnar.ParseWhere(in); !errors.Is(err, code) {
			t.Errorf("%.20q: %v, want %s", in, err, code)
		}
	}
}

// Literals fit the type of their column exactly, or the error names the column.
func TestWhereLiterals(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "tiny", Type: arrow.PrimitiveTypes.Int8},
		{Name: "big", Type: arrow.PrimitiveTypes.Uint64},
		{Name: "price", Type: &arrow.Decimal128Type{Precision: 6, Scale: 2}},
		{Name: "small price", Type: &arrow.Decimal32Type{Precision: 4, Scale: 1}},
		{Name: "f", Type: arrow.PrimitiveTypes.Float32},
		{Name: "s", Type: arrow.BinaryTypes.String},
		{Name: "b", Type: arrow.FixedWidthTypes.Boolean},
		{Name: "bin", Type: arrow.BinaryTypes.Binary},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32},
		{Name: "t", Type: arrow.FixedWidthTypes.Time32s},
		{Name: "utc", Type: arrow.FixedWidthTypes.Timestamp_ms},
		{Name: "zoned", Type: &arrow.TimestampType{Unit: arrow.Second, TimeZone: "Europe/Paris"}},
		{Name: "local", Type: &arrow.TimestampType{Unit: arrow.Microsecond}},
		{Name: "took", Type: arrow.FixedWidthTypes.Duration_ms},
		{Name: "city", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int8)},
		{Name: "nothing", Type: arrow.Null},
		{Name: "wide", Type: &arrow.Decimal256Type{Precision: 20, Scale: 1}},
		{Name: "half", Type: arrow.FixedWidthTypes.Float16},
		{Name: "id", Type: &arrow.FixedSizeBinaryType{ByteWidth: 2}},
		{Name: "then", Type: arrow.FixedWidthTypes.Date64},
		{Name: "ns", Type: arrow.FixedWidthTypes.Time64ns},
	}, nil)
	fits := []string{
		"tiny = -128", "tiny < 127", "big = 18446744073709551615", "price = 1.5", "price = -9999.99", "price = 1.50", `"small price" = 999.9`, "f > 0.1", "f = 'NaN'", "f < '-Infinity'",
		"f = 16777217", "s = 'x'", "s >= ''", "b = TRUE", "b < false", "bin = 'AP8='", "day = '2024-02-29'", "t = '23:59:59'", "utc = '2024-01-01T00:00:00.001Z'",
		"utc = '2024-01-01 00:00:00'", "zoned < '2024-01-01T00:00:00+02:00'", "local = '2024-01-01T00:00:00.000001'", "took > 5", "city = 'x'",
		"list IS NULL", "nothing IS NOT NULL",
	}
	for _, in := range fits {
		w, err := columnar.ParseWhere(in)
		if err == nil {
			err = w.Check(schema)
		}
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
	refused := []string{
		"tiny = 128", "tiny = 1.5", "tiny = '1'", "tiny = TRUE", "tiny = 1e2", "big = -1", "big = 18446744073709551616", "price = 1.555", "price = 10000", "price = 'x'",
		`"small price" = 0.01`, "f = 1e39", "f = 'x'", "f = TRUE", "s = 1", "s = TRUE", "b = 1", "b = 'true'", "bin = 'x'", "day = '2023-02-29'", "day = 20240101",
		"day = '2024-01-01T00:00:00'", "t = '24:00:01'", "t = '00:00:00.5'", "utc = '2024-01-01T00:00:00.0001Z'", "utc = '2024-01-01'", "zoned = '2024-01-01T00:00:00'",
		"zoned = '2024-01-01T00:00:00.5Z'", "local = '2024-01-01T00:00:00Z'", "took > 0.5", "city = 1", "list = 1", "list = 'x'", "wide = 0.01", "half = 1e6", "id = 'AAAA'", "then = '2024-01-01T00:00:00Z'", "ns = 1", "nothing = 1",
	}
	for _, in := range refused {
		w, err := columnar.ParseWhere(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		column := strings.Trim(strings.Fields(in)[0], `"`)
		if err := w.Check(schema); !errors.Is(err, fault.InvalidRequest) || !strings.Contains(err.Error(), `column "`+column) {
			t.Errorf("%s: %v", in, err)
		}
	}
	for _, in := range []string{"Tiny = 1", "x IS NULL", `"" = 1`} {
		if w, err := columnar.ParseWhere(in); err != nil || !errors.Is(w.Check(schema), fault.InvalidRequest) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// Whatever is taken is written back and taken again as the same.
func FuzzWhere(f *testing.F) {
	for _, s := range []string{
		"a=1", `"say ""hi""" != TRUE AND ü<.5`, "a >= 'it''s' and B is not null", "x <> -1.5e+30", "a = 'x", "a == 1", "a IS NOT", "\xff", "a=1 and a=2 and a=3", "a = 1e", "a = +.",
	} {
		f.Add(s)
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: &arrow.Decimal128Type{Precision: 20, Scale: 3}},
		{Name: "x", Type: arrow.PrimitiveTypes.Float64},
		{Name: "B", Type: arrow.FixedWidthTypes.Timestamp_ns},
	}, nil)
	f.Fuzz(func(t *testing.T, s string) {
		w, err := columnar.ParseWhere(s)
		if err != nil {
			if code := fault.CodeOf(err); code != fault.InvalidRequest && code != fault.TooLarge {
				t.Fatal(err)
			}
			return
		}
		if err := w.Check(schema); err != nil && !errors.Is(err, fault.InvalidRequest) {
			t.Fatal(err)
		}
		text := columnar.WhereText(w)
		again, err := columnar.ParseWhere(text)
		if err != nil && !errors.Is(err, fault.TooLarge) {
			t.Fatalf("%q, read as %q: %v", s, text, err)
		}
		if got := columnar.WhereText(again); err == nil && got != text {
			t.Fatalf("%q, then %q", text, got)
		}
	})
}
