package format

import (
	"errors"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// dictionary is the values that indices refer to, as far as they were sent. Strings and binaries are kept once each and without
// nulls, which Parquet demands; remap leads from the sender's index to ours.
type dictionary struct {
	wire  *wireField
	dtype arrow.DataType

	values arrow.Array // other types: as sent
	length int64

	remap   []int32 // -1: null
	known   map[string]int32
	text    []byte
	offsets []int32
	whole   arrow.ArrayData // of text and offsets, made when asked for
}

func (d *dictionary) plain() bool {
	return d.dtype.ID() == arrow.STRING || d.dtype.ID() == arrow.BINARY
}

// size is about what d takes in memory.
func (d *dictionary) size() int {
	n := 4*len(d.remap) + 64*len(d.known) + 2*len(d.text)
	if d.values != nil {
		n += arrayBytes(d.values)
	}
	return n
}

// dictionary reads a DictionaryBatch: values that replace those of an id, or with isDelta follow them.
func (r *arrowReader) dictionary(m ipcMessage) error {
	d := r.dicts[m.header.i64(0)]
	rb, ok := m.header.table(1)
	if d == nil || !ok {
		return badMessage("a dictionary that the schema does not name")
	}
	bufs, err := r.fetch(m, rb)
	if err != nil {
		return err
	}
	defer func() { r.rows, r.next, r.columns = 0, 0, nil }()
	p := parts{nodes: rb.vector(1, 16), variadic: rb.vector(4, 8), bufs: bufs}
	n := rb.i64(0)
	cols, err := p.columns([]*wireField{d.wire}, n)
	if err != nil {
		return err
	}
	if m.header.f.bad || !p.used() {
		return errBatch()
	}
	l := &loader{body: &r.body, dicts: r.dicts, budget: 2 * maxDictBytes}
	data, err := l.load(cols[0], d.dtype, 0, n)
	if errors.Is(err, errCut) || n > maxDictBytes {
		return dictTooLarge()
	} else if err != nil {
		return inColumn(err, d.wire.Name)
	}
	if m.header.i8(2, 0) == 0 {
		*d = dictionary{wire: d.wire, dtype: d.dtype}
	}
	if err := d.add(array.MakeFromData(data)); err != nil {
		return err
	}
	total := 0
	for _, d := range r.dicts {
		total += d.size()
	}
	if total > 2*maxDictBytes {
		return dictTooLarge()
	}
	return nil
}

func dictTooLarge() error {
	return fault.New(fault.TooLarge, "the dictionaries are larger than %d bytes together; send the columns as plain strings", maxDictBytes)
}

// add appends the values of arr.
func (d *dictionary) add(arr arrow.Array) error {
	d.length += int64(arr.Len())
	if !d.plain() {
		if d.values == nil {
			d.values = arr
			return nil
		}
		data, err := concatenate([]arrow.Array{d.values, arr})
		if err == nil {
			d.values = array.MakeFromData(data)
		}
		return err
	}
	if d.known == nil {
		d.known = map[string]int32{}
		d.offsets = []int32{0}
	}
	value := plainBytes(arr)
	for i := range arr.Len() {
		if arr.IsNull(i) {
			d.remap = append(d.remap, -1)
			continue
		}
		v := value(i)
		at, ok := d.known[string(v)]
		if !ok {
			at = int32(len(d.offsets) - 1)
			d.known[string(v)] = at
			d.text = append(d.text, v...)
			d.offsets = append(d.offsets, int32(len(d.text)))
		}
		d.remap = append(d.remap, at)
	}
	d.whole = nil
	return nil
}

func plainBytes(arr arrow.Array) func(int) []byte {
	if s, ok := arr.(*array.String); ok {
		return func(i int) []byte { return []byte(s.Value(i)) }
	}
	return arr.(*array.Binary).Value
}

// data returns the values of a plain dictionary. Those added later do not change it: they follow in memory.
func (d *dictionary) data() arrow.ArrayData {
	if d.whole == nil {
		if d.offsets == nil {
			d.offsets = []int32{0}
		}
		n := int64(len(d.offsets) - 1)
		d.whole = arrayData(d.dtype, n, 0, nil, nil, asBytes(d.offsets), d.text)
	}
	return d.whole
}

// encoded loads a dictionary column: with its dictionary where the canonical type has one, else the values.
func (l *loader) encoded(c *column, t arrow.DataType, off, n int64) (arrow.ArrayData, error) {
	d := l.dicts[c.wire.dictID]
	bitmap, _, err := l.validity(c, off, n)
	if err != nil {
		return nil, err
	}
	index := c.wire.Type.(*arrow.DictionaryType).IndexType
	indices, err := l.indices(c.bufs[1], index, off, n)
	if err != nil {
		return nil, err
	}
	nulls := 0
	for i, v := range indices {
		switch {
		case !valid(bitmap, i):
			v = -1
		case v < 0 || v >= d.length:
			return nil, wrongData("an index is outside of its dictionary")
		case d.plain():
			v = int64(d.remap[v])
		}
		if v < 0 {
			nulls++
		}
		indices[i] = v
	}
	if t.ID() == arrow.DICTIONARY {
		return d.keep(t, indices, nulls), nil
	}
	values := d.values
	if d.plain() {
		values = array.MakeFromData(d.data())
	}
	if values == nil {
		values = array.MakeArrayOfNull(memory.DefaultAllocator, t, 0)
	}
	return l.take(values, t, indices)
}

// keep makes a dictionary array of type t.
func (d *dictionary) keep(t arrow.DataType, indices []int64, nulls int) arrow.ArrayData {
	out := make([]int32, len(indices))
	var bitmap []byte
	if nulls > 0 {
		bitmap = make([]byte, (len(indices)+7)/8)
	}
	for i, v := range indices {
		if v >= 0 {
			out[i] = int32(v)
			if bitmap != nil {
				bitmap[i/8] |= 1 << (i % 8)
			}
		}
	}
	bufs := []*memory.Buffer{buffer(bitmap), memory.NewBufferBytes(asBytes(out))}
	return array.NewDataWithDictionary(t, len(indices), bufs, nulls, 0, d.data().(*array.Data))
}

// indices reads n indices of any integer type; one that an int64 does not hold comes out negative, and so outside.
func (l *loader) indices(p piece, t arrow.DataType, off, n int64) ([]int64, error) {
	size := int64(t.(arrow.FixedWidthDataType).Bytes())
	if size > 1 {
		v, err := l.integers(p, off, n, size)
		if t.ID() == arrow.UINT16 || t.ID() == arrow.UINT32 {
			for i := range v {
				v[i] &= 1<<(8*size) - 1
			}
		}
		return v, err
	}
	raw, err := l.bytes(p, off, n)
	if err != nil {
		return nil, err
	}
	out := make([]int64, n)
	for i, b := range raw {
		out[i] = int64(b)
		if t.ID() == arrow.INT8 {
			out[i] = int64(int8(b))
		}
	}
	return out, nil
}
