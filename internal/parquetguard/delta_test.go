package parquetguard

import (
	"encoding/binary"
	"slices"
	"testing"
)

// TestDelta decodes the example of Parquet's Encodings.md: 7, 5, 3, 1, 2, 3, 4, 5 in a block of 128 with 4 miniblocks, two bits each.
func TestDelta(t *testing.T) {
	b := []byte{0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0, 0, 0, 0xaa}
	var got []int64
	rest, err := eachDelta(b, func(_ int, v int64) { got = append(got, v) })
	if err != nil || !slices.Equal(got, []int64{7, 5, 3, 1, 2, 3, 4, 5}) || len(rest) != 1 {
		t.Errorf("%v, %d left, %v", got, len(rest), err)
	}
	for n := range b[:17] {
		if _, err := eachDelta(b[:n], func(int, int64) {}); err == nil {
			t.Errorf("cut to %d bytes: no error", n)
		}
	}
}

// FuzzDelta looks for panics, and values beyond the number that the header says.
func FuzzDelta(f *testing.F) {
	f.Add([]byte{0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0, 0, 0, 0xaa})
	f.Add(binary.AppendUvarint(nil, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_, err := eachDelta(b, func(i int, _ int64) {
			if n++; i != n-1 {
				t.Fatal("out of order")
			}
		})
		if h, _, herr := readDeltaHeader(b); err == nil && (herr != nil || uint64(n) != h.total) {
			t.Errorf("%d values of %d, %v", n, h.total, herr)
		}
		_, _ = longestString(b) //nolint:errcheck // only panics count
	})
}
