package pme_test

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"coldframe/columnar/pme"
)

// Constant chunks of every leaf make a file with as many rows in each row group, all alike: null where the statistics tell of nulls, or know
// nothing of them, and else the least value.
func TestConstant(t *testing.T) {
	for _, shape := range shapes()[:3] {
		t.Run(shape.name, func(t *testing.T) {
			k := newKeyring(testSchema.NumFields())
			s, recs := sealShape(t, k, shape, 91)
			f, err := open(s.bytes, k.keys(), strict)
			if err != nil {
				t.Fatal(err)
			}
			out, places := make([]byte, len(s.bytes)), map[[2]int]pme.Place{}
			for rg := range f.NumRowGroups() {
				for leaf := range f.Leaves() {
					at, room, err := f.Range(rg, leaf)
					if err != nil {
						t.Fatal(err)
					}
					pages, place, ok := f.Constant(rg, leaf, room)
					if !ok {
						t.Fatalf("row group %d, leaf %d: %d bytes, %d are there", rg, leaf, place.Size, room)
					}
					if _, _, ok := f.Constant(rg, leaf, place.Size-1); ok {
						t.Error("more than there is room for")
					}
					copy(out[at:], pages)
					places[[2]int{rg, leaf}] = place
				}
			}
			copy(out, "PAR1")
			out = append(out, f.FooterInPlace(all(), int64(len(out)), func(rg, leaf int) (pme.Place, bool) {
				p, ok := places[[2]int{rg, leaf}]
				return p, ok
			})...)
			got, err := decode(bytes.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			row := int64(0)
			for rg, rec := range recs {
				for c := range testSchema.NumFields() {
					alike(t, f, rg, c, array.NewChunkedSlice(got.Column(c).Data(), row, row+rec.NumRows()), rec.Column(c))
				}
				row += rec.NumRows()
			}
			if got.NumRows() != row {
				t.Errorf("%d rows, want %d", got.NumRows(), row)
			}
		})
	}
}

func alike(t *testing.T, f *pme.File, rowGroup, column int, got *arrow.Chunked, from arrow.Array) {
	t.Helper()
	first, value := true, ""
	for _, c := range got.Chunks() {
		for i := range c.Len() {
			if v := c.ValueStr(i); first {
				first, value = false, v
			} else if v != value {
				t.Fatalf("column %d: %s and %s", column, value, v)
			}
		}
	}
	leaf, _ := f.LeavesOf(column)
	flat := !arrow.IsNested(from.DataType().ID())
	nulls := f.Statistics(rowGroup, leaf).Nulls != 0 && testSchema.Field(column).Nullable
	if want := least(from); flat && !nulls && value != want && want != "" {
		t.Errorf("column %d: %s, want %s", column, value, want)
	}
	if nulls != (value == array.NullValueStr) && flat {
		t.Errorf("column %d: %s, though nulls are %v", column, value, nulls)
	}
}

// least returns the least value of integers and floats.
func least(a arrow.Array) string {
	at := 0
	for i := range a.Len() {
		switch a := a.(type) {
		case *array.Int64:
			if a.Value(i) < a.Value(at) {
				at = i
			}
		case *array.Float64:
			if a.Value(i) < a.Value(at) {
				at = i
			}
		default:
			return ""
		}
	}
	return a.ValueStr(at)
}
