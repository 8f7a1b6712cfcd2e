package coordinator

import (
	"crypto/sha256"
	"encoding/binary"
)

// HashSize is the length of the hash of a blob in bytes, NonceSize that of the nonce in a swap.
const (
	HashSize  = 32
	NonceSize = 16
)

// Header is what the hash of one version of a blob is made of. Headers of versions that follow one another show, without their bodies, that the last
// one descends from the first.
type Header struct {
	Counter  uint64
	Previous [HashSize]byte  // hash of the version before; zeroes if there is none
	Nonce    [NonceSize]byte // random: two agents that swap in the same bytes still see who of them won
	Body     [HashSize]byte  // BodyHash of the body; zeroes if this version is the deletion of the blob
}

// BodyHash is SHA-256 of a body.
func BodyHash(body []byte) [HashSize]byte { return sha256.Sum256(body) }

// Hash names one version of a blob of a user:
//
//	SHA-256("coldframe/v1/coordinator/blob" ‖ 0 ‖ user (36) ‖ BE32(length of name) ‖ name ‖ BE64(counter) ‖ previous (32) ‖ nonce (16) ‖ SHA-256(body) (32))
func (h Header) Hash(user, name string) [HashSize]byte {
	d := sha256.New()
	d.Write([]byte("coldframe/v1/coordinator/blob\x00" + user))
	d.Write(binary.BigEndian.AppendUint32(nil, uint32(len(name))))
	d.Write([]byte(name))
	d.Write(binary.BigEndian.AppendUint64(nil, h.Counter))
	d.Write(h.Previous[:])
	d.Write(h.Nonce[:])
	d.Write(h.Body[:])
	return [HashSize]byte(d.Sum(nil))
}

// BlobHash is the hash of a version that has a body.
func BlobHash(user, name string, counter uint64, previous [HashSize]byte, nonce [NonceSize]byte, body []byte) [HashSize]byte {
	return Header{Counter: counter, Previous: previous, Nonce: nonce, Body: BodyHash(body)}.Hash(user, name)
}
