package pme

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// AES-GCM does not commit to its key: bytes can be made that open under two. So each data key is committed to. The footer key's
// commitment is part of the file's unique identifier, which every module's associated data holds; those of the column keys stand
// inside the sealed footer. Other readers see an identifier of 48 bytes, and key-value metadata that they do not know.
const (
	saltSize       = 16
	commitmentSize = 32
	uniqueSize     = saltSize + commitmentSize
	commitLabel    = "coldframe/v1/parquet-data-key"
	footerIndex    = 1<<32 - 1

	// commitmentsKey names the key-value metadata with the commitments, in base64, of the leaf columns in order.
	commitmentsKey = "coldframe.key_commitments"
)

// commitment is HKDF-SHA-256(data key, salt, label ‖ 0 ‖ leaf number in 4 bytes, big endian).
func commitment(dek, salt []byte, leaf uint32) []byte {
	info := binary.BigEndian.AppendUint32(append([]byte(commitLabel), 0), leaf)
	c, err := hkdf.Key(sha256.New, dek, salt, string(info), commitmentSize)
	if err != nil {
		panic("pme: " + err.Error())
	}
	return c
}

// newUnique draws a file's unique identifier: salt ‖ commitment of the footer key.
func newUnique(footerDEK []byte) []byte {
	unique := make([]byte, saltSize, uniqueSize)
	_, _ = rand.Read(unique)
	return append(unique, commitment(footerDEK, unique[:saltSize], footerIndex)...)
}

// committed reports whether c is the commitment of dek.
func committed(c, dek, salt []byte, leaf uint32) bool {
	return subtle.ConstantTimeCompare(c, commitment(dek, salt, leaf)) == 1
}
