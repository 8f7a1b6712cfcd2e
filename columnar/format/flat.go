package format

import (
	"encoding/binary"
	"math"
)

// flat reads a FlatBuffer whose bytes nobody has checked. Every access is bounded; the first one that leaves the buffer marks it bad,
// and from then on everything reads as absent.
type flat struct {
	b    []byte
	bad  bool
	text int // bytes of strings read so far
}

// fbTable is a table: the place of its fields' offsets, and its own.
type fbTable struct {
	f         *flat
	pos       int
	vtab, len int
}

// fbVector is a vector of n elements from pos on, all inside the buffer.
type fbVector struct {
	f      *flat
	pos, n int
}

func (f *flat) span(at, n int) []byte {
	if f.bad || at < 0 || n < 0 || at > len(f.b)-n {
		f.bad = true
		return nil
	}
	return f.b[at : at+n]
}

func (f *flat) u16(at int) int {
	if b := f.span(at, 2); b != nil {
		return int(binary.LittleEndian.Uint16(b))
	}
	return 0
}

func (f *flat) u32(at int) int {
	if b := f.span(at, 4); b != nil {
		return int(binary.LittleEndian.Uint32(b))
	}
	return 0
}

func (f *flat) i64(at int) int64 {
	if b := f.span(at, 8); b != nil {
		return int64(binary.LittleEndian.Uint64(b))
	}
	return 0
}

func (f *flat) root() fbTable { return f.table(f.u32(0)) }

func (f *flat) table(pos int) fbTable {
	vtab := pos - int(int32(uint32(f.u32(pos))))
	return fbTable{f: f, pos: pos, vtab: vtab, len: f.u16(vtab)}
}

// at returns the place of field i, 0 if it is absent.
func (t fbTable) at(i int) int {
	slot := 4 + 2*i
	if t.f.bad || slot+2 > t.len {
		return 0
	}
	if off := t.f.u16(t.vtab + slot); off != 0 {
		return t.pos + off
	}
	return 0
}

func (t fbTable) i8(i, absent int) int {
	if at := t.at(i); at != 0 {
		if b := t.f.span(at, 1); b != nil {
			return int(int8(b[0]))
		}
	}
	return absent
}

func (t fbTable) i16(i, absent int) int {
	if at := t.at(i); at != 0 {
		return int(int16(uint16(t.f.u16(at))))
	}
	return absent
}

func (t fbTable) i32(i, absent int) int {
	if at := t.at(i); at != 0 {
		return int(int32(uint32(t.f.u32(at))))
	}
	return absent
}

func (t fbTable) i64(i int) int64 {
	if at := t.at(i); at != 0 {
		return t.f.i64(at)
	}
	return 0
}

// table returns the table that field i refers to.
func (t fbTable) table(i int) (fbTable, bool) {
	at := t.at(i)
	if at == 0 {
		return fbTable{f: t.f}, false
	}
	return t.f.table(at + t.f.u32(at)), !t.f.bad
}

// vector returns the vector that field i refers to, of elements of size bytes; an empty one if it is absent.
func (t fbTable) vector(i, size int) fbVector {
	v := fbVector{f: t.f}
	at := t.at(i)
	if at == 0 {
		return v
	}
	at += t.f.u32(at)
	n := t.f.u32(at)
	if n > math.MaxInt32 || t.f.span(at+4, n*size) == nil {
		t.f.bad = t.f.bad || n != 0
		return v
	}
	v.pos, v.n = at+4, n
	return v
}

// text returns field i as a string. A buffer in which many fields share one long string is refused: copying it for each would cost the
// square of what was sent.
func (t fbTable) text(i int) string {
	v := t.vector(i, 1)
	if t.f.text += v.n; t.f.text > 4*len(t.f.b) {
		t.f.bad = true
	}
	return string(t.f.span(v.pos, v.n))
}

// table returns the table that element i of a vector of offsets refers to.
func (v fbVector) table(i int) fbTable {
	at := v.pos + 4*i
	return v.f.table(at + v.f.u32(at))
}
