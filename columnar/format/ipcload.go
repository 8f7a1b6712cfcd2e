package format

import (
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// loader makes arrays of canonical types from the rows of a batch in a store. Everything is copied and checked on the way: no array
// refers to a byte that the sender chose the place of.
type loader struct {
	body   io.ReaderAt
	dicts  map[int64]*dictionary
	budget int64 // bytes that may still be allocated
}

const cutBytes = 24 << 20 // budget of one batch

var errCut = errors.New("format: the rows are too large together")

// wrongData is what is wrong with the values of a column.
type wrongData string

func (w wrongData) Error() string { return string(w) }

const (
	errShort   = wrongData("a buffer is too short")
	errOffsets = wrongData("its offsets are not in order")
	errText    = wrongData("a string is not UTF-8")
	errRange   = wrongData("a value is outside the range of its type")
)

func (l *loader) spend(n int64) error {
	if l.budget -= n; l.budget < 0 {
		return errCut
	}
	return nil
}

// bytes reads n bytes at off of a piece.
func (l *loader) bytes(p piece, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > p.len-n {
		return nil, errShort
	}
	if err := l.spend(n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err := l.body.ReadAt(b, p.off+off)
	if err == io.EOF {
		err = errShort
	}
	return b, err
}

// validity returns the validity bitmap of rows off to off+n, nil if all are valid, and the number of nulls.
func (l *loader) validity(c *column, off, n int64) (bitmap []byte, nulls int, err error) {
	if len(c.bufs) == 0 || c.bufs[0].len == 0 {
		if c.nulls > 0 {
			return nil, 0, errShort
		}
		return nil, 0, nil
	}
	bitmap, err = l.bits(c.bufs[0], off, n)
	if err != nil {
		return nil, 0, err
	}
	nulls = int(n) - bitutil.CountSetBits(bitmap, 0, int(n))
	if nulls == 0 {
		bitmap = nil
	}
	return bitmap, nulls, nil
}

// bits reads n bits at bit off.
func (l *loader) bits(p piece, off, n int64) ([]byte, error) {
	raw, err := l.bytes(p, off/8, (off+n+7)/8-off/8)
	if err != nil || off%8 == 0 {
		return raw, err
	}
	out := make([]byte, (n+7)/8)
	bitutil.CopyBitmap(raw, int(off%8), int(n), out, 0)
	return out, nil
}

func valid(bitmap []byte, i int) bool { return bitmap == nil || bitutil.BitIsSet(bitmap, i) }

func buffer(b []byte) *memory.Buffer {
	if b == nil {
		return nil
	}
	return memory.NewBufferBytes(b)
}

func arrayData(t arrow.DataType, n int64, nulls int, kids []arrow.ArrayData, bufs ...[]byte) arrow.ArrayData {
	buffers := make([]*memory.Buffer, len(bufs))
	for i, b := range bufs {
		buffers[i] = buffer(b)
	}
	return array.NewData(t, int(n), buffers, kids, nulls, 0)
}

// load returns rows off to off+n of a column as canonical type t.
func (l *loader) load(c *column, t arrow.DataType, off, n int64) (arrow.ArrayData, error) {
	if off < 0 || n < 0 || off > c.length-n {
		return nil, errShort
	}
	if err := l.spend(64); err != nil { // what the array itself takes
		return nil, err
	}
	if c.wire.dict {
		return l.encoded(c, t, off, n)
	}
	switch w := c.wire.Type.(type) {
	case *arrow.NullType:
		return array.NewData(arrow.Null, int(n), []*memory.Buffer{nil}, nil, int(n), 0), l.spend(n) // no bytes, but work for the reader
	case *arrow.BooleanType:
		bitmap, nulls, err := l.validity(c, off, n)
		if err != nil {
			return nil, err
		}
		values, err := l.bits(c.bufs[1], off, n)
		return arrayData(t, n, nulls, nil, bitmap, values), err
	case *arrow.StringType, *arrow.BinaryType:
		return l.binary(c, t, off, n, 4)
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		return l.binary(c, t, off, n, 8)
	case *arrow.StringViewType, *arrow.BinaryViewType:
		return l.views(c, t, off, n)
	case *arrow.StructType:
		return l.structs(c, t.(*arrow.StructType), off, n)
	case *arrow.ListType, *arrow.MapType:
		return l.lists(c, t, off, n, 4)
	case *arrow.LargeListType:
		return l.lists(c, t, off, n, 8)
	case *arrow.ListViewType:
		return l.listViews(c, t, off, n, 4)
	case *arrow.LargeListViewType:
		return l.listViews(c, t, off, n, 8)
	case *arrow.FixedSizeListType:
		return l.fixedLists(c, t, off, n, int64(w.Len()))
	case *arrow.RunEndEncodedType:
		return l.runs(c, t, off, n)
	}
	return l.fixed(c, t, off, n)
}

// offsets reads n+1 offsets of size 4 or 8 from row off on, checked to be in order and at most limit.
func (l *loader) offsets(p piece, off, n, size, limit int64) ([]int64, error) {
	if n == 0 { // the buffer may be missing then
		return []int64{0}, nil
	}
	out, err := l.integers(p, off, n+1, size)
	if err != nil {
		return nil, err
	}
	last := int64(0)
	for _, o := range out {
		if o < last {
			return nil, errOffsets
		}
		last = o
	}
	if last > limit {
		return nil, errOffsets
	}
	return out, nil
}

// integers reads n signed integers of size 2, 4 or 8 bytes from index off on.
func (l *loader) integers(p piece, off, n, size int64) ([]int64, error) {
	raw, err := l.bytes(p, off*size, n*size)
	if err != nil {
		return nil, err
	}
	if err := l.spend(8 * n); err != nil {
		return nil, err
	}
	out := make([]int64, n)
	for i := range out {
		switch size {
		case 2:
			out[i] = int64(int16(binary.LittleEndian.Uint16(raw[2*i:])))
		case 4:
			out[i] = int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		default:
			out[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
	}
	return out, nil
}

// asBytes is a slice's memory, which Arrow takes as little-endian, as the machines that this runs on are.
func asBytes[T int16 | int32 | int64 | uint64](v []T) []byte {
	if len(v) == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(v[0])))
}

// binary loads strings and binaries with offsets of size 4 or 8.
func (l *loader) binary(c *column, t arrow.DataType, off, n, size int64) (arrow.ArrayData, error) {
	bitmap, nulls, err := l.validity(c, off, n)
	if err != nil {
		return nil, err
	}
	offsets, err := l.offsets(c.bufs[1], off, n, size, c.bufs[2].len)
	if err != nil {
		return nil, err
	}
	first := offsets[0]
	values, err := l.bytes(c.bufs[2], first, offsets[len(offsets)-1]-first)
	if err != nil {
		return nil, err
	}
	b := textBuilder{text: t.ID() == arrow.STRING, offsets: make([]int32, 1, n+1)}
	if nulls == 0 {
		for _, o := range offsets[1:] {
			b.offsets = append(b.offsets, int32(o-first))
		}
		b.values = values
	} else { // what lies under a null is left out
		for i := range int(n) {
			if valid(bitmap, i) {
				b.values = append(b.values, values[offsets[i]-first:offsets[i+1]-first]...)
			}
			b.offsets = append(b.offsets, int32(len(b.values)))
		}
	}
	if b.text && !b.isText() {
		return nil, errText
	}
	return arrayData(t, n, nulls, nil, bitmap, asBytes(b.offsets), b.values), nil
}

type textBuilder struct {
	text    bool
	offsets []int32
	values  []byte
}

// isText reports whether every value is UTF-8: all of them together are, and none begins inside a character.
func (b *textBuilder) isText() bool {
	if !utf8.Valid(b.values) {
		return false
	}
	for _, o := range b.offsets {
		if int(o) < len(b.values) && !utf8.RuneStart(b.values[o]) {
			return false
		}
	}
	return true
}

// views loads strings and binaries in the view layout: 16 bytes a value, the value itself inside when it has at most 12.
func (l *loader) views(c *column, t arrow.DataType, off, n int64) (arrow.ArrayData, error) {
	bitmap, nulls, err := l.validity(c, off, n)
	if err != nil {
		return nil, err
	}
	views, err := l.bytes(c.bufs[1], off*16, n*16)
	if err != nil {
		return nil, err
	}
	if err := l.spend(4 * n); err != nil {
		return nil, err
	}
	b := textBuilder{offsets: make([]int32, 1, n+1)}
	for i := range int(n) {
		if valid(bitmap, i) {
			v := views[16*i : 16*i+16]
			size := int64(int32(binary.LittleEndian.Uint32(v)))
			switch {
			case size < 0:
				return nil, errOffsets
			case size <= 12:
				b.values = append(b.values, v[4:4+size]...)
			default:
				which, at := int64(int32(binary.LittleEndian.Uint32(v[8:]))), int64(int32(binary.LittleEndian.Uint32(v[12:])))
				if which < 0 || which >= int64(len(c.bufs)-2) {
					return nil, errOffsets
				}
				long, err := l.bytes(c.bufs[2+which], at, size)
				if err != nil {
					return nil, err
				}
				b.values = append(b.values, long...)
			}
		}
		b.offsets = append(b.offsets, int32(len(b.values)))
	}
	if t.ID() == arrow.STRING && !b.isText() {
		return nil, errText
	}
	return arrayData(t, n, nulls, nil, bitmap, asBytes(b.offsets), b.values), nil
}

func (l *loader) structs(c *column, t *arrow.StructType, off, n int64) (arrow.ArrayData, error) {
	bitmap, nulls, err := l.validity(c, off, n)
	if err != nil {
		return nil, err
	}
	kids := make([]arrow.ArrayData, len(c.kids))
	for i, k := range c.kids {
		if kids[i], err = l.load(k, t.Field(i).Type, off, n); err != nil {
			return nil, err
		}
		if !t.Field(i).Nullable && hasNull(kids[i], bitmap) {
			return nil, wrongData("field " + shorten(t.Field(i).Name) + " is declared not null and has nulls")
		}
	}
	return arrayData(t, n, nulls, kids, bitmap), nil
}

// hasNull reports whether d has a null where the bitmap above it says valid.
func hasNull(d arrow.ArrayData, above []byte) bool {
	if d.NullN() == 0 {
		return false
	}
	if d.DataType().ID() == arrow.NULL {
		return d.Len() > 0
	}
	own := d.Buffers()[0].Bytes()
	for i := range d.Len() {
		if valid(above, i) && !valid(own, i+d.Offset()) {
			return true
		}
	}
	return false
}
