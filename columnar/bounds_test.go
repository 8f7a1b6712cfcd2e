package columnar

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"pgregory.net/rapid"

	"coldframe/columnar/pme"
)

// Bounds are short, hold what they were cut from between them, and those of text are text.
func TestCutBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isText := rapid.Bool().Draw(t, "text")
		var v []byte
		if isText {
			v = []byte(rapid.StringN(0, 100, -1).Draw(t, "string"))
			if !utf8.Valid(v) {
				t.Skip("not text")
			}
		} else {
			v = rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "bytes")
		}
		low, high := cutBelow(v, isText), cutAbove(v, isText)
		if low == nil || len(low) > maxStats || bytes.Compare(low, v) > 0 || isText && !utf8.Valid(low) {
			t.Fatalf("%q cut below to %q", v, low)
		}
		if high != nil && (len(high) > maxStats+utf8.UTFMax || bytes.Compare(high, v) < 0 || isText && !utf8.Valid(high)) {
			t.Fatalf("%q cut above to %q", v, high)
		}
	})
	for in, want := range map[string]string{
		strings.Repeat("a", 65):                strings.Repeat("a", 63) + "b",
		strings.Repeat("a", 63) + "éé":         strings.Repeat("a", 62) + "b",
		strings.Repeat("\U0010ffff", 17):       "",
		"b" + strings.Repeat("\U0010ffff", 17): "c",
		strings.Repeat("퟿", 22):                strings.Repeat("퟿", 20) + "\ue000",
	} {
		if got := cutAbove([]byte(in), true); string(got) != want {
			t.Errorf("%q cut above to %q, want %q", in, got, want)
		}
	}
	if got := cutAbove(bytes.Repeat([]byte{0xff}, 65), false); got != nil {
		t.Errorf("nothing is above, got %x", got)
	}
	if cutBelow([]byte("\xff"), true) != nil || cutAbove([]byte(strings.Repeat("\xff", 65)), true) != nil {
		t.Error("bounds of what is no text")
	}
}

// Bounds that no writer of ours makes, of any length and with anything in them, are compared or passed over, and never panic.
func TestHostileBounds(t *testing.T) {
	literals := map[string]arrow.DataType{
		"TRUE": arrow.FixedWidthTypes.Boolean, "1": arrow.PrimitiveTypes.Int8, "2": arrow.PrimitiveTypes.Uint16, "3": arrow.PrimitiveTypes.Int32,
		"4": arrow.PrimitiveTypes.Uint64, "5": arrow.FixedWidthTypes.Float16, "6": arrow.PrimitiveTypes.Float32, "7": arrow.PrimitiveTypes.Float64,
		"'x'": arrow.BinaryTypes.String, "''": arrow.BinaryTypes.Binary, "'AAAA'": &arrow.FixedSizeBinaryType{ByteWidth: 3},
		"'2020-01-01'": arrow.FixedWidthTypes.Date32, "'00:00:00'": arrow.FixedWidthTypes.Time64ns, "'2020-01-01T00:00:00Z'": arrow.FixedWidthTypes.Timestamp_s,
		"8": &arrow.Decimal128Type{Precision: 9}, "9": &arrow.Decimal128Type{Precision: 18}, "10": &arrow.Decimal128Type{Precision: 38},
		"11": &arrow.Decimal256Type{Precision: 76},
	}
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7c, 0x7e, 0x7f, 0x80, 0xff}), 0, 40))
		s := pme.Statistics{
			Min: bound.Draw(t, "min"), Max: bound.Draw(t, "max"), Nulls: rapid.Int64().Draw(t, "nulls"), NaNs: rapid.Int64().Draw(t, "NaNs"),
		}
		op := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "op")
		for literal, typ := range literals {
			w, err := ParseWhere("x " + op + " " + literal)
			if err != nil {
				t.Fatal(err)
			}
			filters, err := w.bind(arrow.NewSchema([]arrow.Field{{Name: "x", Type: typ}}, nil))
			if err != nil {
				t.Fatal(err)
			}
			filters[0].possible(s, 10)
		}
	})
}
