package columnar

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

const (
	millisPerSecond = 1000
	secondsPerDay   = 24 * 60 * 60
)

var errRange = errors.New("a value is out of the range that Parquet keeps")

// toStorage returns arr as an array of storage type t. It shares what it need not change; the caller releases it. An error names
// what in the data cannot be kept.
func toStorage(arr arrow.Array, t arrow.DataType) (arrow.Array, error) {
	switch a := arr.(type) {
	case *array.Time32:
		if a.DataType().(*arrow.Time32Type).Unit == arrow.Second {
			return secondsOfDay(a, t)
		}
	case *array.Timestamp:
		if a.DataType().(*arrow.TimestampType).Unit == arrow.Second {
			return secondsToMillis(a, t)
		}
	case *array.Decimal32, *array.Decimal64, *array.Decimal128, *array.Decimal256:
		return decimalToStorage(arr, t)
	case *array.Dictionary:
		dense, err := undictionary(a)
		if err != nil {
			return nil, err
		}
		defer dense.Release()
		return toStorage(dense, t)
	case array.ExtensionArray:
		return toStorage(a.Storage(), t)
	case *array.Map:
		return listToStorage(a, t)
	case *array.List:
		return listToStorage(a, t)
	case *array.FixedSizeList:
		return listToStorage(a, t)
	case *array.Struct:
		return structToStorage(a, t.(*arrow.StructType))
	}
	return retype(arr, t), nil
}

// retype returns arr under another type of the same layout.
func retype(arr arrow.Array, t arrow.DataType) arrow.Array {
	if arrow.TypeEqual(arr.DataType(), t) {
		arr.Retain()
		return arr
	}
	d := arr.Data()
	data := array.NewData(t, d.Len(), d.Buffers(), d.Children(), d.NullN(), d.Offset())
	defer data.Release()
	return array.MakeFromData(data)
}

// validity returns the validity bitmap of arr from bit 0 on, or nil if nothing is null.
func validity(arr arrow.Array) *memory.Buffer {
	if arr.NullN() == 0 || len(arr.NullBitmapBytes()) == 0 {
		return nil
	}
	b := make([]byte, bitutil.BytesForBits(int64(arr.Len())))
	bitutil.CopyBitmap(arr.NullBitmapBytes(), arr.Data().Offset(), arr.Len(), b, 0)
	return memory.NewBufferBytes(b)
}

// build returns an array over buffers that start at offset 0.
func build(t arrow.DataType, n, nulls int, buffers []*memory.Buffer, children ...arrow.Array) arrow.Array {
	data := make([]arrow.ArrayData, len(children))
	for i, c := range children {
		data[i] = c.Data()
	}
	d := array.NewData(t, n, buffers, data, nulls, 0)
	defer d.Release()
	return array.MakeFromData(d)
}

func secondsOfDay(a *array.Time32, t arrow.DataType) (arrow.Array, error) {
	out := make([]int32, a.Len())
	for i, v := range a.Time32Values() {
		if a.IsNull(i) {
			continue
		}
		if v < 0 || v >= secondsPerDay {
			return nil, fmt.Errorf("a time of day of %d s: %w", v, errRange)
		}
		out[i] = int32(v) * millisPerSecond
	}
	return build(t, a.Len(), a.NullN(), []*memory.Buffer{validity(a), memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(out))}), nil
}

func secondsToMillis(a *array.Timestamp, t arrow.DataType) (arrow.Array, error) {
	out := make([]int64, a.Len())
	for i, v := range a.TimestampValues() {
		if a.IsNull(i) {
			continue
		}
		if v > math.MaxInt64/millisPerSecond || v < math.MinInt64/millisPerSecond {
			return nil, fmt.Errorf("a timestamp of %d s: %w", v, errRange)
		}
		out[i] = int64(v) * millisPerSecond
	}
	return build(t, a.Len(), a.NullN(), []*memory.Buffer{validity(a), memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(out))}), nil
}

// decimalToStorage widens small decimals, narrows 256-bit ones of up to 38 digits, and refuses values of more digits than the type
// has: Parquet cuts them.
func decimalToStorage(arr arrow.Array, t arrow.DataType) (arrow.Array, error) {
	if d, ok := t.(*arrow.Decimal256Type); ok {
		a := arr.(*array.Decimal256)
		for i, v := range a.Values() {
			if a.IsValid(i) && !fits256(v, d.Precision) {
				return nil, fmt.Errorf("a decimal of more than %d digits: %w", d.Precision, errRange)
			}
		}
		return retype(arr, t), nil
	}
	precision := t.(*arrow.Decimal128Type).Precision
	value := decimalValue(arr)
	same := arr.DataType().ID() == arrow.DECIMAL128
	var out []decimal128.Num
	if !same {
		out = make([]decimal128.Num, arr.Len())
	}
	for i := range arr.Len() {
		if arr.IsNull(i) {
			continue
		}
		v, ok := value(i)
		if !ok || !fits128(v, precision) {
			return nil, fmt.Errorf("a decimal of more than %d digits: %w", precision, errRange)
		}
		if !same {
			out[i] = v
		}
	}
	if same {
		return retype(arr, t), nil
	}
	values := memory.NewBufferBytes(arrow.Decimal128Traits.CastToBytes(out))
	return build(t, arr.Len(), arr.NullN(), []*memory.Buffer{validity(arr), values}), nil
}

// decimalValue returns the values of a decimal array in 128 bits, and whether they fit there.
func decimalValue(arr arrow.Array) func(i int) (decimal128.Num, bool) {
	switch a := arr.(type) {
	case *array.Decimal32:
		return func(i int) (decimal128.Num, bool) { return decimal128.FromI64(int64(a.Value(i))), true }
	case *array.Decimal64:
		return func(i int) (decimal128.Num, bool) { return decimal128.FromI64(int64(a.Value(i))), true }
	case *array.Decimal128:
		return func(i int) (decimal128.Num, bool) { return a.Value(i), true }
	default:
		wide := arr.(*array.Decimal256)
		return func(i int) (decimal128.Num, bool) { return narrow(wide.Value(i)) }
	}
}

func narrow(v decimal256.Num) (decimal128.Num, bool) {
	w := v.Array()
	n := decimal128.New(int64(w[1]), w[0])
	return n, decimal256.FromDecimal128(n) == v
}

// powers are those of ten.
var powers = func() (p [maxIntegerDecimal + 1]int64) {
	p[0] = 1
	for i := range maxIntegerDecimal {
		p[i+1] = 10 * p[i]
	}
	return p
}()

// fits128 and fits256 guard against the one value whose negation is itself.
func fits128(v decimal128.Num, precision int32) bool {
	if low := int64(v.LowBits()); v.HighBits() == low>>63 && precision <= maxIntegerDecimal {
		return low > -powers[precision] && low < powers[precision]
	}
	return (v.Sign() >= 0 || v.Negate() != v) && v.FitsInPrecision(precision)
}

func fits256(v decimal256.Num, precision int32) bool {
	return (v.Sign() >= 0 || v.Negate() != v) && v.FitsInPrecision(precision)
}

func undictionary(a *array.Dictionary) (arrow.Array, error) {
	return compute.TakeArray(context.Background(), a.Dictionary(), a.Indices())
}

func structToStorage(a *array.Struct, t *arrow.StructType) (arrow.Array, error) {
	children := make([]arrow.Array, 0, a.NumField())
	defer func() {
		for _, c := range children {
			c.Release()
		}
	}()
	for i := range a.NumField() {
		c, err := toStorage(a.Field(i), t.Field(i).Type)
		if err != nil {
			return nil, err
		}
		children = append(children, c)
	}
	return build(t, a.Len(), a.NullN(), []*memory.Buffer{validity(a)}, children...), nil
}

// listToStorage makes a list of a list, fixed-size list or map. Nulls become empty: they may have elements.
func listToStorage(a array.ListLike, t arrow.DataType) (arrow.Array, error) {
	offsets, pieces, err := listPieces(a)
	if err != nil {
		return nil, err
	}
	values, err := gather(a.ListValues(), pieces)
	if err != nil {
		return nil, err
	}
	defer values.Release()
	elem, err := toStorage(values, t.(arrow.ListLikeType).Elem())
	if err != nil {
		return nil, err
	}
	defer elem.Release()
	if m, ok := t.(*arrow.MapType); ok && elem.(*array.Struct).Field(0).NullN() > 0 {
		return nil, fmt.Errorf("a key of %s is null", m)
	}
	buffers := []*memory.Buffer{validity(a), memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets))}
	return build(t, a.Len(), a.NullN(), buffers, elem), nil
}

// listPieces returns which elements lists have, in pieces, and where each list begins among them.
func listPieces(a array.ListLike) ([]int32, [][2]int64, error) {
	n := a.Len()
	offsets, pieces := make([]int32, n+1), make([][2]int64, 0, 1)
	if l, ok := a.(*array.List); ok && n > 0 && l.NullN() == 0 {
		own := l.Offsets()[l.Data().Offset():][:n+1]
		for i, o := range own {
			offsets[i] = o - own[0]
		}
		return offsets, append(pieces, [2]int64{int64(own[0]), int64(own[n])}), nil
	}
	var total int64
	for i := range n {
		if a.IsValid(i) {
			start, end := a.ValueOffsets(i)
			total += end - start
			switch last := len(pieces) - 1; {
			case start == end:
			case last >= 0 && pieces[last][1] == start:
				pieces[last][1] = end
			default:
				pieces = append(pieces, [2]int64{start, end})
			}
		}
		if total > math.MaxInt32 {
			return nil, nil, fmt.Errorf("too many elements in a batch: %w", errRange)
		}
		offsets[i+1] = int32(total)
	}
	return offsets, pieces, nil
}

// gather returns the pieces [start, end) of arr, one after the other.
func gather(arr arrow.Array, pieces [][2]int64) (arrow.Array, error) {
	if len(pieces) == 0 {
		return array.NewSlice(arr, 0, 0), nil
	}
	if len(pieces) == 1 {
		return array.NewSlice(arr, pieces[0][0], pieces[0][1]), nil
	}
	slices := make([]arrow.Array, len(pieces))
	for i, p := range pieces {
		slices[i] = array.NewSlice(arr, p[0], p[1])
		defer slices[i].Release()
	}
	return array.Concatenate(slices, memory.DefaultAllocator)
}
