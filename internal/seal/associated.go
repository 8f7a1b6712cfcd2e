package seal

import "encoding/binary"

// Major types of CBOR (RFC 8949 section 3.1), where they stand in the first byte of an item.
const (
	cborUnsigned = iota << 5
	_
	cborBytes
	cborText
	cborArray

	cborHeadSize = 9 // at most
)

// associate returns the associated data: the header up to and with the commitment, and the context, in core deterministic CBOR
// (RFC 8949 section 4.2.1). It is written by hand because every seal and open needs it.
func associate(header []byte, c Context) []byte {
	texts := [...]string{c.Owner, c.Type, c.ID, c.Field}
	size := (4 + len(texts)) * cborHeadSize
	for _, t := range texts {
		size += len(t)
	}
	b := make([]byte, 0, size+len(header))
	b = append(b, cborArray|2)
	b = append(appendHead(b, cborBytes, uint64(len(header))), header...)
	b = append(b, cborArray|byte(len(texts)+1))
	for _, t := range texts {
		b = append(appendHead(b, cborText, uint64(len(t))), t...)
	}
	return appendHead(b, cborUnsigned, c.Version)
}

// appendHead appends the head of an item in its shortest form.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}
