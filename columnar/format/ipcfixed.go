package format

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
)

// fixed loads values of a fixed width, and changes the width where the canonical type has another.
func (l *loader) fixed(c *column, t arrow.DataType, off, n int64) (arrow.ArrayData, error) {
	bitmap, nulls, err := l.validity(c, off, n)
	if err != nil {
		return nil, err
	}
	width := int64(c.wire.Type.(arrow.FixedWidthDataType).Bytes())
	raw, err := l.bytes(c.bufs[1], off*width, n*width)
	if err != nil {
		return nil, err
	}
	if out := int64(t.(arrow.FixedWidthDataType).Bytes()); out > width {
		if err := l.spend(n * out); err != nil {
			return nil, err
		}
	}
	raw, err = convert(c.wire.Type, t, raw, bitmap)
	if err != nil {
		return nil, err
	}
	return arrayData(t, n, nulls, nil, bitmap, raw), nil
}

// convert turns values of a wire type into those of its canonical type and checks those that can be outside their type's range. What
// lies under a null becomes zero then.
func convert(wire, t arrow.DataType, raw, bitmap []byte) ([]byte, error) {
	switch w := wire.(type) {
	case *arrow.Date64Type:
		return narrow(raw, bitmap, func(v int64) (int64, bool) { return v / 86_400_000, v%86_400_000 == 0 })
	case *arrow.Time32Type:
		limit, factor := int64(daySeconds*1000), int64(1)
		if w.Unit == arrow.Second {
			limit, factor = daySeconds, 1000
		}
		return each(raw, 4, bitmap, func(v []byte) bool {
			n := int64(int32(binary.LittleEndian.Uint32(v)))
			binary.LittleEndian.PutUint32(v, uint32(n*factor))
			return n >= 0 && n < limit
		})
	case *arrow.Time64Type:
		per, _ := perSecond(w.Unit)
		return each(raw, 8, bitmap, func(v []byte) bool {
			n := int64(binary.LittleEndian.Uint64(v))
			return n >= 0 && n < daySeconds*per
		})
	case *arrow.TimestampType:
		if w.Unit != arrow.Second {
			return raw, nil
		}
		return each(raw, 8, bitmap, func(v []byte) bool {
			n, ok := mulAdd(int64(binary.LittleEndian.Uint64(v)), 1000, 0)
			binary.LittleEndian.PutUint64(v, uint64(n))
			return ok
		})
	case arrow.DecimalType:
		return convertDecimal(w, t, raw, bitmap)
	}
	return raw, nil
}

// each calls ok for every value of width bytes that is not null, and fails when it says no. Nulls become zero.
func each(raw []byte, width int, bitmap []byte, ok func([]byte) bool) ([]byte, error) {
	for i := 0; i*width < len(raw); i++ {
		v := raw[i*width : (i+1)*width]
		if !valid(bitmap, i) {
			clear(v)
		} else if !ok(v) {
			return nil, errRange
		}
	}
	return raw, nil
}

// narrow maps 8-byte integers to 4-byte ones.
func narrow(raw, bitmap []byte, f func(int64) (int64, bool)) ([]byte, error) {
	out := make([]byte, len(raw)/2)
	for i := 0; i*8 < len(raw); i++ {
		if !valid(bitmap, i) {
			continue
		}
		v, ok := f(int64(binary.LittleEndian.Uint64(raw[8*i:])))
		if !ok || int64(int32(v)) != v {
			return nil, errRange
		}
		binary.LittleEndian.PutUint32(out[4*i:], uint32(int32(v)))
	}
	return out, nil
}

// convertDecimal brings decimals of 4 to 32 bytes to the 16 or 32 of the canonical type, and refuses more digits than declared.
func convertDecimal(w arrow.DecimalType, t arrow.DataType, raw, bitmap []byte) ([]byte, error) {
	from, to := w.(arrow.FixedWidthDataType).Bytes(), t.(arrow.FixedWidthDataType).Bytes()
	precision := w.GetPrecision()
	n := len(raw) / from
	out := raw
	if from != to {
		out = make([]byte, n*to)
	}
	for i := range n {
		v, o := raw[i*from:(i+1)*from], out[i*to:(i+1)*to]
		if !valid(bitmap, i) {
			clear(o)
			continue
		}
		if from > to && !signExtended(v[to:], v[to-1]) {
			return nil, errRange
		}
		if k := copy(o, v); k < to && v[from-1] >= 0x80 {
			for j := k; j < to; j++ {
				o[j] = 0xff
			}
		}
		if !fitsPrecision(o, precision) {
			return nil, errRange
		}
	}
	return out, nil
}

func signExtended(high []byte, top byte) bool {
	fill := byte(0)
	if top >= 0x80 {
		fill = 0xff
	}
	for _, b := range high {
		if b != fill {
			return false
		}
	}
	return true
}

func fitsPrecision(v []byte, precision int32) bool {
	var w [4]uint64
	for i := range len(v) / 8 {
		w[i] = binary.LittleEndian.Uint64(v[8*i:])
	}
	if len(v) == 16 {
		n := decimal128.New(int64(w[1]), w[0])
		return n != minDecimal128 && n.FitsInPrecision(precision)
	}
	n := decimal256.New(w[3], w[2], w[1], w[0])
	return n != minDecimal256 && n.FitsInPrecision(precision)
}

// The most negative numbers, which have no absolute value of their width.
var (
	minDecimal128 = decimal128.New(-1<<63, 0)
	minDecimal256 = decimal256.New(1<<63, 0, 0, 0)
)
