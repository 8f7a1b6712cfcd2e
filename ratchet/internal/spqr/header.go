package spqr

import (
	"encoding/binary"
	"math"

	"coldframe/internal/fault"
	"coldframe/ratchet/internal/erasure"
)

// version is the first byte of a header.
const version = 1

// payload says what chunk a header carries (section 7.5).
type payload uint8

const (
	payloadNone payload = iota
	payloadHeader
	payloadVector
	payloadVectorAck // a chunk of the vector, and c1 has arrived
	payloadAck       // c1 has arrived
	payloadC1
	payloadC2
	payloadEnd
)

func (p payload) hasChunk() bool { return p != payloadNone && p != payloadAck }

// header is what stands in a message beside its ciphertext: the epoch its sender is in, the number of the message key within the epoch
// before, and at most one chunk.
type header struct {
	epoch   uint64 // from 1
	number  uint32 // from 1; 0 in epoch 1 says that the message has no key
	payload payload
	chunk   uint16 // number of the chunk
	data    [erasure.ChunkSize]byte
}

// parseHeader reads a header of this version. What stands after it is ignored, as the reference does.
func parseHeader(b []byte) (header, error) {
	r := varints{rest: b[1:]}
	h := header{epoch: r.next(math.MaxUint64), number: uint32(r.next(math.MaxUint32))}
	h.payload = payload(r.next1())
	if h.payload.hasChunk() {
		h.chunk = uint16(r.next(math.MaxUint16))
		r.fill(h.data[:])
	}
	if r.bad || h.epoch == 0 || h.payload >= payloadEnd {
		return header{}, fault.New(fault.NotAuthentic, "malformed post-quantum header")
	}
	return h, nil
}

func (h *header) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(append(b, version), h.epoch)
	b = binary.AppendUvarint(b, uint64(h.number))
	b = append(b, byte(h.payload))
	if h.payload.hasChunk() {
		b = append(binary.AppendUvarint(b, uint64(h.chunk)), h.data[:]...)
	}
	return b
}

// varints reads from the front of rest and remembers that something was missing or out of bounds.
type varints struct {
	rest []byte
	bad  bool
}

// next reads a varint of at most 10 bytes and at most the limit.
func (r *varints) next(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > limit {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *varints) next1() byte {
	var b [1]byte
	r.fill(b[:])
	return b[0]
}

func (r *varints) fill(out []byte) {
	if len(r.rest) < len(out) {
		r.bad, r.rest = true, nil
		return
	}
	r.rest = r.rest[copy(out, r.rest):]
}
