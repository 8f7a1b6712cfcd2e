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

// BlobHash names one version of a blob of a user:
//
//	SHA-256("coldframe/v1/coordinator/blob" ‖ 0 ‖ user (36) ‖ BE32(length of name) ‖ name ‖ BE64(counter) ‖ previous (32) ‖ nonce (16) ‖ body)
//
// where previous is the hash of the version before, zeroes for the first, and the nonce is random: two agents that swap in the same bytes
// still see who of them won.
func BlobHash(user, name string, counter uint64, previous [HashSize]byte, nonce [NonceSize]byte, body []byte) [HashSize]byte {
	h := sha256.New()
	h.Write([]byte("coldframe/v1/coordinator/blob\x00" + user))
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(name))))
	h.Write([]byte(name))
	h.Write(binary.BigEndian.AppendUint64(nil, counter))
	h.Write(previous[:])
	h.Write(nonce[:])
	h.Write(body)
	return [HashSize]byte(h.Sum(nil))
}
