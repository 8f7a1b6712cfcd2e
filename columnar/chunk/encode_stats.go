package chunk

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/float16"

	"coldframe/columnar/pme"
)

// statistics are those of a chunk while it is encoded.
type statistics struct {
	leaf        *leaf
	nulls, nans int64  // nans: -1: not known
	least, most []byte // in the plain encoding; nil: none
	words       [2][8]byte
}

// add takes the values of a page, or of a dictionary.
func (s *statistics) add(v *values) {
	if v.n == 0 {
		return
	}
	switch s.leaf.form {
	case formBool:
		s.addBits(v)
	case form32:
		s.addHalves(v.halves)
	case form64:
		s.addWords(v.words)
	case formBytes:
		s.addBytes(v)
	case formFixed, formDecimal:
		s.addFixed(v.bytes, s.leaf.width)
	}
}

func (s *statistics) addBits(v *values) {
	ones := bitutil.CountSetBits(v.bytes, 0, v.n)
	s.bound([]byte{byte(count(ones == v.n))}, []byte{byte(count(ones > 0))})
}

func (s *statistics) addHalves(v []uint32) {
	raw := arrow.Uint32Traits.CastToBytes(v)
	switch s.leaf.order {
	case orderFloat:
		least, most, nans := extremesOf(arrow.Float32Traits.CastFromBytes(raw))
		if s.nans += int64(nans); nans < len(v) {
			s.bound32(math.Float32bits(least), math.Float32bits(most))
		}
	case orderUnsigned:
		least, most := extremes(v)
		s.bound32(least, most)
	default:
		least, most := extremes(arrow.Int32Traits.CastFromBytes(raw))
		s.bound32(uint32(least), uint32(most))
	}
}

func (s *statistics) addWords(v []uint64) {
	raw := arrow.Uint64Traits.CastToBytes(v)
	switch s.leaf.order {
	case orderFloat:
		least, most, nans := extremesOf(arrow.Float64Traits.CastFromBytes(raw))
		if s.nans += int64(nans); nans < len(v) {
			s.bound64(math.Float64bits(least), math.Float64bits(most))
		}
	case orderUnsigned:
		least, most := extremes(v)
		s.bound64(least, most)
	default:
		least, most := extremes(arrow.Int64Traits.CastFromBytes(raw))
		s.bound64(uint64(least), uint64(most))
	}
}

func extremes[T uint32 | int32 | uint64 | int64](v []T) (least, most T) {
	least, most = v[0], v[0]
	for _, x := range v {
		least, most = min(least, x), max(most, x)
	}
	return least, most
}

// extremesOf is extremes of floats, NaN left out, which it counts.
func extremesOf[T float32 | float64](v []T) (least, most T, nans int) {
	least, most = T(math.Inf(1)), T(math.Inf(-1))
	for _, x := range v {
		if x < least {
			least = x
		}
		if x > most {
			most = x
		}
		if x != x { //nolint:gocritic,staticcheck // NaN alone differs from itself
			nans++
		}
	}
	return least, most, nans
}

func (s *statistics) bound32(least, most uint32) {
	binary.LittleEndian.PutUint32(s.words[0][:], least)
	binary.LittleEndian.PutUint32(s.words[1][:], most)
	s.bound(s.words[0][:4], s.words[1][:4])
}

func (s *statistics) bound64(least, most uint64) {
	binary.LittleEndian.PutUint64(s.words[0][:], least)
	binary.LittleEndian.PutUint64(s.words[1][:], most)
	s.bound(s.words[0][:], s.words[1][:])
}

// addBytes compares the first eight bytes as a number, which is most often enough.
func (s *statistics) addBytes(v *values) {
	var least, most []byte
	var low, high uint64
	rest := v.bytes
	for i, n := range v.lengths {
		x := rest[:n]
		rest = rest[n:]
		p := start(x)
		if i == 0 {
			least, most, low, high = x, x, p, p
			continue
		}
		if p < low || p == low && bytes.Compare(x, least) < 0 {
			least, low = x, p
		}
		if p > high || p == high && bytes.Compare(x, most) > 0 {
			most, high = x, p
		}
	}
	s.bound(least, most)
}

// start returns the first eight bytes of v, filled up with zeros.
func start(v []byte) uint64 {
	if len(v) >= 8 {
		return binary.BigEndian.Uint64(v)
	}
	var p uint64
	for i, c := range v {
		p |= uint64(c) << (56 - 8*i)
	}
	return p
}

func (s *statistics) addFixed(b []byte, width int) {
	var least, most []byte
	for ; len(b) > 0; b = b[width:] {
		x := b[:width]
		if s.leaf.order == orderFloat && float16.FromLEBytes(x).IsNaN() {
			s.nans++
			continue
		}
		if least == nil || s.compare(x, least) < 0 {
			least = x
		}
		if most == nil || s.compare(x, most) > 0 {
			most = x
		}
	}
	if least != nil {
		s.bound(least, most)
	}
}

// bound takes the bounds of some values. It keeps copies.
func (s *statistics) bound(least, most []byte) {
	if s.least == nil {
		s.least, s.most = append(make([]byte, 0, 16), least...), append(make([]byte, 0, 16), most...)
		return
	}
	if s.compare(least, s.least) < 0 {
		s.least = append(s.least[:0], least...)
	}
	if s.compare(most, s.most) > 0 {
		s.most = append(s.most[:0], most...)
	}
}

// compare compares values in the plain encoding.
func (s *statistics) compare(a, b []byte) int {
	switch s.leaf.order {
	case orderSigned, orderUnsigned, orderFloat:
		return cmp.Compare(s.rank(a), s.rank(b))
	case orderDecimal:
		if a[0]^b[0] >= 0x80 { // of different signs
			return -bytes.Compare(a[:1], b[:1])
		}
	}
	return bytes.Compare(a, b)
}

// rank returns a number that is above another one's if the value is. There is no NaN.
func (s *statistics) rank(v []byte) uint64 {
	var x uint64
	for i, c := range v {
		x |= uint64(c) << (8 * i)
	}
	sign := uint64(1) << (8*len(v) - 1)
	switch {
	case s.leaf.order == orderUnsigned:
		return x
	case s.leaf.order == orderFloat && x&sign != 0:
		return sign - 1 - x&(sign-1)
	}
	return x ^ sign
}

// result returns what the metadata of the chunk says.
func (s *statistics) result() pme.Statistics {
	out := pme.Statistics{Nulls: s.nulls, NaNs: -1}
	if s.leaf.order == orderFloat {
		out.NaNs = s.nans
		if s.least != nil { // of the zeros, which are equal, either may be there
			setZero(s.least, 0x80)
			setZero(s.most, 0)
		}
	}
	switch {
	case s.leaf.form == formBytes:
		out.Min, out.Max = cutBelow(s.least, s.leaf.text), cutAbove(s.most, s.leaf.text)
		out.MinCut, out.MaxCut = len(s.least) > maxBound, len(s.most) > maxBound
	case s.leaf.width <= maxBound: // readers know a bound of fixed length by its length
		out.Min, out.Max = s.least, s.most
	}
	return out
}

// setZero gives a float the highest byte if it is a zero.
func setZero(v []byte, high byte) {
	last := len(v) - 1
	if v[last]&0x7f == 0 && !slices.ContainsFunc(v[:last], func(c byte) bool { return c != 0 }) {
		v[last] = high
	}
}
