package columnar

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// levelBytes is what a value costs while it is encoded, whatever its type: its levels, and where its element is.
const levelBytes = 4

// rawSize returns about how many bytes the values of arr take in memory, counting only the rows that arr shows.
func rawSize(arr arrow.Array) int64 {
	n := int64(arr.Len())
	size := (n + 7) / 8
	switch a := arr.(type) {
	case array.BinaryLike:
		return size + int64(len(a.ValueBytes())) + 4*n
	case *array.Struct:
		for i := range a.NumField() {
			size += rawSize(a.Field(i))
		}
		return size
	case *array.Dictionary:
		return size + dictionarySize(a)
	case array.ExtensionArray:
		return rawSize(a.Storage())
	case array.ListLike:
		return size + 4*n + elementSize(a)
	}
	if f, ok := arr.DataType().(arrow.FixedWidthDataType); ok {
		size += n * int64(f.BitWidth()) / 8
	}
	return size
}

func elementSize(a array.ListLike) int64 {
	if a.Len() == 0 {
		return 0
	}
	first, _ := a.ValueOffsets(0)
	_, last := a.ValueOffsets(a.Len() - 1)
	values := array.NewSlice(a.ListValues(), first, last)
	defer values.Release()
	return rawSize(values)
}

// dictionarySize counts each value as often as it is there: that is what they become before they are encoded.
func dictionarySize(a *array.Dictionary) int64 {
	n, values := int64(a.Len()), int64(a.Dictionary().Len())
	if values == 0 {
		return 4 * n
	}
	b, ok := a.Dictionary().(array.BinaryLike)
	if !ok {
		return n * (rawSize(a.Dictionary())/values + 1)
	}
	size := 4 * n
	for i := range a.Len() {
		if a.IsValid(i) {
			size += int64(b.ValueLen(a.GetValueIndex(i)))
		}
	}
	return size
}

// leafValues returns the number of values that arr has in Parquet, over all of its leaves: an empty or null list has one.
func leafValues(arr arrow.Array) int64 {
	n := int64(arr.Len())
	switch a := arr.(type) {
	case *array.Struct:
		n = 0
		for i := range a.NumField() {
			n += leafValues(a.Field(i))
		}
	case array.ExtensionArray:
		return leafValues(a.Storage())
	case array.ListLike:
		if n == 0 {
			return 0
		}
		first, _ := a.ValueOffsets(0)
		_, last := a.ValueOffsets(a.Len() - 1)
		values := array.NewSlice(a.ListValues(), first, last)
		defer values.Release()
		n += leafValues(values)
	}
	return n
}

// batchSize returns about how many bytes a batch takes while it is encoded.
func batchSize(rec arrow.RecordBatch) int64 {
	var size int64
	for _, c := range rec.Columns() {
		size += rawSize(c) + levelBytes*leafValues(c)
	}
	return size
}
