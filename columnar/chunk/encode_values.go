package chunk

import (
	"encoding/binary"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
)

// values are those of a page or of a dictionary, nulls left out, in one of the forms.
type values struct {
	n       int
	words   []uint64
	halves  []uint32
	bytes   []byte
	lengths []int32
}

func (v *values) reset() {
	v.n, v.words, v.halves, v.bytes, v.lengths = 0, v.words[:0], v.halves[:0], v.bytes[:0], v.lengths[:0]
}

// gather appends the elements of an array that spans name.
func (l *leaf) gather(v *values, n *node, spans []span) {
	for _, s := range spans {
		v.n += int(s.to - s.from)
	}
	if len(spans) == 0 {
		return
	}
	switch a := n.arr; l.form {
	case formBool:
		gatherBits(v, a, spans)
	case formBytes:
		gatherBytes(v, n, spans)
	case formFixed:
		raw := fixedBytes(a, l.width)
		for _, s := range spans {
			v.bytes = append(v.bytes, raw[int(s.from)*l.width:int(s.to)*l.width]...)
		}
	case formDecimal:
		gatherDecimals(v, a, l.width, spans)
	case form32:
		v.halves = gatherHalves(v.halves, a, spans)
	case form64:
		v.words = gatherWords(v.words, a, spans)
	}
}

// fixedBytes returns the values of an array, width bytes each.
func fixedBytes(a arrow.Array, width int) []byte {
	from := a.Data().Offset() * width
	return a.Data().Buffers()[1].Bytes()[from : from+a.Len()*width]
}

func gatherBits(v *values, a arrow.Array, spans []span) {
	at := v.n
	for _, s := range spans {
		at -= int(s.to - s.from)
	}
	v.bytes = grow(v.bytes, (v.n+7)/8)
	for _, s := range spans {
		n := int(s.to - s.from)
		bitutil.CopyBitmap(a.Data().Buffers()[1].Bytes(), a.Data().Offset()+int(s.from), n, v.bytes, at)
		at += n
	}
	if v.n%8 > 0 {
		v.bytes[len(v.bytes)-1] &= 1<<(v.n%8) - 1
	}
}

func gatherBytes(v *values, n *node, spans []span) {
	var data []byte
	if b := n.arr.Data().Buffers()[2]; b != nil { // nil: all are empty
		data = b.Bytes()
	}
	for _, s := range spans {
		last := n.offsets[s.from]
		v.bytes = append(v.bytes, data[last:n.offsets[s.to]]...)
		for _, o := range n.offsets[s.from+1 : s.to+1] {
			v.lengths = append(v.lengths, o-last)
			last = o
		}
	}
}

// gatherDecimals appends decimals as Parquet has long ones: big endian, in as few bytes as their digits take.
func gatherDecimals(v *values, a arrow.Array, width int, spans []span) {
	size := a.DataType().(arrow.FixedWidthDataType).BitWidth() / 8
	raw := fixedBytes(a, size)
	for _, s := range spans {
		for i := int(s.from); i < int(s.to); i++ {
			little := raw[i*size : i*size+width]
			at := len(v.bytes)
			v.bytes = append(v.bytes, little...)
			slices.Reverse(v.bytes[at:])
		}
	}
}

func gatherWords(dst []uint64, a arrow.Array, spans []span) []uint64 {
	if a.DataType().ID() == arrow.DECIMAL128 {
		raw := arrow.Uint64Traits.CastFromBytes(fixedBytes(a, 16))
		for _, s := range spans {
			for i := s.from; i < s.to; i++ {
				dst = append(dst, raw[2*i])
			}
		}
		return dst
	}
	return appendSpans(dst, arrow.Uint64Traits.CastFromBytes(fixedBytes(a, 8)), spans)
}

func appendSpans[T any](dst, v []T, spans []span) []T {
	for _, s := range spans {
		dst = append(dst, v[s.from:s.to]...)
	}
	return dst
}

func gatherHalves(dst []uint32, a arrow.Array, spans []span) []uint32 {
	switch a := a.(type) {
	case *array.Int8:
		return widen(dst, a.Int8Values(), spans)
	case *array.Int16:
		return widen(dst, a.Int16Values(), spans)
	case *array.Uint8:
		return widen(dst, a.Uint8Values(), spans)
	case *array.Uint16:
		return widen(dst, a.Uint16Values(), spans)
	case *array.Decimal128:
		raw := arrow.Uint32Traits.CastFromBytes(fixedBytes(a, 16))
		for _, s := range spans {
			for i := s.from; i < s.to; i++ {
				dst = append(dst, raw[4*i])
			}
		}
		return dst
	}
	return appendSpans(dst, arrow.Uint32Traits.CastFromBytes(fixedBytes(a, 4)), spans)
}

func widen[T int8 | int16 | uint8 | uint16](dst []uint32, v []T, spans []span) []uint32 {
	for _, s := range spans {
		for _, x := range v[s.from:s.to] {
			dst = append(dst, uint32(int32(x)))
		}
	}
	return dst
}

// Encodings by their numbers in parquet.thrift.
const (
	encodingPlain, encodingRLE, encodingDelta, encodingDeltaLength, encodingDictionary, encodingSplit = 0, 3, 5, 6, 8, 9
)

// appendValues appends values in an encoding that has no dictionary.
func (l *leaf) appendValues(dst []byte, v *values, encoding int) []byte {
	switch {
	case encoding == encodingDelta && l.form == form32:
		return appendDelta(dst, arrow.Int32Traits.CastFromBytes(arrow.Uint32Traits.CastToBytes(v.halves)), 1<<32-1)
	case encoding == encodingDelta:
		return appendDelta(dst, arrow.Int64Traits.CastFromBytes(arrow.Uint64Traits.CastToBytes(v.words)), 1<<64-1)
	case encoding == encodingDeltaLength:
		return append(appendDelta(dst, v.lengths, 1<<32-1), v.bytes...)
	case encoding == encodingSplit && l.form == form32:
		return appendSplit(dst, v.halves, 4)
	case encoding == encodingSplit:
		return appendSplit(dst, v.words, 8)
	}
	return l.appendPlain(dst, v)
}

func (l *leaf) appendPlain(dst []byte, v *values) []byte {
	switch l.form {
	case form32:
		return append(dst, arrow.Uint32Traits.CastToBytes(v.halves)...)
	case form64:
		return append(dst, arrow.Uint64Traits.CastToBytes(v.words)...)
	case formBytes:
		dst = slices.Grow(dst, len(v.bytes)+4*len(v.lengths))
		rest := v.bytes
		for _, n := range v.lengths {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
			dst = append(dst, rest[:n]...)
			rest = rest[n:]
		}
		return dst
	}
	return append(dst, v.bytes...)
}

// appendSplit appends numbers as BYTE_STREAM_SPLIT: first the lowest byte of each, then the next of each.
func appendSplit[T uint32 | uint64](dst []byte, v []T, width int) []byte {
	at, n := len(dst), len(v)
	dst = grow(dst, at+n*width)
	for j := range width {
		out := dst[at+j*n : at+(j+1)*n]
		for i, x := range v {
			out[i] = byte(x >> (8 * j))
		}
	}
	return dst
}
