package erasure

import (
	"encoding/binary"

	"coldframe/internal/fault"
)

// The stored form of a decoder: size of the stream in bytes (2, big-endian) ‖ count of the chunks (1) ‖ for each chunk, in the order it
// was added, number (2, big-endian) ‖ chunk (32). A decoder has one form only. The longest is 1,227 bytes.
const (
	storedHead  = 3
	storedChunk = 2 + ChunkSize
)

// AppendTo appends the stored form to b.
func (d Decoder) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(d.size))
	b = append(b, byte(d.count()))
	from := len(b)
	b = append(b, make([]byte, d.count()*storedChunk)...)
	for n := d.last; n != nil; n = n.before { // the last first
		entry := b[from+int(n.count-1)*storedChunk:]
		binary.BigEndian.PutUint16(entry, n.number)
		copy(entry[2:], n.chunk[:])
	}
	return b
}

// ParseDecoder reads the stored form that b begins with and returns what follows it. What AppendTo cannot have made is
// fault.NotAuthentic; so is the form of the zero Decoder.
func ParseDecoder(b []byte) (d Decoder, rest []byte, err error) {
	if len(b) < storedHead {
		return Decoder{}, nil, fault.New(fault.NotAuthentic, "a stored decoder is cut off")
	}
	size, count := int(binary.BigEndian.Uint16(b)), int(b[2])
	b = b[storedHead:]
	if !validSize(size) || count > size/ChunkSize || len(b) < count*storedChunk {
		return Decoder{}, nil, fault.New(fault.NotAuthentic, "a stored decoder has an impossible size")
	}
	d = Decoder{size: size}
	nodes := make([]node, count)
	for i := range nodes {
		nodes[i].number = binary.BigEndian.Uint16(b)
		copy(nodes[i].chunk[:], b[2:])
		if d.has(nodes[i].number) {
			return Decoder{}, nil, fault.New(fault.NotAuthentic, "a stored decoder has a chunk twice")
		}
		d = d.with(&nodes[i])
		b = b[storedChunk:]
	}
	return d, b, nil
}
