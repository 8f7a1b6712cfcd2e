package chunk

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar/pme"
)

// Physical types, their numbers in parquet.thrift.
const (
	physBoolean, physInt32, physInt64, physFloat, physDouble, physBytes, physFixed = 0, 1, 2, 4, 5, 6, 7
)

// valuesOf returns what collects the values of a leaf; the physical type has to be the one that is written for its type.
func (d *decoder) valuesOf(n *layoutNode) (valueDecoder, error) {
	e := n.element
	switch t := n.typ.(type) {
	case *arrow.NullType:
		return noValues{}, nil
	case *arrow.BooleanType:
		if e.Physical == physBoolean {
			return &booleans{decoder: d, out: growing{mem: d.mem}}, nil
		}
	case *arrow.StringType, *arrow.BinaryType:
		if e.Physical == physBytes {
			return newStrings(d), nil
		}
	case arrow.FixedWidthDataType:
		f := &fixed{decoder: d, width: t.BitWidth() / 8, out: growing{mem: d.mem}, delta: e.Physical == physInt32 || e.Physical == physInt64}
		f.stored, f.convert = conversion(t, f.width, e)
		if f.stored > 0 {
			return f, nil
		}
	}
	return nil, errSchema
}

// conversion returns the width of a physical value in bytes, and what makes values of a type of n of them; nil if they are the same. The
// width is 0 if the type is never written so.
func conversion(t arrow.DataType, width int, e pme.Element) (stored int, convert func(dst, src []byte)) {
	id := t.ID()
	isDecimal := id == arrow.DECIMAL128 || id == arrow.DECIMAL256
	switch {
	case e.Physical == physFixed && isDecimal && e.Length > 0 && e.Length <= int64(width):
		return int(e.Length), func(dst, src []byte) { bigEndian(dst, src, width, int(e.Length)) }
	case e.Physical == physFixed && (id == arrow.FIXED_SIZE_BINARY || id == arrow.FLOAT16) && e.Length == int64(width):
		return width, nil
	case e.Physical == physFloat && id == arrow.FLOAT32, e.Physical == physInt32 && width == 4 && wholeNumbers(id):
		return 4, nil
	case e.Physical == physDouble && id == arrow.FLOAT64, e.Physical == physInt64 && width == 8 && wholeNumbers(id):
		return 8, nil
	case e.Physical == physInt32 && width == 1 && wholeNumbers(id):
		return 4, narrow8
	case e.Physical == physInt32 && width == 2 && wholeNumbers(id):
		return 4, narrow16
	case e.Physical == physInt32 && id == arrow.DECIMAL128:
		return 4, widen32
	case e.Physical == physInt64 && id == arrow.DECIMAL128:
		return 8, widen64
	}
	return 0, nil
}

// wholeNumbers reports whether Parquet keeps values of a type as integers.
func wholeNumbers(id arrow.Type) bool {
	return arrow.IsInteger(id) || id == arrow.DATE32 || id == arrow.TIME32 || id == arrow.TIME64 || id == arrow.TIMESTAMP
}

func narrow8(dst, src []byte) {
	for i := range dst {
		dst[i] = src[4*i]
	}
}

func narrow16(dst, src []byte) {
	for i := 0; i < len(dst); i += 2 {
		dst[i], dst[i+1] = src[2*i], src[2*i+1]
	}
}

func widen32(dst, src []byte) {
	for i := 0; i < len(src); i += 4 {
		v := int64(int32(binary.LittleEndian.Uint32(src[i:])))
		to := dst[4*i : 4*i+16]
		binary.LittleEndian.PutUint64(to, uint64(v))
		binary.LittleEndian.PutUint64(to[8:], uint64(v>>63))
	}
}

func widen64(dst, src []byte) {
	for i := 0; i < len(src); i += 8 {
		v := int64(binary.LittleEndian.Uint64(src[i:]))
		to := dst[2*i : 2*i+16]
		binary.LittleEndian.PutUint64(to, uint64(v))
		binary.LittleEndian.PutUint64(to[8:], uint64(v>>63))
	}
}

// bigEndian makes little-endian integers of width bytes of big-endian ones of n, in two's complement.
func bigEndian(dst, src []byte, width, n int) {
	for len(src) > 0 {
		for i := range n {
			dst[i] = src[n-1-i]
		}
		fill(dst[n:width], byte(int8(src[0])>>7))
		dst, src = dst[width:], src[n:]
	}
}

// fixed collects values of one width.
type fixed struct {
	*decoder
	width   int // of a value in Arrow, in bytes
	stored  int // of one in Parquet
	convert func(dst, src []byte)
	delta   bool // whether differences may be written
	out     growing
	dict    []byte // as in Arrow
}

func (f *fixed) release() {
	f.out.release()
	f.mem.Free(f.dict)
	f.dict = nil
}

func (f *fixed) buffers(n int) []*memory.Buffer {
	f.mem.Free(f.dict)
	return []*memory.Buffer{f.out.buffer(n * f.width)}
}

func (f *fixed) dictionary(body []byte, n int) error {
	if n > len(body)/f.stored {
		return errShort
	}
	f.dict = f.mem.Allocate(n * f.width)
	f.put(f.dict, body[:n*f.stored])
	return nil
}

func (f *fixed) put(dst, stored []byte) {
	if f.convert == nil {
		copy(dst, stored)
		return
	}
	f.convert(dst, stored)
}

func (f *fixed) grow(s slotRange) []byte {
	f.out.grow((s.at+s.n)*f.width, s.more*f.width)
	return f.out.b[s.at*f.width:]
}

// place implements direct.
func (f *fixed) place(encoding int64, s slotRange, size int) []byte {
	if encoding != encodingPlain || f.convert != nil || size != s.n*f.width {
		return nil
	}
	return f.grow(s)
}

func (f *fixed) page(encoding int64, body []byte, s slotRange) error {
	all := f.grow(s)
	if s.valid == 0 {
		return nil
	}
	if err := f.dense(encoding, body, all[:s.valid*f.width]); err != nil {
		return err
	}
	if s.validity != nil {
		f.spread(all, s)
	}
	return nil
}

// dense fills dst with the values of a page.
func (f *fixed) dense(encoding int64, body, dst []byte) error {
	n := len(dst) / f.width
	switch {
	case encoding == encodingPlain:
		if n > len(body)/f.stored {
			return errShort
		}
		f.put(dst, body[:n*f.stored])
		return nil
	case encoding == encodingDictionary, encoding == encodingPlainDict:
		return f.gather(body, dst)
	case encoding == encodingDelta && f.delta:
		return f.through(dst, n, func(b []byte) error { return deltas(b, f.stored, body) })
	case encoding == encodingSplit:
		if n > len(body)/f.stored {
			return errShort
		}
		return f.through(dst, n, func(b []byte) error { join(b, body, f.stored); return nil })
	}
	return errEncoding(encoding)
}

// through has fn make n stored values, and dst of them.
func (f *fixed) through(dst []byte, n int, fn func(stored []byte) error) error {
	if f.convert == nil {
		return fn(dst)
	}
	b, give := f.room(&f.words, n*f.stored)
	defer give()
	if err := fn(b); err != nil {
		return err
	}
	f.convert(dst, b)
	return nil
}

// gather looks values up in the dictionary.
func (f *fixed) gather(body, dst []byte) error {
	r, err := indices(body)
	if err != nil {
		return err
	}
	for len(dst) > 0 {
		index := f.index[:min(indexBlock, len(dst)/f.width)]
		if err := readRuns(&r, index); err != nil {
			return err
		}
		if !f.lookUp(dst, index) {
			return errIndex
		}
		dst = dst[len(index)*f.width:]
	}
	return nil
}

// indices returns the indices of a page, whose first byte is their width.
func indices(body []byte) (runs, error) {
	if len(body) == 0 {
		return runs{}, errShort
	}
	if body[0] > 32 {
		return runs{}, damaged("indices of %d bits", body[0])
	}
	return runs{b: body[1:], width: int(body[0])}, nil
}

var errIndex = damaged("an index beyond its dictionary")

func (f *fixed) lookUp(dst []byte, index []uint32) bool {
	switch f.width {
	case 1:
		return lookUp(dst, f.dict, index)
	case 2:
		return lookUp(arrow.Uint16Traits.CastFromBytes(dst), arrow.Uint16Traits.CastFromBytes(f.dict), index)
	case 4:
		return lookUp(arrow.Uint32Traits.CastFromBytes(dst), arrow.Uint32Traits.CastFromBytes(f.dict), index)
	case 8:
		return lookUp(arrow.Uint64Traits.CastFromBytes(dst), arrow.Uint64Traits.CastFromBytes(f.dict), index)
	case 16:
		return lookUp(arrow.Decimal128Traits.CastFromBytes(dst), arrow.Decimal128Traits.CastFromBytes(f.dict), index)
	}
	w, n := f.width, uint32(len(f.dict)/f.width)
	for i, x := range index {
		if x >= n {
			return false
		}
		copy(dst[i*w:(i+1)*w], f.dict[int(x)*w:])
	}
	return true
}

func lookUp[T any](dst, dict []T, index []uint32) bool {
	dst = dst[:len(index)]
	for i, x := range index {
		if int(x) >= len(dict) {
			return false
		}
		dst[i] = dict[x]
	}
	return true
}

// spread moves the values at the start of b into the valid ones of the slots, and zeros into the others.
func (f *fixed) spread(b []byte, s slotRange) {
	switch f.width {
	case 1:
		spread(b, s, 0)
	case 2:
		spread(arrow.Uint16Traits.CastFromBytes(b), s, 0)
	case 4:
		spread(arrow.Uint32Traits.CastFromBytes(b), s, 0)
	case 8:
		spread(arrow.Uint64Traits.CastFromBytes(b), s, 0)
	case 16:
		spread(arrow.Decimal128Traits.CastFromBytes(b), s, decimal128.Num{})
	default:
		w, zero := f.width, make([]byte, f.width)
		for i, j := s.n-1, s.valid-1; i > j; i-- {
			from := zero
			if s.has(i) {
				from = b[j*w : (j+1)*w]
				j--
			}
			copy(b[i*w:(i+1)*w], from)
		}
	}
}

// spread moves the first values of b to their slots, from the end on, and null into the slots that have none.
func spread[T any](b []T, s slotRange, null T) {
	for i, j := s.n-1, s.valid-1; i > j; i-- {
		if s.has(i) {
			b[i] = b[j]
			j--
			continue
		}
		b[i] = null
	}
}
