package columnar

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"coldframe/internal/fault"
	"coldframe/internal/parquetguard"
)

// joinAtOnce is how many arrays a joiner holds: each takes some hundred bytes, however few values are in it.
const joinAtOnce = 1024

// joiner puts arrays of one type together, of which there may be very many.
type joiner struct {
	mem            *parquetguard.Budget
	pieces, blocks []arrow.Array
}

// add takes an array over.
func (j *joiner) add(a arrow.Array) error {
	if j.pieces = append(j.pieces, a); len(j.pieces) < joinAtOnce {
		return nil
	}
	return j.flush()
}

func (j *joiner) flush() error {
	block, err := array.Concatenate(j.pieces, j.mem)
	if err != nil {
		return err
	}
	releaseAll(j.pieces)
	j.pieces = j.pieces[:0]
	j.blocks = append(j.blocks, block)
	return nil
}

// join returns what was added, in order; nothing of empty's type if that was nothing. The caller releases it.
func (j *joiner) join(empty arrow.Array) (arrow.Array, error) {
	if len(j.blocks) > 0 && len(j.pieces) > 0 {
		if err := j.flush(); err != nil {
			return nil, err
		}
	}
	switch all := append(j.blocks, j.pieces...); len(all) {
	case 0:
		return array.NewSlice(empty, 0, 0), nil
	case 1:
		all[0].Retain()
		return all[0], nil
	default:
		return array.Concatenate(all, j.mem)
	}
}

func (j *joiner) release() {
	releaseAll(j.pieces)
	releaseAll(j.blocks)
}

// nulls returns n nulls of a storage type.
func (j *joiner) nulls(t arrow.DataType, n int64) (arrow.Array, error) {
	if n > math.MaxInt32 { // more than a list counts
		return nil, fault.New(fault.TooLarge, "fixed-size lists of %d nulls", n)
	}
	return nulls(j.mem, t, int(n)), nil
}

func nulls(mem *parquetguard.Budget, t arrow.DataType, n int) arrow.Array {
	b := array.NewBuilder(mem, t)
	defer b.Release()
	b.AppendNulls(n)
	return b.NewArray()
}
