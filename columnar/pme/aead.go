package pme

import (
	"crypto/aes"
	"crypto/cipher"
)

// newAEAD makes the cipher of a data key. Tests of this package set another one to count nonces or to measure what encryption costs;
// nothing else can.
var newAEAD = aesGCM

func aesGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
