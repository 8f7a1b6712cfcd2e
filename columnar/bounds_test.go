package columnar

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"pgregory.net/rapid"

	"coldframe/columnar/pme"
)

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
