package pme

import (
	"encoding/binary"

	"coldframe/internal/fault"
)

// Types of the Thrift compact protocol, as they stand in field and list headers.
const (
	tTrue   = 1
	tFalse  = 2
	tByte   = 3
	tI16    = 4
	tI32    = 5
	tI64    = 6
	tDouble = 7
	tBinary = 8
	tList   = 9
	tSet    = 10
	tMap    = 11
	tStruct = 12
	tUUID   = 13
)

// maxNesting bounds how deep structs, lists and maps may stand inside one another. Parquet itself needs eight.
const maxNesting = 32

// field is one field of a struct: its value is left encoded. The value of a boolean is its type and raw is empty.
type field struct {
	id  int16
	typ byte
	raw []byte
}

func errThrift(what string) error { return fault.New(fault.NotAuthentic, "damaged metadata: %s", what) }

// eachField calls fn for the fields of the struct at the start of b and returns how many bytes the struct takes. Nothing is allocated.
func eachField(b []byte, fn func(f field) error) (int, error) {
	s := scanner{b: b}
	last := int16(0)
	for {
		id, typ, err := s.fieldHeader(last)
		if err != nil {
			return 0, err
		}
		if typ == 0 {
			return s.i, nil
		}
		start := s.i
		if err := s.skip(typ, 1); err != nil {
			return 0, err
		}
		if err := fn(field{id: id, typ: typ, raw: b[start:s.i:s.i]}); err != nil {
			return 0, err
		}
		last = id
	}
}

// fields is eachField for a struct that fills b, zero padding aside (one widespread writer pads its modules).
func fields(b []byte, fn func(f field) error) error {
	_, err := eachField(b, fn)
	return err
}

// eachElement calls fn for the elements of the list f, which must hold elements of type typ.
func eachElement(f field, typ byte, limit int, fn func(i int, raw []byte) error) error {
	if f.typ != tList && f.typ != tSet {
		return errThrift("a list has another type")
	}
	s := scanner{b: f.raw}
	elem, n, err := s.listHeader()
	if err != nil {
		return err
	}
	if n > limit {
		return fault.New(fault.TooLarge, "a list of %d elements, %d allowed", n, limit)
	}
	if n > 0 && elem != typ {
		return errThrift("a list holds another type")
	}
	for i := range n {
		start := s.i
		if err := s.skipElement(elem, 1); err != nil {
			return err
		}
		if err := fn(i, s.b[start:s.i:s.i]); err != nil {
			return err
		}
	}
	return nil
}

// listLen returns the number of elements of the list f.
func listLen(f field) (int, error) {
	if f.typ != tList && f.typ != tSet {
		return 0, errThrift("a list has another type")
	}
	s := scanner{b: f.raw}
	_, n, err := s.listHeader()
	return n, err
}

// integer returns the value of an i16, i32 or i64 field; bits is the width that the field must have.
func (f field) integer(typ byte) (int64, error) {
	if f.typ != typ {
		return 0, errThrift("a number has another type")
	}
	v, n := binary.Varint(f.raw)
	if n != len(f.raw) {
		return 0, errThrift("a number is damaged")
	}
	if typ == tI32 && int64(int32(v)) != v || typ == tI16 && int64(int16(v)) != v {
		return 0, errThrift("a number is out of range")
	}
	return v, nil
}

// binary returns the content of a string or binary field, a view into the buffer.
func (f field) binary() ([]byte, error) {
	if f.typ != tBinary {
		return nil, errThrift("a string has another type")
	}
	return binaryValue(f.raw)
}

// binaryValue returns the content of an encoded string, a view into the buffer.
func binaryValue(raw []byte) ([]byte, error) {
	s := scanner{b: raw}
	n, err := s.length()
	if err != nil {
		return nil, err
	}
	return raw[s.i : s.i+n : s.i+n], nil
}

// boolean returns the value of a boolean field.
func (f field) boolean() (bool, error) {
	if f.typ != tTrue && f.typ != tFalse {
		return false, errThrift("a boolean has another type")
	}
	return f.typ == tTrue, nil
}

// nested returns the bytes of a struct field.
func (f field) nested() ([]byte, error) {
	if f.typ != tStruct {
		return nil, errThrift("a struct has another type")
	}
	return f.raw, nil
}

// scanner walks over Thrift compact bytes without building anything from them.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) byte() (byte, error) {
	if s.i >= len(s.b) {
		return 0, errThrift("it ends early")
	}
	s.i++
	return s.b[s.i-1], nil
}

func (s *scanner) uvarint() (uint64, error) {
	v, n := binary.Uvarint(s.b[s.i:])
	if n <= 0 {
		return 0, errThrift("a number is damaged")
	}
	s.i += n
	return v, nil
}

// length reads the size of a string, or of a list, and checks that so many bytes are left.
func (s *scanner) length() (int, error) {
	v, err := s.uvarint()
	if err != nil {
		return 0, err
	}
	if v > uint64(len(s.b)-s.i) {
		return 0, fault.New(fault.TooLarge, "damaged metadata: a size of %d where %d bytes are left", v, len(s.b)-s.i)
	}
	return int(v), nil
}

// fieldHeader reads the header of a field; type 0 ends the struct.
func (s *scanner) fieldHeader(last int16) (id int16, typ byte, err error) {
	h, err := s.byte()
	if err != nil || h == 0 {
		return 0, 0, err
	}
	typ = h & 0x0f
	if typ == 0 || typ > tUUID {
		return 0, 0, errThrift("a field of unknown type")
	}
	if delta := int16(h >> 4); delta != 0 {
		if last > 0x7fff-delta {
			return 0, 0, errThrift("a field number is out of range")
		}
		return last + delta, typ, nil
	}
	v, n := binary.Varint(s.b[s.i:])
	if n <= 0 || int64(int16(v)) != v {
		return 0, 0, errThrift("a field number is out of range")
	}
	s.i += n
	return int16(v), typ, nil
}

func (s *scanner) listHeader() (elem byte, n int, err error) {
	h, err := s.byte()
	if err != nil {
		return 0, 0, err
	}
	elem = h & 0x0f
	if elem == 0 || elem > tUUID {
		return 0, 0, errThrift("a list of unknown type")
	}
	if n = int(h >> 4); n < 15 {
		if n > len(s.b)-s.i {
			return 0, 0, errThrift("it ends early")
		}
		return elem, n, nil
	}
	n, err = s.length() // an element takes at least a byte, so a longer list cannot be whole
	return elem, n, err
}

// skip passes over a field's value.
func (s *scanner) skip(typ byte, depth int) error {
	if typ == tTrue || typ == tFalse {
		return nil
	}
	return s.skipElement(typ, depth)
}

// skipElement passes over a value in a list or map, where a boolean takes a byte.
func (s *scanner) skipElement(typ byte, depth int) error {
	if depth > maxNesting {
		return fault.New(fault.TooLarge, "damaged metadata: nested deeper than %d", maxNesting)
	}
	switch typ {
	case tTrue, tFalse, tByte:
		return s.advance(1)
	case tI16, tI32, tI64:
		_, err := s.uvarint()
		return err
	case tDouble:
		return s.advance(8)
	case tUUID:
		return s.advance(16)
	case tBinary:
		n, err := s.length()
		s.i += n
		return err
	case tList, tSet:
		return s.skipList(depth)
	case tMap:
		return s.skipMap(depth)
	case tStruct:
		return s.skipStruct(depth)
	}
	return errThrift("a value of unknown type")
}

func (s *scanner) advance(n int) error {
	if n > len(s.b)-s.i {
		return errThrift("it ends early")
	}
	s.i += n
	return nil
}

func (s *scanner) skipList(depth int) error {
	elem, n, err := s.listHeader()
	if err != nil {
		return err
	}
	for range n {
		if err := s.skipElement(elem, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) skipMap(depth int) error {
	n, err := s.length()
	if err != nil || n == 0 {
		return err
	}
	kv, err := s.byte()
	if err != nil {
		return err
	}
	for range n {
		if err := s.skipElement(kv>>4, depth+1); err != nil {
			return err
		}
		if err := s.skipElement(kv&0x0f, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) skipStruct(depth int) error {
	last := int16(0)
	for {
		id, typ, err := s.fieldHeader(last)
		if err != nil || typ == 0 {
			return err
		}
		if err := s.skip(typ, depth+1); err != nil {
			return err
		}
		last = id
	}
}
