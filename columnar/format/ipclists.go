package format

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// span is a range of a child's rows.
type span struct{ start, n int64 }

// spans gathers the child rows of lists: neighbours are joined, and what lies under a null is left out.
type spans struct {
	all     []span
	offsets []int32
	total   int64
}

func newSpans(n int64) *spans { return &spans{offsets: make([]int32, 1, n+1)} }

func (s *spans) add(start, n int64, valid bool) error {
	if valid && n > 0 {
		if s.total += n; s.total > 1<<31-1 {
			return errCut
		}
		if k := len(s.all) - 1; k >= 0 && s.all[k].start+s.all[k].n == start {
			s.all[k].n += n
		} else {
			s.all = append(s.all, span{start, n})
		}
	}
	s.offsets = append(s.offsets, int32(s.total))
	return nil
}

// lists loads lists and maps with offsets of size 4 or 8.
func (l *loader) lists(c *column, t arrow.DataType, off, n, size int64) (arrow.ArrayData, error) {
	bitmap, nulls, err := l.validity(c, off, n)
	if err != nil {
		return nil, err
	}
	offsets, err := l.offsets(c.bufs[1], off, n, size, c.kids[0].length)
	if err != nil {
		return nil, err
	}
	s := newSpans(n)
	for i := range int(n) {
		if err := s.add(offsets[i], offsets[i+1]-offsets[i], valid(bitmap, i)); err != nil {
			return nil, err
		}
	}
	return l.gather(c, t, n, bitmap, nulls, s)
}

// listViews loads lists whose offset and length stand apart, in any order.
func (l *loader) listViews(c *column, t arrow.DataType, off, n, size int64) (arrow.ArrayData, error) {
	bitmap, nulls, err := l.validity(c, off, n)
	if err != nil {
		return nil, err
	}
	offsets, err := l.integers(c.bufs[1], off, n, size)
	if err != nil {
		return nil, err
	}
	lengths, err := l.integers(c.bufs[2], off, n, size)
	if err != nil {
		return nil, err
	}
	s := newSpans(n)
	for i, o := range offsets {
		if k := lengths[i]; valid(bitmap, i) && (o < 0 || k < 0 || o > c.kids[0].length-k) {
			return nil, errOffsets
		}
		if err := s.add(o, lengths[i], valid(bitmap, i)); err != nil {
			return nil, err
		}
	}
	return l.gather(c, t, n, bitmap, nulls, s)
}

func (l *loader) fixedLists(c *column, t arrow.DataType, off, n, width int64) (arrow.ArrayData, error) {
	bitmap, nulls, err := l.validity(c, off, n)
	if err != nil {
		return nil, err
	}
	s := newSpans(n)
	for i := range n {
		if err := s.add((off+i)*width, width, valid(bitmap, int(i))); err != nil {
			return nil, err
		}
	}
	return l.gather(c, t, n, bitmap, nulls, s)
}

// gather makes the list or map from its spans.
func (l *loader) gather(c *column, t arrow.DataType, n int64, bitmap []byte, nulls int, s *spans) (arrow.ArrayData, error) {
	if err := l.spend(4 * n); err != nil {
		return nil, err
	}
	kid, elem := c.kids[0], t.(arrow.ListLikeType).ElemField()
	if len(s.all) == 0 {
		s.all = []span{{0, 0}}
	}
	arrays := make([]arrow.Array, len(s.all))
	for i, r := range s.all {
		d, err := l.load(kid, elem.Type, r.start, r.n)
		if err != nil {
			return nil, err
		}
		arrays[i] = array.MakeFromData(d)
	}
	values, err := concatenate(arrays)
	if err != nil {
		return nil, err
	}
	if !elem.Nullable && t.ID() != arrow.MAP && values.NullN() > 0 {
		return nil, wrongData("an element is declared not null and is null")
	}
	if t.ID() == arrow.MAP && values.NullN() > 0 {
		return nil, wrongData("an entry of a map is null")
	}
	return arrayData(t, n, nulls, []arrow.ArrayData{values}, bitmap, asBytes(s.offsets)), nil
}

func concatenate(arrays []arrow.Array) (arrow.ArrayData, error) {
	if len(arrays) == 1 {
		return arrays[0].Data(), nil
	}
	a, err := array.Concatenate(arrays, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	return a.Data(), nil
}

// take returns the rows of values with the given indices, null for those below 0.
func (l *loader) take(values arrow.Array, t arrow.DataType, indices []int64) (arrow.ArrayData, error) {
	var arrays []arrow.Array
	for i := 0; i < len(indices); {
		from, k := indices[i], 1
		for i+k < len(indices) && (from < 0 && indices[i+k] < 0 || from >= 0 && indices[i+k] == from+int64(k)) {
			k++
		}
		var a arrow.Array
		if from < 0 {
			a = array.MakeArrayOfNull(memory.DefaultAllocator, t, k)
		} else {
			a = array.NewSlice(values, from, from+int64(k))
		}
		if err := l.spend(int64(arrayBytes(a)) + 64); err != nil {
			return nil, err
		}
		arrays = append(arrays, a)
		i += k
	}
	if len(arrays) == 0 {
		return array.MakeArrayOfNull(memory.DefaultAllocator, t, 0).Data(), nil
	}
	return concatenate(arrays)
}

// runs loads a run-end encoded column: the ends of the runs are in the first child, their values in the second.
func (l *loader) runs(c *column, t arrow.DataType, off, n int64) (arrow.ArrayData, error) {
	ends, size := c.kids[0], int64(c.kids[0].wire.Type.(arrow.FixedWidthDataType).Bytes())
	if ends.nulls > 0 {
		return nil, wrongData("an end of a run is null")
	}
	end := func(i int64) (int64, error) {
		v, err := l.integers(ends.bufs[1], i, 1, size)
		if err != nil {
			return 0, err
		}
		return v[0], nil
	}
	first, err := searchRun(ends.length, off, end)
	if err != nil {
		return nil, err
	}
	if err := l.spend(8 * n); err != nil {
		return nil, err
	}
	var indices []int64
	run := first
	for pos := off; pos < off+n; run++ {
		if run == ends.length {
			return nil, wrongData("its runs are shorter than the batch")
		}
		to, err := end(run)
		if err != nil {
			return nil, err
		}
		if to <= pos {
			return nil, wrongData("the ends of its runs are not in order")
		}
		for ; pos < min(to, off+n); pos++ {
			indices = append(indices, run-first)
		}
	}
	d, err := l.load(c.kids[1], t, first, run-first)
	if err != nil {
		return nil, err
	}
	return l.take(array.MakeFromData(d), t, indices)
}

// searchRun returns the first of n runs that ends after row.
func searchRun(n, row int64, end func(int64) (int64, error)) (int64, error) {
	lo, hi := int64(0), n
	for lo < hi {
		mid := lo + (hi-lo)/2
		v, err := end(mid)
		if err != nil {
			return 0, err
		}
		if v <= row {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}
