package columnar

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/internal/parquetguard"
)

// errIndexes says that a batch has more distinct values than the index type of a dictionary counts: smaller batches have fewer.
var errIndexes = errors.New("more distinct values than the dictionary's index type counts")

// fromStorage undoes toStorage: it returns arr, as read from Parquet, as an array of type t. The caller releases it. What can become
// larger than arr comes out of mem.
func fromStorage(mem *parquetguard.Budget, arr arrow.Array, t arrow.DataType) (arrow.Array, error) {
	if relabels(t) {
		d := relabel(arr.Data(), t)
		defer d.Release()
		return array.MakeFromData(d), nil
	}
	switch t := t.(type) {
	case *arrow.Time32Type:
		if t.Unit == arrow.Second {
			return millisToSeconds(arr, t)
		}
	case *arrow.TimestampType:
		if t.Unit == arrow.Second {
			return millisToSeconds(arr, t)
		}
	case *arrow.Decimal32Type, *arrow.Decimal64Type, *arrow.Decimal256Type:
		return decimalFromStorage(arr, t)
	case *arrow.DictionaryType:
		return dictionaryFromStorage(mem, arr, t)
	case arrow.ExtensionType:
		s, err := fromStorage(mem, arr, t.StorageType())
		if err != nil {
			return nil, err
		}
		defer s.Release()
		return array.NewExtensionArrayWithStorage(t, s), nil
	case *arrow.MapType:
		return listFromStorage(mem, arr, t)
	case *arrow.ListType:
		return listFromStorage(mem, arr, t)
	case *arrow.FixedSizeListType:
		return fixedListFromStorage(mem, arr.(*array.List), t)
	case *arrow.StructType:
		return structFromStorage(mem, arr.(*array.Struct), t)
	}
	if arr.DataType().Layout().Buffers == nil || !sameLayout(arr.DataType(), t) {
		return nil, fmt.Errorf("read %s, want %s", arr.DataType(), t)
	}
	return retype(arr, t), nil
}

// relabels reports whether a nested type is kept as it is, names and units aside.
func relabels(t arrow.DataType) bool {
	nested, ok := t.(arrow.NestedType)
	return ok && !slices.ContainsFunc(nested.Fields(), func(f arrow.Field) bool { return !keepsLayout(f.Type) }) && t.ID() != arrow.FIXED_SIZE_LIST
}

func keepsLayout(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.Time32Type:
		return t.Unit != arrow.Second
	case *arrow.TimestampType:
		return t.Unit != arrow.Second
	case *arrow.Decimal256Type:
		return t.Precision > 38
	case *arrow.Decimal32Type, *arrow.Decimal64Type, *arrow.DictionaryType:
		return false
	case arrow.ExtensionType:
		return keepsLayout(t.StorageType())
	case arrow.NestedType:
		return relabels(t)
	}
	return true
}

// relabel returns data of a type whose layout it has.
func relabel(d arrow.ArrayData, t arrow.DataType) arrow.ArrayData {
	layout := t
	for e, ok := layout.(arrow.ExtensionType); ok; e, ok = layout.(arrow.ExtensionType) {
		layout = e.StorageType()
	}
	var children []arrow.ArrayData
	if nested, ok := layout.(arrow.NestedType); ok {
		for i, f := range nested.Fields() {
			c := relabel(d.Children()[i], f.Type)
			defer c.Release()
			children = append(children, c)
		}
	}
	return array.NewData(t, d.Len(), d.Buffers(), children, d.NullN(), d.Offset())
}

// sameLayout reports whether arrays of the two flat types have the same buffers.
func sameLayout(a, b arrow.DataType) bool {
	if a.ID() == b.ID() {
		return true
	}
	wa, oka := a.(arrow.FixedWidthDataType)
	wb, okb := b.(arrow.FixedWidthDataType)
	return oka && okb && wa.BitWidth() == wb.BitWidth()
}

func millisToSeconds(arr arrow.Array, t arrow.DataType) (arrow.Array, error) {
	switch a := arr.(type) {
	case *array.Time32:
		out := make([]int32, a.Len())
		for i, v := range a.Time32Values() {
			out[i] = int32(v) / millisPerSecond
		}
		return build(t, a.Len(), a.NullN(), []*memory.Buffer{validity(a), memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(out))}), nil
	case *array.Timestamp:
		out := make([]int64, a.Len())
		for i, v := range a.TimestampValues() {
			out[i] = int64(v) / millisPerSecond
		}
		return build(t, a.Len(), a.NullN(), []*memory.Buffer{validity(a), memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(out))}), nil
	}
	return nil, fmt.Errorf("read %s, want %s", arr.DataType(), t)
}

func decimalFromStorage(arr arrow.Array, t arrow.DataType) (arrow.Array, error) {
	if arr.DataType().ID() == t.ID() {
		return retype(arr, t), nil
	}
	a, ok := arr.(*array.Decimal128)
	if !ok {
		return nil, fmt.Errorf("read %s, want %s", arr.DataType(), t)
	}
	var values []byte
	switch t.ID() {
	case arrow.DECIMAL32:
		values = arrow.Int32Traits.CastToBytes(decimalWords[int32](a))
	case arrow.DECIMAL64:
		values = arrow.Int64Traits.CastToBytes(decimalWords[int64](a))
	default:
		out := make([]decimal256.Num, a.Len())
		for i, v := range a.Values() {
			out[i] = decimal256.FromDecimal128(v)
		}
		values = arrow.Decimal256Traits.CastToBytes(out)
	}
	return build(t, a.Len(), a.NullN(), []*memory.Buffer{validity(a), memory.NewBufferBytes(values)}), nil
}

func decimalWords[T int32 | int64](a *array.Decimal128) []T {
	out := make([]T, a.Len())
	for i, v := range a.Values() {
		out[i] = T(v.LowBits())
	}
	return out
}

func structFromStorage(mem *parquetguard.Budget, a *array.Struct, t *arrow.StructType) (arrow.Array, error) {
	if a.NumField() != t.NumFields() {
		return nil, fmt.Errorf("read %s, want %s", a.DataType(), t)
	}
	children := make([]arrow.Array, 0, a.NumField())
	defer func() {
		for _, c := range children {
			c.Release()
		}
	}()
	for i := range a.NumField() {
		c, err := fromStorage(mem, a.Field(i), t.Field(i).Type)
		if err != nil {
			return nil, err
		}
		children = append(children, c)
	}
	return build(t, a.Len(), a.NullN(), []*memory.Buffer{validity(a)}, children...), nil
}

// elements returns the offsets of a list or map from 0 on, and the elements that they point into.
func elements(a array.ListLike) (offsets []int32, elem arrow.Array) {
	offsets = make([]int32, a.Len()+1)
	if a.Len() == 0 {
		return offsets, array.NewSlice(a.ListValues(), 0, 0)
	}
	first, _ := a.ValueOffsets(0)
	_, last := a.ValueOffsets(a.Len() - 1)
	for i := range a.Len() {
		_, end := a.ValueOffsets(i)
		offsets[i+1] = int32(end - first)
	}
	return offsets, array.NewSlice(a.ListValues(), first, last)
}

func listFromStorage(mem *parquetguard.Budget, arr arrow.Array, t arrow.DataType) (arrow.Array, error) {
	a, ok := arr.(array.ListLike)
	if !ok || arr.DataType().ID() != t.ID() {
		return nil, fmt.Errorf("read %s, want %s", arr.DataType(), t)
	}
	offsets, values := elements(a)
	defer values.Release()
	elem, err := fromStorage(mem, values, t.(arrow.ListLikeType).Elem())
	if err != nil {
		return nil, err
	}
	defer elem.Release()
	buffers := []*memory.Buffer{validity(arr), memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets))}
	return build(t, arr.Len(), arr.NullN(), buffers, elem), nil
}

// fixedListFromStorage puts elements back under the nulls, which have none in Parquet.
func fixedListFromStorage(mem *parquetguard.Budget, a *array.List, t *arrow.FixedSizeListType) (arrow.Array, error) {
	width := int64(t.Len())
	offsets, values := elements(a)
	defer values.Release()
	j := joiner{mem: mem}
	defer j.release()
	for start := 0; start < a.Len(); { // a run of nulls, or of lists
		end := start
		for ; end < a.Len() && a.IsValid(end) == a.IsValid(start); end++ {
			if n := int64(offsets[end+1] - offsets[end]); a.IsValid(end) && n != width {
				return nil, fmt.Errorf("a list of %d elements, want %d", n, width)
			}
		}
		run, err := array.NewSlice(values, int64(offsets[start]), int64(offsets[end])), error(nil)
		if a.IsNull(start) {
			run.Release()
			run, err = j.nulls(values.DataType(), int64(end-start)*width)
		}
		if err == nil {
			err = j.add(run)
		}
		if err != nil {
			return nil, err
		}
		start = end
	}
	whole, err := j.join(values)
	if err != nil {
		return nil, err
	}
	defer whole.Release()
	elem, err := fromStorage(mem, whole, t.Elem())
	if err != nil {
		return nil, err
	}
	defer elem.Release()
	return build(t, a.Len(), a.NullN(), []*memory.Buffer{validity(a)}, elem), nil
}

// dictionaryFromStorage finds the distinct values of arr, in order of appearance, and numbers them.
func dictionaryFromStorage(mem *parquetguard.Budget, arr arrow.Array, t *arrow.DictionaryType) (arrow.Array, error) {
	dense, err := fromStorage(mem, arr, t.ValueType)
	if err != nil {
		return nil, err
	}
	defer dense.Release()
	key, err := valueBytes(dense)
	if err != nil {
		return nil, err
	}
	numbers, firsts := map[string]uint64{}, []int64{}
	limit := uint64(1)<<indexBits(t.IndexType) - 1
	index := make([]uint64, dense.Len())
	for i := range dense.Len() {
		if dense.IsNull(i) {
			continue
		}
		k := key(i)
		n, ok := numbers[string(k)]
		if !ok {
			if n = uint64(len(firsts)); n > limit {
				return nil, errIndexes
			}
			numbers[string(k)] = n
			firsts = append(firsts, int64(i))
		}
		index[i] = n
	}
	positions := build(arrow.PrimitiveTypes.Int64, len(firsts), 0,
		[]*memory.Buffer{nil, memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(firsts))})
	defer positions.Release()
	values, err := compute.TakeArray(context.Background(), dense, positions)
	if err != nil {
		return nil, err
	}
	defer values.Release()
	indices := build(t.IndexType, dense.Len(), dense.NullN(), []*memory.Buffer{validity(dense), indexBuffer(index, t.IndexType)})
	defer indices.Release()
	return array.NewDictionaryArray(t, indices, values), nil
}

// indexBits returns how many bits of an index type count: one less if it has a sign.
func indexBits(t arrow.DataType) int {
	bits := t.(arrow.FixedWidthDataType).BitWidth()
	if arrow.IsSignedInteger(t.ID()) {
		bits--
	}
	return min(bits, 62)
}

func indexBuffer(index []uint64, t arrow.DataType) *memory.Buffer {
	width := t.(arrow.FixedWidthDataType).Bytes()
	b := make([]byte, len(index)*width)
	for i, n := range index {
		for j := range width {
			b[i*width+j] = byte(n >> (8 * j))
		}
	}
	return memory.NewBufferBytes(b)
}

// valueBytes returns the bytes that make a value of a flat array what it is.
func valueBytes(arr arrow.Array) (func(i int) []byte, error) {
	if arr.Len() == 0 {
		return nil, nil
	}
	switch a := arr.(type) {
	case *array.Boolean:
		return func(i int) []byte { return []byte{b2i(a.Value(i))} }, nil
	case array.BinaryLike:
		return binaryBytes(a), nil
	}
	f, ok := arr.DataType().(arrow.FixedWidthDataType)
	if !ok || f.BitWidth()%8 != 0 || f.BitWidth() > math.MaxInt32 {
		return nil, fmt.Errorf("a dictionary of %s", arr.DataType())
	}
	width, offset := f.Bytes(), arr.Data().Offset()
	b := arr.Data().Buffers()[1].Bytes()
	return func(i int) []byte { return b[(offset+i)*width : (offset+i+1)*width] }, nil
}

func b2i(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func binaryBytes(a array.BinaryLike) func(i int) []byte {
	bytes, base := a.ValueBytes(), a.ValueOffset64(0)
	return func(i int) []byte {
		start := a.ValueOffset64(i) - base
		return bytes[start : start+int64(a.ValueLen(i))]
	}
}
