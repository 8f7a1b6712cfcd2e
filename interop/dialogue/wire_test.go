package dialogue

import (
	"encoding/binary"
	"fmt"
)

// The numbers of the fields that the harness looks at (wire specification, section 8).
const (
	fieldPQRatchet    = 5 // of a SignalMessage
	fieldAddresses    = 6
	fieldInnerMessage = 4 // of a PreKeySignalMessage
)

// inner returns the SignalMessage that a message is or wraps: a slice of its body. Only its bytes are authenticated; what is around it in a
// first message counts for the handshake alone.
func (m message) inner() []byte {
	if m.kind == 2 {
		return m.body
	}
	b, err := field(m.body[1:], fieldInnerMessage)
	if err != nil {
		panic(err)
	}
	return b
}

// epoch returns the post-quantum epoch that the sender was in, which every message tells.
func (m message) epoch() int {
	b := m.inner()
	header, err := field(b[1:len(b)-8], fieldPQRatchet)
	if err != nil || len(header) < 2 || header[0] != 1 {
		panic(fmt.Sprintf("no post-quantum header: %x, %v", header, err))
	}
	epoch, _ := binary.Uvarint(header[1:])
	return int(epoch)
}

// field returns the first field of a number in a protobuf message of the wire types 0 and 2.
func field(b []byte, number uint64) ([]byte, error) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, fmt.Errorf("bad tag")
		}
		value, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return nil, fmt.Errorf("bad value")
		}
		b = b[n+m:]
		if tag&7 != 2 {
			continue
		}
		if value > uint64(len(b)) {
			return nil, fmt.Errorf("cut")
		}
		if tag>>3 == number {
			return b[:value], nil
		}
		b = b[value:]
	}
	return nil, fmt.Errorf("no field %d", number)
}

// unauthenticated reports whether byte i of a first message is one that nothing authenticates: the version byte or the registration id.
func (m message) unauthenticated(i int) bool {
	if i == 0 {
		return true
	}
	inner := m.inner()
	end := cap(m.body) - cap(inner) + len(inner) // of field 4; the registration id, field 5, comes next
	return i >= end && i < end+3
}
