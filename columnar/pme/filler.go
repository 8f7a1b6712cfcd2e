package pme

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"io"
	"math/bits"

	"coldframe/internal/secret"
)

// padme returns the length to which an object of n bytes is filled up, so that its length tells little: at most 12 % more, less the
// larger the object (Padmé: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019).
func padme(n int64) int64 {
	if n < 2 {
		return n
	}
	e := bits.Len64(uint64(n)) - 1
	s := bits.Len64(uint64(e))
	mask := int64(1)<<(e-s) - 1
	return (n + mask) &^ mask
}

// writeFiller writes n bytes that nobody can tell from sealed modules: the AES-CTR keystream of a key that is thrown away.
func writeFiller(w io.Writer, n int64) error {
	if n == 0 {
		return nil
	}
	var key [32]byte
	_, _ = rand.Read(key[:])
	defer secret.Wipe(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return err
	}
	stream := cipher.NewCTR(block, make([]byte, aes.BlockSize)) //nolint:gosec // the key is used this once
	buf := make([]byte, min(n, 64<<10))
	for n > 0 {
		part := buf[:min(n, int64(len(buf)))]
		clear(part)
		stream.XORKeyStream(part, part)
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}
