package pme

import "encoding/binary"

// encoder writes Thrift compact bytes. Fields of a struct come in rising order of their numbers; a struct that is begun is ended.
type encoder struct {
	b     []byte
	last  int16
	outer []int16
}

func (e *encoder) header(id int16, typ byte) {
	if delta := int(id) - int(e.last); delta > 0 && delta <= 15 {
		e.b = append(e.b, byte(delta)<<4|typ)
	} else {
		e.b = append(e.b, typ)
		e.b = binary.AppendVarint(e.b, int64(id))
	}
	e.last = id
}

// field copies a field as it was read, which keeps fields that this package does not know.
func (e *encoder) field(f field) {
	e.header(f.id, f.typ)
	e.b = append(e.b, f.raw...)
}

func (e *encoder) integer(id int16, typ byte, v int64) {
	e.header(id, typ)
	e.b = binary.AppendVarint(e.b, v)
}

func (e *encoder) binary(id int16, v []byte) {
	e.header(id, tBinary)
	e.element(v)
}

// element appends a string as it stands in a list.
func (e *encoder) element(v []byte) {
	e.b = binary.AppendUvarint(e.b, uint64(len(v)))
	e.b = append(e.b, v...)
}

func (e *encoder) boolean(id int16, v bool) {
	if v {
		e.header(id, tTrue)
	} else {
		e.header(id, tFalse)
	}
}

func (e *encoder) list(id int16, elem byte, n int) {
	e.header(id, tList)
	if n < 15 {
		e.b = append(e.b, byte(n)<<4|elem)
		return
	}
	e.b = append(e.b, 0xf0|elem)
	e.b = binary.AppendUvarint(e.b, uint64(n))
}

// begin starts the struct of field id.
func (e *encoder) begin(id int16) {
	e.header(id, tStruct)
	e.beginElement()
}

// beginElement starts a struct as it stands in a list.
func (e *encoder) beginElement() {
	e.outer = append(e.outer, e.last)
	e.last = 0
}

// end closes the struct begun last; the outermost one needs no begin.
func (e *encoder) end() {
	e.b = append(e.b, 0)
	if n := len(e.outer); n > 0 {
		e.last = e.outer[n-1]
		e.outer = e.outer[:n-1]
	}
}
