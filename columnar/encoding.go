package columnar

import (
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/parquet"

	"coldframe/internal/parquetguard"
)

// Sizes of what is looked at to choose an encoding.
const (
	sampleValues = 16 << 10 // values of the first row group
	minSample    = 64       // below that nothing is worth choosing

	// maxDictionary bounds the dictionary of a column chunk in bytes. Beyond it arrow-go would throw it away and begin anew.
	maxDictionary = 512 << 10
)

// encoding is how a leaf column is written.
type encoding struct {
	dictionary bool
	values     parquet.Encoding // if there is no dictionary
}

var plain = encoding{values: parquet.Encodings.Plain}

// chooseEncoding looks at the first values of a leaf and returns the encoding that makes it small without costing time:
//
//	dictionary            each value returns at least eight times and all fit a small dictionary
//	DELTA_BINARY_PACKED   integers and times whose steps take less than 3/4 of the bits of the values: sorted, or slowly changing
//	BYTE_STREAM_SPLIT     floats that zstd then makes at least 5 % smaller
//	PLAIN                 everything else
func chooseEncoding(leaf arrow.Array) encoding {
	if leaf.Len() > sampleValues {
		leaf = array.NewSlice(leaf, 0, sampleValues)
		defer leaf.Release()
	}
	if leaf.Len()-leaf.NullN() < minSample || leaf.DataType().ID() == arrow.BOOL {
		return plain
	}
	if values, width := integers(leaf); values != nil {
		delta, dict := deltaBits(values), dictionaryBits(leaf)
		switch {
		case dict > 0 && dict < delta && 4*dict < 3*float64(width):
			return encoding{dictionary: true}
		case 4*delta < 3*float64(width):
			return encoding{values: parquet.Encodings.DeltaBinaryPacked}
		}
		return plain
	}
	if dictionaryBits(leaf) > 0 {
		return encoding{dictionary: true}
	}
	if b, width := floats(leaf); b != nil && splitPays(b, width) {
		return encoding{values: parquet.Encodings.ByteStreamSplit}
	}
	return plain
}

// integers returns the values that Parquet keeps as INT32 or INT64, nulls left out, and their width in bits; or nil.
func integers(arr arrow.Array) (values []int64, width int) {
	width = 32
	var at func(i int) int64
	switch a := arr.(type) {
	case *array.Int8:
		at = func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int16:
		at = func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int32:
		at = func(i int) int64 { return int64(a.Value(i)) }
	case *array.Uint8:
		at = func(i int) int64 { return int64(a.Value(i)) }
	case *array.Uint16:
		at = func(i int) int64 { return int64(a.Value(i)) }
	case *array.Uint32:
		at = func(i int) int64 { return int64(int32(a.Value(i))) }
	case *array.Date32:
		at = func(i int) int64 { return int64(a.Value(i)) }
	case *array.Time32:
		at = func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int64:
		at, width = func(i int) int64 { return a.Value(i) }, 64
	case *array.Uint64:
		at, width = func(i int) int64 { return int64(a.Value(i)) }, 64
	case *array.Time64:
		at, width = func(i int) int64 { return int64(a.Value(i)) }, 64
	case *array.Timestamp:
		at, width = func(i int) int64 { return int64(a.Value(i)) }, 64
	case *array.Decimal128:
		precision := a.DataType().(*arrow.Decimal128Type).Precision
		if precision > maxIntegerDecimal {
			return nil, 0
		}
		if precision > 9 {
			width = 64
		}
		at = func(i int) int64 { return decimalWord(a.Value(i)) }
	default:
		return nil, 0
	}
	values = make([]int64, 0, arr.Len())
	for i := range arr.Len() {
		if arr.IsValid(i) {
			values = append(values, at(i))
		}
	}
	return values, width
}

// maxIntegerDecimal is the highest precision of decimals that Parquet keeps as integers.
const maxIntegerDecimal = 18

func decimalWord(n decimal128.Num) int64 { return int64(n.LowBits()) }

// deltaBits returns how many bits a value takes as DELTA_BINARY_PACKED: in miniblocks of 32, each as wide as its widest step above
// the smallest of the block of 128.
func deltaBits(values []int64) float64 {
	const block, mini = 128, 32
	var total int
	for start := 1; start < len(values); start += block {
		end := min(start+block, len(values))
		smallest := values[start] - values[start-1]
		for i := start; i < end; i++ {
			smallest = min(smallest, values[i]-values[i-1])
		}
		total += 64 + 4*8 // of the block's header
		for m := start; m < end; m += mini {
			widest := 0
			for i := m; i < min(m+mini, end); i++ {
				widest = max(widest, bits.Len64(uint64(values[i]-values[i-1]-smallest)))
			}
			total += widest * mini
		}
	}
	return float64(total) / float64(len(values))
}

// dictionaryBits returns how many bits a value takes with a dictionary, or 0 if one does not pay.
func dictionaryBits(arr arrow.Array) float64 {
	key, err := valueBytes(arr)
	if err != nil {
		return 0
	}
	n := arr.Len() - arr.NullN()
	distinct, size := map[string]struct{}{}, 0
	for i := range arr.Len() {
		if arr.IsNull(i) {
			continue
		}
		k := key(i)
		if _, ok := distinct[string(k)]; ok {
			continue
		}
		distinct[string(k)] = struct{}{}
		size += len(k) + 4
		if 8*len(distinct) > n || size > maxDictionary {
			return 0
		}
	}
	return float64(bits.Len(uint(len(distinct)-1))) + float64(8*size)/float64(n)
}

// floats returns the bytes of a float column, little endian, and the width of a value in bytes; or nil.
func floats(arr arrow.Array) ([]byte, int) {
	var width int
	switch arr.(type) {
	case *array.Float32:
		width = 4
	case *array.Float64:
		width = 8
	default:
		return nil, 0
	}
	b := arr.Data().Buffers()[1].Bytes()
	return b[arr.Data().Offset()*width : (arr.Data().Offset()+arr.Len())*width], width
}

// splitPays compares what zstd makes of the values as they are and of their bytes regrouped.
func splitPays(b []byte, width int) bool {
	split := make([]byte, len(b))
	n := len(b) / width
	for i := range n {
		for j := range width {
			split[j*n+i] = b[i*width+j]
		}
	}
	whole := len(parquetguard.Zstd.Encode(nil, b))
	return 20*len(parquetguard.Zstd.Encode(nil, split)) < 19*whole
}

// leafArrays returns the leaves of a storage array, in Parquet's order.
func leafArrays(arr arrow.Array) []arrow.Array {
	switch a := arr.(type) {
	case array.ListLike:
		return leafArrays(a.ListValues())
	case *array.Struct:
		var leaves []arrow.Array
		for i := range a.NumField() {
			leaves = append(leaves, leafArrays(a.Field(i))...)
		}
		return leaves
	}
	return []arrow.Array{arr}
}
