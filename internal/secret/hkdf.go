package secret

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

// hkdf is HKDF-SHA-256 (RFC 5869) without salt, for one block of output, in memory that is wiped afterwards. The standard library
// leaves the key, the pseudorandom key and the output in buffers and hash states that nobody can reach any more.
//
// SHA-256 keeps of its input only what does not fill a block, and copies that to the stack when it is asked for a sum. So messages
// are padded here (FIPS 180-4 section 5.1.1), written in whole blocks, and the sum is read from the state.
type hkdf struct {
	h       hash.Hash
	key     []byte // of HMAC, 32 bytes
	sum     []byte // of the last hash
	state   []byte // room for the state of h
	message []byte // room for a padded message
}

const (
	hmacInner, hmacOuter = 0x36, 0x5c // RFC 2104 section 2

	stateSize = 108 // of a marshaled SHA-256: magic, sum so far, unfinished block, length
	stateSum  = 4   // where the sum so far begins

	maxPadding = 1 + 63 + 8
)

// newHKDF makes room, in one piece that never moves, for messages of the given length.
func newHKDF(longest int) *hkdf {
	room := make([]byte, 2*KeySize+stateSize+sha256.BlockSize+max(longest, KeySize)+maxPadding)
	take := func(n int) []byte {
		part := room[:n:n]
		room = room[n:]
		return part
	}
	return &hkdf{h: sha256.New(), key: take(KeySize), sum: take(sha256.Size), state: take(stateSize), message: room}
}

func (d *hkdf) wipe() {
	for _, b := range [][]byte{d.key, d.sum, d.state, d.message} {
		Wipe(b)
	}
}

// extract is HKDF-Extract with the salt that stands for none: zeros.
func (d *hkdf) extract(secret []byte) {
	clear(d.key)
	d.hmac(secret)
	copy(d.key, d.sum)
}

// expand is HKDF-Expand up to its first block, which it returns: a view, gone with wipe.
func (d *hkdf) expand(info []byte) []byte {
	d.hmac(info, []byte{1})
	return d.sum
}

// hmac is HMAC-SHA-256 (RFC 2104) under d.key, into d.sum.
func (d *hkdf) hmac(message ...[]byte) {
	d.hash(hmacInner, message...)
	d.hash(hmacOuter, d.sum)
}

// hash hashes the key block and the parts, into d.sum.
func (d *hkdf) hash(pad byte, parts ...[]byte) {
	m := d.message[:0]
	for _, b := range d.key {
		m = append(m, b^pad)
	}
	for len(m) < sha256.BlockSize {
		m = append(m, pad)
	}
	for _, part := range parts {
		m = append(m, part...)
	}
	bits := uint64(len(m)) * 8
	for m = append(m, 0x80); len(m)%sha256.BlockSize != sha256.BlockSize-8; {
		m = append(m, 0)
	}
	m = binary.BigEndian.AppendUint64(m, bits)

	d.h.Reset()
	_, _ = d.h.Write(m)
	state, err := d.h.(encoding.BinaryAppender).AppendBinary(d.state[:0])
	if err != nil || len(state) != stateSize {
		panic("secret: SHA-256 has another state than it had")
	}
	d.h.Reset()
	copy(d.sum, state[stateSum:])
}
