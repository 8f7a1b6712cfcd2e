package columnar

import (
	"bytes"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"coldframe/columnar/pme"
)

// refine returns what the statistics that arrow-go writes lack: bounds of strings and bytes of which one is too long for it, cut to
// maxStats, and the count of NaN, without which nobody may say that all is below a bound (parquet.thrift, Statistics). nil if they lack
// nothing. stored are arrays of one storage type.
func refine(stored []arrow.Array) *pme.Statistics {
	s := &pme.Statistics{Nulls: -1, NaNs: -1}
	switch t := stored[0].DataType().ID(); {
	case arrow.IsFloating(t):
		s.NaNs = 0
		for _, a := range stored {
			s.NaNs += countNaN(a)
		}
		return s
	case arrow.IsBinaryLike(t):
		least, greatest := longRange(stored)
		if len(least) > maxStats || len(greatest) > maxStats {
			s.Min, s.Max = cutBelow(least, t == arrow.STRING), cutAbove(greatest, t == arrow.STRING)
			return s
		}
	}
	return nil
}

func countNaN(arr arrow.Array) int64 {
	n := int64(0)
	count := func(isNaN func(i int) bool) {
		for i := range arr.Len() {
			if isNaN(i) && arr.IsValid(i) {
				n++
			}
		}
	}
	switch a := arr.(type) {
	case *array.Float16:
		count(func(i int) bool { return a.Value(i).IsNaN() })
	case *array.Float32:
		values := a.Float32Values()
		count(func(i int) bool { return values[i] != values[i] }) //nolint:gocritic // NaN alone differs from itself
	case *array.Float64:
		values := a.Float64Values()
		count(func(i int) bool { return math.IsNaN(values[i]) })
	}
	return n
}

// longRange returns the least and the greatest of strings or bytes; nil if none is longer than maxStats.
func longRange(arrays []arrow.Array) (least, greatest []byte) {
	if !slices.ContainsFunc(arrays, anyLong) {
		return nil, nil
	}
	first := true
	for _, a := range arrays {
		if a.Len() == 0 {
			continue
		}
		value := binaryBytes(a.(array.BinaryLike))
		for i := range a.Len() {
			if a.IsNull(i) {
				continue
			}
			v := value(i)
			if first || bytes.Compare(v, least) < 0 {
				least = v
			}
			if first || bytes.Compare(v, greatest) > 0 {
				greatest = v
			}
			first = false
		}
	}
	return least, greatest
}

func anyLong(arr arrow.Array) bool {
	a := arr.(array.BinaryLike)
	for i := range a.Len() {
		if a.ValueLen(i) > maxStats {
			return true
		}
	}
	return false
}

// cutBelow returns the longest start of v that a bound may be, which is not above v. One of text is valid text; nil if there is none.
func cutBelow(v []byte, isText bool) []byte {
	if isText && !utf8.Valid(v) {
		return nil
	}
	n := min(len(v), maxStats)
	for isText && n < len(v) && !utf8.RuneStart(v[n]) {
		n--
	}
	return bytes.Clone(v[:n])
}

// cutAbove returns a short bound that is not below v: the start of v with its last character, or byte, counted up. nil if none can be.
func cutAbove(v []byte, isText bool) []byte {
	cut := cutBelow(v, isText)
	if len(cut) == len(v) {
		return cut
	}
	if isText {
		return raiseText(cut)
	}
	for n := len(cut); n > 0; n-- {
		if cut[n-1] < math.MaxUint8 {
			cut[n-1]++
			return cut[:n]
		}
	}
	return nil
}

func raiseText(cut []byte) []byte {
	for len(cut) > 0 {
		r, n := utf8.DecodeLastRune(cut)
		cut = cut[:len(cut)-n]
		if r++; r == 0xd800 { // surrogates are no characters
			r = 0xe000
		}
		if r <= utf8.MaxRune {
			return utf8.AppendRune(cut, r)
		}
	}
	return nil
}
