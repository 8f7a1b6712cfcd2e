package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
)

// Each body is wrong, and the answer says where.
func TestWrongText(t *testing.T) {
	for _, c := range []struct {
		kind         Kind
		body, schema string
		code         fault.Code
		detail       string
	}{
		{CSV, "", "", fault.InvalidRequest, "the body is empty: not even a header"},
		{CSV, "a,b\n1,2\n3\n", "", fault.InvalidRequest, "row 2 (line 3) has 1 fields where the table has 2 columns"},
		{CSV, "a,b\n\"x\ny\",2\n3,4,5\n", "", fault.InvalidRequest, "row 2 (line 4) has 3 fields where the table has 2 columns"},
		{CSV, "a,b\n1,2\n\n3,x\n", "b int8", fault.InvalidRequest, `row 2 (line 4), column "b": not a value of type int8`},
		{CSV, "a\n128\n", "a int8", fault.InvalidRequest, `row 1 (line 2), column "a": not a value of type int8`},
		{CSV, "a\n\"\n", "", fault.InvalidRequest, `row 1 (line 2), field 1: the closing quote is missing`},
		{CSV, "a\n\"x\"y\n", "", fault.InvalidRequest, `row 1 (line 2), field 1: text after the closing quote`},
		{CSV, "a,\n1,2\n", "", fault.InvalidRequest, "column 2 of the table has no name"},
		{CSV, "a,a\n1,2\n", "", fault.InvalidRequest, `column "a" occurs twice`},
		{CSV, "a\n\xff\n", "", fault.InvalidRequest, `row 1 (line 2), column "a": not a value of type string`},
		{CSV, "a\n1\n", "b int8", fault.InvalidRequest, "the schema names a column that the header does not have; the header has 1 columns"},
		{CSV, "a\n1.005\n", "a decimal(5,2)", fault.InvalidRequest, `row 1 (line 2), column "a": not a value of type decimal(5,2)`},
		{CSV, "a\n,\n", "a int8 not null", fault.InvalidRequest, "row 1 (line 2) has 2 fields where the table has 1 columns"},
		{CSV, "a,b\n,1\n", "a int8 not null", fault.InvalidRequest, `row 1 (line 2), column "a": null in a column that is declared not null`},
		{CSV, "a\n\"[1,x]\"\n", "a list<int8>", fault.InvalidRequest, `row 1 (line 2), column "a", field "[1]": not JSON: expected a value at byte 4`},
		{CSV, "a\n2024-02-30\n", "a date", fault.InvalidRequest, `row 1 (line 2), column "a": not a value of type date`},
		{CSV, "a\n2024-01-01T00:00:00\n", "a timestamp[us, Europe/Zurich]", fault.InvalidRequest, `row 1 (line 2), column "a": not a value of type timestamp[us, Europe/Zurich]`},
		{CSV, "\xff\xfea\x00\n", "", fault.InvalidRequest, "the body is UTF-16; send UTF-8"},
		{CSV, "a\n\"" + strings.Repeat("x", 3*maxRowBytes), "", fault.TooLarge, "row 1 (line 2) is larger than 15728640 bytes"},
		{NDJSON, "", "", fault.InvalidRequest, "the body has no fields"},
		{NDJSON, "{\"a\":1}\n[1]\n", "", fault.InvalidRequest, "line 2: not a JSON object"},
		{NDJSON, "{\"a\":1}\n\n{\"a\":\"x\"}\n", "", fault.InvalidRequest, `line 3, field "a": values of different kinds in one column`},
		{NDJSON, `{"a":{"b":[1,{"c":"x"}]}}`, "", fault.InvalidRequest, `line 1, field "a.b[1]": values of different kinds in one column`},
		{NDJSON, `{"a":{"b":[{"c":1},{"c":"x"}]}}`, "a struct<b list<struct<c int8>>>", fault.InvalidRequest, `line 1, field "a.b[1].c": not a value of type int8`},
		{NDJSON, `{"a":1,"a":2}`, "", fault.InvalidRequest, `line 1, field "a": the field occurs twice`},
		{NDJSON, `{"a":1,"a":2}`, "a int8", fault.InvalidRequest, `line 1, field "a": the field occurs twice`},
		{NDJSON, `{"a":{"x":1}}`, "a struct<y int8>", fault.InvalidRequest, `line 1, field "a.x": the schema has no such field`},
		{NDJSON, `{"a":1.0}`, "a int64", fault.InvalidRequest, `line 1, field "a": not a value of type int64`},
		{NDJSON, `{"a":9223372036854775808}`, "a int64", fault.InvalidRequest, `line 1, field "a": not a value of type int64`},
		{NDJSON, `{"b":1}`, "a int64 not null, b int64", fault.InvalidRequest, `line 1, field "a": missing in a column that is declared not null`},
		{NDJSON, `{"a":01}`, "", fault.InvalidRequest, `line 1, field "a": not JSON: expected a value at byte 6`},
		{NDJSON, `{"a":"\ud800"}`, "", fault.InvalidRequest, `line 1, field "a": not JSON: a wrong escape in a string`},
		{NDJSON, `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "", fault.TooLarge, "nested more than 64 levels deep"},
		{NDJSON, `{"a":"` + strings.Repeat("x", 3*maxRowBytes), "", fault.TooLarge, "line 1 is larger than 15728640 bytes"},
		{NDJSON, `{"a":[` + strings.Repeat("9007199254740993,", 3) + "1.5]}", "", fault.InvalidRequest, "no number type holds all values exactly; declare one with schema"},
	} {
		o := ReadOptions{}
		if c.schema != "" {
			o.Schema = mustSchema(t, c.schema)
		}
		_, _, err := tryRead(c.kind, strings.NewReader(c.body), o)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok {
			t.Errorf("%.60q: %v", c.body, err)
			continue
		}
		if f.Code != c.code || !strings.HasSuffix(f.Detail, c.detail) {
			t.Errorf("%.60q: %s: %s, want %s: %s", c.body, f.Code, f.Detail, c.code, c.detail)
		}
	}
}

// A value after the sample that does not fit names its row, and what to do.
func TestMisfitAfterTheSample(t *testing.T) {
	body := "a\n" + strings.Repeat("1\n", sampleRows) + "x\n"
	_, _, err := tryRead(CSV, strings.NewReader(body), ReadOptions{})
	want := `row 65537 (line 65538), column "a": not a value of type int64 (the type was inferred from the first 65536 rows; the schema parameter sets another)`
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Detail != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What each column of CSV is taken for.
func TestInference(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{"true|False|TRUE", "bool"},
		{"1|-9223372036854775808|9223372036854775807", "int64"},
		{"1|9223372036854775808", "decimal(38,0)"},
		{strings.Repeat("9", 38), "decimal(38,0)"},
		{strings.Repeat("9", 39), "string"},
		{"1|1.5|-0|1e5|.5|5.", "float64"},
		{"1.5|NaN|-inf", "float64"},
		{"NaN|inf", "string"},
		{"9007199254740993|1.5", "string"},
		{"1e999", "string"},
		{"007", "string"},
		{"+1", "string"},
		{"0x10", "string"},
		{"1_000", "string"},
		{" 1", "string"},
		{"2024-02-29|0001-01-01", "date"},
		{"2023-02-29", "string"},
		{"2024-01-01T00:00:00|2024-01-01 00:00", "timestamp[us]"},
		{"2024-01-01T00:00:00.123456789", "timestamp[ns]"},
		{"0001-01-01T00:00:00.123456789", "string"},
		{"2024-01-01T00:00:00Z|2024-01-01 00:00:00+01:00", "timestamp[us, UTC]"},
		{"2024-01-01T00:00:00Z|2024-01-01T00:00:00", "string"},
		{"2024-01-01|2024-01-01T00:00:00", "string"},
		{"12:30", "string"},
		{"", "string"},
		{"1||2", "int64"},
		{"a|1", "string"},
	} {
		body := "a,b\n"
		for v := range strings.SplitSeq(c.values, "|") {
			body += v + ",x\n"
		}
		schema, _ := readAll(t, CSV, []byte(body), ReadOptions{})
		if got := FormatType(schema.Field(0).Type); got != c.want {
			t.Errorf("%s: %s, want %s", c.values, got, c.want)
		}
	}
	for _, c := range []struct{ values, want string }{
		{`1|2`, "int64"},
		{`1.0`, "float64"},
		{`1|1.5|null|"NaN"`, "float64"},
		{`"NaN"`, "string"},
		{`"1"`, "string"},
		{`9223372036854775808`, "decimal(38,0)"},
		{`null`, "string"},
		{`[]|[1]|[null]`, "list<int64>"},
		{`[]`, "list<string>"},
		{`{}`, "map<string, string>"},
		{`{"x":1}|{"y":[{"z":true}]}|null`, "struct<x int64, y list<struct<z bool>>>"},
	} {
		body := ""
		for v := range strings.SplitSeq(c.values, "|") {
			body += `{"a":` + v + "}\n"
		}
		schema, _ := readAll(t, NDJSON, []byte(body), ReadOptions{})
		if got := FormatType(schema.Field(0).Type); got != c.want {
			t.Errorf("%s: %s, want %s", c.values, got, c.want)
		}
	}
}

// "" and nothing differ, with every line ending, delimiter, quote and null text.
func TestCSVDialects(t *testing.T) {
	for _, c := range []struct {
		body string
		o    CSVOptions
		want string
	}{
		{"a,b\n,\"\"\n", CSVOptions{}, "null | \"\" | "},
		{"\xef\xbb\xbfa,b\r\n,\"\"\r\n", CSVOptions{}, "null | \"\" | "},
		{"a;b\n'x;''y';\"", CSVOptions{Delimiter: ';', Quote: '\''}, `"x;'y" | "\"" | `},
		{"a\tb\nNA\t\n", CSVOptions{Delimiter: '\t', Null: "NA"}, `null | null | `},
		{"x,y", CSVOptions{NoHeader: true}, `"x" | "y" | `},
		{"a,b\n5\" disk,\"l1\r\nl2\"", CSVOptions{}, `"5\" disk" | "l1\r\nl2" | `},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.body), iotest.OneByteReader(strings.NewReader(c.body))} {
			_, b, err := tryRead(CSV, r, ReadOptions{CSV: c.o})
			if err != nil {
				t.Errorf("%q: %v", c.body, err)
				continue
			}
			got := strings.Join(rowsOf(b), "/")
			if c.o.Null == "NA" {
				got = strings.Replace(got, `""`, "null", 1)
			}
			if got != c.want {
				t.Errorf("%q: %s, want %s", c.body, got, c.want)
			}
		}
	}
}

// A stream that is cut anywhere is an error, never a shorter table.
func TestCutAnywhere(t *testing.T) {
	for _, name := range []string{"pyarrow-batches.arrows", "pyarrow-all-zstd.arrows", "polars.feather", "pyarrow-v2.parquet"} {
		k, body := Arrow, fixture(t, name)
		if strings.HasSuffix(name, "parquet") {
			k = Parquet
		}
		for n := 0; n < len(body); n += 1 + len(body)/700 {
			_, _, err := tryRead(k, bytes.NewReader(body[:n]), ReadOptions{})
			if c := fault.CodeOf(err); err == nil || c != fault.Incomplete && c != fault.InvalidRequest {
				t.Fatalf("%s cut at %d: %v", name, n, err)
			}
		}
		_, _, err := tryRead(k, bytes.NewReader(append(body[:len(body):len(body)], 0)), ReadOptions{})
		if err == nil {
			t.Errorf("%s with a byte after its end was read", name)
		}
	}
}

func TestBodyFails(t *testing.T) {
	for _, k := range Kinds() {
		// Whole rows, then a failure. One that wraps io.EOF is no end either.
		for _, failure := range []error{errors.New("reset"), fmt.Errorf("closed: %w", io.EOF), io.ErrUnexpectedEOF} {
			rows := map[Kind]string{CSV: "a,b\n1,2\n", NDJSON: "{\"a\":1}\n", Arrow: string(fixture(t, "pandas.arrows")), Parquet: string(fixture(t, "pandas.parquet"))}[k]
			_, _, err := tryRead(k, io.MultiReader(strings.NewReader(rows), iotest.ErrReader(failure)), ReadOptions{})
			if fault.CodeOf(err) != fault.Incomplete {
				t.Errorf("%s: %v: %v", k, failure, err)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := NewReader(ctx, k, strings.NewReader("a\n1\n"), ReadOptions{}); fault.CodeOf(err) != fault.Incomplete || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: a cancelled context: %v", k, err)
		}
	}
}

// Declared sizes that the body does not have are refused before memory is allocated for them.
func TestD13_DeclaredSizes(t *testing.T) {
	word := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	stream := fixture(t, "pyarrow-all.arrows")
	parquet := fixture(t, "pyarrow-all.parquet")
	for name, c := range map[string]struct {
		kind Kind
		body []byte
	}{
		"metadata of 2 GiB":      {Arrow, append(word(0xffffffff), word(0x7fffffff)...)},
		"metadata of 4 GiB":      {Arrow, word(0xfffffffe)},
		"Parquet footer of 4 GB": {Parquet, append(parquet[:len(parquet)-8:len(parquet)-8], append(word(0xfffffff0), "PAR1"...)...)},
		"64-bit body":            {Arrow, bodyLength(stream, 1<<62)},
		"negative body":          {Arrow, bodyLength(stream, -1)},
	} {
		before := allocated()
		_, _, err := tryRead(c.kind, bytes.NewReader(c.body), ReadOptions{})
		if code := fault.CodeOf(err); code != fault.TooLarge && code != fault.InvalidRequest && code != fault.Incomplete {
			t.Errorf("%s: %v", name, err)
		}
		if used := allocated() - before; used > 64<<20 {
			t.Errorf("%s: %d MiB allocated", name, used>>20)
		}
	}
}

// bodyLength returns the stream with the body length of its record batch, the second message, replaced.
func bodyLength(stream []byte, n int64) []byte {
	b := bytes.Clone(stream)
	at := 8 + int(binary.LittleEndian.Uint32(b[4:]))
	f := &flat{b: b[at+8:]}
	for { // dictionaries come first
		root := f.root()
		place := root.at(3)
		if root.i8(1, 0) == msgRecord || place == 0 {
			binary.LittleEndian.PutUint64(f.b[place:], uint64(n))
			return b
		}
		at += 8 + int(binary.LittleEndian.Uint32(b[at+4:])) + int(root.i64(3))
		f = &flat{b: b[at+8:]}
	}
}

func TestEncryptedParquet(t *testing.T) {
	body := fixture(t, "pyarrow-v2.parquet")
	copy(body[len(body)-4:], "PARE")
	_, _, err := tryRead(Parquet, bytes.NewReader(body), ReadOptions{})
	if f, ok := errors.AsType[*fault.Error](err); !ok || !strings.Contains(f.Detail, "encrypted") {
		t.Error(err)
	}
}

func TestCanonicalRefuses(t *testing.T) {
	deep := arrow.PrimitiveTypes.Int8
	for range 70 {
		deep = arrow.ListOf(deep)
	}
	many := make([]arrow.Field, maxColumns+1)
	for i := range many {
		many[i] = arrow.Field{Name: strings.Repeat("x", 1+i%7) + string(rune('A'+i/7)), Type: arrow.Null}
	}
	one := func(name string, t arrow.DataType) []arrow.Field { return []arrow.Field{{Name: name, Type: t}} }
	for name, c := range map[string]struct {
		fields []arrow.Field
		code   fault.Code
	}{
		"none":         {nil, fault.InvalidRequest},
		"empty name":   {one("", arrow.Null), fault.InvalidRequest},
		"twice":        {append(one("a", arrow.Null), one("a", arrow.Null)...), fault.InvalidRequest},
		"twice inside": {one("s", arrow.StructOf(append(one("a", arrow.Null), one("a", arrow.Null)...)...)), fault.InvalidRequest},
		"deep":         {one("a", deep), fault.TooLarge},
		"many":         {many, fault.TooLarge},
		"union":        {one("u", arrow.SparseUnionOf(one("a", arrow.Null), []arrow.UnionTypeCode{0})), fault.InvalidRequest},
		"empty struct": {one("s", arrow.StructOf()), fault.InvalidRequest},
		"interval":     {one("i", arrow.FixedWidthTypes.MonthDayNanoInterval), fault.InvalidRequest},
		"scale":        {one("d", &arrow.Decimal128Type{Precision: 5, Scale: -1}), fault.InvalidRequest},
		"long name":    {one(strings.Repeat("x", 2000), arrow.Null), fault.InvalidRequest},
		"not UTF-8":    {one("\xff", arrow.Null), fault.InvalidRequest},
	} {
		if _, err := Canonical(arrow.NewSchema(c.fields, nil)); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}
