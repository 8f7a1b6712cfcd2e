package columnar

import (
	"encoding/binary"
	"math"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar/pme"
)

// possible reports whether a chunk of rows rows with these statistics can hold a value that fulfils f. It says no only if none can.
func (f filter) possible(s pme.Statistics, rows int64) bool {
	switch {
	case f.nested: // counts of a nested leaf are not those of its column
		return true
	case f.op == opIsNull:
		return s.Nulls != 0
	case s.Nulls == rows:
		return false
	case f.op == opIsNotNull:
		return true
	}
	least, greatest := f.against(s.Min), f.against(s.Max)
	if arrow.IsFloating(f.literal.DataType().ID()) {
		least, greatest = f.withNaN(s, least, greatest)
	}
	switch f.op {
	case opEqual:
		return least != above && greatest != below
	case opNotEqual:
		return least != equal || greatest != equal
	case opLess:
		return least == below || least == unknown
	case opLessEqual:
		return least != above
	case opGreater:
		return greatest == above || greatest == unknown
	default:
		return greatest != below
	}
}

// How a bound lies to the literal.
const (
	below int8 = iota - 1
	equal
	above
	unknown
)

// against compares a bound with the literal.
func (f filter) against(bound []byte) int8 {
	b := boundValue(f.literal.DataType(), bound)
	if b == nil {
		return unknown
	}
	defer b.Release()
	out := make([]int8, 1)
	order(b, f.literal, out)
	return out[0]
}

// withNaN corrects how the bounds of floats lie: NaN is in none of them, and above all else. A chunk that has nothing else has no bounds.
func (f filter) withNaN(s pme.Statistics, least, greatest int8) (int8, int8) {
	if s.NaNs == 0 {
		return least, greatest
	}
	if isNaN(f.literal.DataType(), f.literal.Data().Buffers()[1].Bytes()) {
		return least, equal
	}
	return least, above
}

// boundValue returns a bound as a value of a storage type, one that stands alone; nil if there is none, or it is not of that type.
func boundValue(t arrow.DataType, b []byte) arrow.Array {
	if b == nil {
		return nil
	}
	switch t.ID() {
	case arrow.STRING, arrow.BINARY:
		offsets := arrow.Int32Traits.CastToBytes([]int32{0, int32(len(b))})
		return build(t, 1, 0, []*memory.Buffer{nil, memory.NewBufferBytes(offsets), memory.NewBufferBytes(b)})
	case arrow.DECIMAL128, arrow.DECIMAL256:
		return boundDecimal(t.(arrow.DecimalType), b)
	}
	fixed, ok := t.(arrow.FixedWidthDataType)
	if !ok {
		return nil
	}
	width := max(fixed.BitWidth()/8, 1)
	if t.ID() != arrow.FIXED_SIZE_BINARY && t.ID() != arrow.FLOAT16 && t.ID() != arrow.BOOL { // numbers, in 4 bytes or 8
		if len(b) != max(width, 4) || !extends(t, b, width) {
			return nil
		}
		b = b[:width]
	}
	if len(b) != width || isNaN(t, b) {
		return nil
	}
	return build(t, 1, 0, []*memory.Buffer{nil, memory.NewBufferBytes(b)})
}

// extends reports whether b, a little-endian number, is one of its first width bytes.
func extends(t arrow.DataType, b []byte, width int) bool {
	fill := byte(0)
	if arrow.IsSignedInteger(t.ID()) && b[width-1] >= 0x80 {
		fill = 0xff
	}
	for _, c := range b[width:] {
		if c != fill {
			return false
		}
	}
	return true
}

func isNaN(t arrow.DataType, b []byte) bool {
	switch t.ID() {
	case arrow.FLOAT16:
		return float16.FromLEBytes(b).IsNaN()
	case arrow.FLOAT32:
		return math.IsNaN(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	case arrow.FLOAT64:
		return math.IsNaN(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return false
}

// boundDecimal reads a decimal: a little-endian integer up to 18 digits, else big-endian bytes in two's complement.
func boundDecimal(t arrow.DecimalType, b []byte) arrow.Array {
	var n big.Int
	switch p := t.GetPrecision(); {
	case p <= 9 && len(b) == 4:
		n.SetInt64(int64(int32(binary.LittleEndian.Uint32(b))))
	case p > 9 && p <= maxIntegerDecimal && len(b) == 8:
		n.SetInt64(int64(binary.LittleEndian.Uint64(b)))
	case p > maxIntegerDecimal && len(b) > 0 && len(b) <= 32:
		if n.SetBytes(b); b[0] >= 0x80 {
			n.Sub(&n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
	default:
		return nil
	}
	var values []byte
	if t.ID() == arrow.DECIMAL128 {
		if n.BitLen() > 127 {
			return nil
		}
		values = arrow.Decimal128Traits.CastToBytes([]decimal128.Num{decimal128.FromBigInt(&n)})
	} else {
		if n.BitLen() > 255 {
			return nil
		}
		values = arrow.Decimal256Traits.CastToBytes([]decimal256.Num{decimal256.FromBigInt(&n)})
	}
	return build(t, 1, 0, []*memory.Buffer{nil, memory.NewBufferBytes(values)})
}
