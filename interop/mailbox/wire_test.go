package mailbox

import (
	"encoding/binary"
	"math"

	"coldframe/daemon/messages"
)

type (
	body = messages.Body
	head = messages.Head
)

// encode writes a body as docs/messages.md says, with nothing of the code that it is compared with.
func encode(b body, random []byte) []byte {
	inner := begin(nil, array, 5)
	inner = append(begin(inner, byteString, len(b.ID)), b.ID[:]...)
	inner = append(begin(inner, textString, len(b.Kind)), b.Kind...)
	inner = encodeHeads(encodeHeads(inner, b.Heads), b.Echoes)
	inner = append(begin(inner, byteString, len(b.Payload)), b.Payload...)
	out := append([]byte(nil), random[:16]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(inner)))
	out = append(out, inner...)
	return append(out, make([]byte, padme(len(out))-len(out))...)
}

func encodeHeads(out []byte, list []head) []byte {
	out = begin(out, array, len(list))
	for _, h := range list {
		out = begin(out, array, 4)
		out = append(begin(out, textString, len(h.Type)), h.Type...)
		out = append(begin(out, textString, len(h.ID)), h.ID...)
		out = begin(out, unsigned, int(h.Sequence))
		out = append(begin(out, byteString, len(h.Hash)), h.Hash[:]...)
	}
	return out
}

// Major types of CBOR (RFC 8949, section 3.1).
const (
	unsigned   = 0
	byteString = 2
	textString = 3
	array      = 4
)

// begin writes a major type with its argument, in the shortest form.
func begin(out []byte, major byte, n int) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(out, major|byte(n))
	case n <= math.MaxUint8:
		return append(out, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(out, major|25), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(out, major|26), uint32(n))
}

// padme returns the least length from n on with floor(log2(floor(log2 n))) + 1 significant bits.
func padme(n int) int {
	exponent := math.Floor(math.Log2(float64(n)))
	significant := math.Floor(math.Log2(exponent)) + 1
	step := math.Exp2(exponent - significant)
	return int(math.Ceil(float64(n)/step) * step)
}
