package ratchet

import "encoding/binary"

// Wire types of protobuf. Messages have numbers and bytes only; the others occur in fields that are not known here.
const (
	protoNumber   = 0
	protoFixed64  = 1
	protoBytes    = 2
	protoGroup    = 3
	protoGroupEnd = 4
	protoFixed32  = 5

	protoKnown     = 9         // fields have numbers below this, if they are known
	protoMaxNumber = 1<<29 - 1 // the largest number of a field
	protoMaxDepth  = 100       // groups within groups, as in the protobuf libraries
)

// protoSet is a set of field numbers: bit n stands for number n.
type protoSet uint16

func protoSetOf(numbers ...uint) (s protoSet) {
	for _, n := range numbers {
		s |= 1 << n
	}
	return s
}

func (s protoSet) has(number uint64) bool { return number < protoKnown && s>>number&1 == 1 }

// protoFields is a message taken apart: the last value of each known field. The bytes are views of the message.
type protoFields struct {
	present protoSet
	numbers [protoKnown]uint32
	bytes   [protoKnown][]byte
}

// parse takes apart a message whose fields may come in any order. It skips the fields that are in neither set and reports whether all is
// well formed. A known field of another wire type is not, and neither is a number above 32 bits, which protobuf would cut: no sender
// makes these.
func (f *protoFields) parse(b []byte, numbers, strings protoSet) bool {
	for len(b) > 0 {
		number, kind, rest, ok := cutProtoTag(b)
		if !ok {
			return false
		}
		switch {
		case numbers.has(number):
			var v uint64
			v, b, ok = cutProtoNumber(rest)
			if !ok || kind != protoNumber || v > 1<<32-1 {
				return false
			}
			f.numbers[number] = uint32(v)
			f.present |= 1 << number
		case strings.has(number):
			f.bytes[number], b, ok = cutProtoBytes(rest)
			if !ok || kind != protoBytes {
				return false
			}
			f.present |= 1 << number
		default:
			if b, ok = skipProto(rest, number, kind, 0); !ok {
				return false
			}
		}
	}
	return true
}

// skipProto returns what follows the value of an unknown field.
func skipProto(b []byte, number uint64, kind byte, depth int) (rest []byte, ok bool) {
	switch kind {
	case protoNumber:
		_, rest, ok = cutProtoNumber(b)
	case protoBytes:
		_, rest, ok = cutProtoBytes(b)
	case protoFixed64:
		rest, ok = skipProtoFixed(b, 8)
	case protoFixed32:
		rest, ok = skipProtoFixed(b, 4)
	case protoGroup:
		rest, ok = skipProtoGroup(b, number, depth+1)
	}
	return rest, ok
}

func skipProtoFixed(b []byte, size int) (rest []byte, ok bool) {
	if len(b) < size {
		return nil, false
	}
	return b[size:], true
}

// skipProtoGroup returns what follows the end of group number, whose start was read.
func skipProtoGroup(b []byte, number uint64, depth int) (rest []byte, ok bool) {
	for depth <= protoMaxDepth {
		n, kind, inner, ok := cutProtoTag(b)
		if !ok || kind == protoGroupEnd {
			return inner, ok && n == number
		}
		if b, ok = skipProto(inner, n, kind, depth); !ok {
			return nil, false
		}
	}
	return nil, false
}

func cutProtoTag(b []byte) (number uint64, kind byte, rest []byte, ok bool) {
	tag, rest, ok := cutProtoNumber(b)
	number = tag >> 3
	return number, byte(tag & 7), rest, ok && number >= 1 && number <= protoMaxNumber
}

// cutProtoNumber takes a number off, of at most 10 bytes and 64 bits. It need not be the shortest form.
func cutProtoNumber(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func cutProtoBytes(b []byte) (value, rest []byte, ok bool) {
	n, rest, ok := cutProtoNumber(b)
	if !ok || n > uint64(len(rest)) {
		return nil, nil, false
	}
	return rest[:n:n], rest[n:], true
}

func appendProtoNumber(b []byte, number byte, v uint32) []byte {
	return binary.AppendUvarint(append(b, number<<3|protoNumber), uint64(v))
}

func appendProtoBytes(b []byte, number byte, value []byte) []byte {
	return append(appendProtoSize(b, number, len(value)), value...)
}

// appendProtoSize begins a field of size bytes.
func appendProtoSize(b []byte, number byte, size int) []byte {
	return binary.AppendUvarint(append(b, number<<3|protoBytes), uint64(size))
}
