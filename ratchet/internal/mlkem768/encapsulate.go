package mlkem768

import (
	"bytes"
	"crypto/sha3"

	"github.com/cloudflare/circl/pke/kyber/kyber768"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// EncapsulateFirst returns the first part of the ciphertext that carries m to the owner of header, and the shared secret. m is 32 new
// random bytes; the caller keeps it for EncapsulateSecond, and wipes it then. Any header has a c1: whether there is a key behind it is
// for EncapsulateSecond to find.
func EncapsulateFirst(header *[HeaderSize]byte, m *[MSize]byte) (c1 [C1Size]byte, shared [SecretSize]byte) {
	var public [VectorSize + rhoSize]byte // with a vector of zeros, as c1 does not depend on it
	copy(public[VectorSize:], header[:rhoSize])
	var key kyber768.PublicKey
	key.Unpack(public[:])
	hash := hashG(header, m)
	copy(shared[:], hash[:])
	ciphertext := encrypt(&key, m, &hash)
	copy(c1[:], ciphertext[:])
	secret.Wipe(ciphertext[:]) // c2 under a vector of zeros is m and a little noise
	return c1, shared
}

// EncapsulateSecond returns the second part of the ciphertext whose first part EncapsulateFirst made of header and m. The vector is
// fault.NotAuthentic if it is not the header's, has a coefficient of 3329 or more (FIPS 203, section 7.2), or is zero: FIPS 203 lets
// that pass, though no generator makes it, and what is made for it shows m to everyone.
func EncapsulateSecond(header *[HeaderSize]byte, m *[MSize]byte, vector *[VectorSize]byte) (c2 [C2Size]byte, err error) {
	var public [VectorSize + rhoSize]byte
	copy(public[:], vector[:])
	copy(public[VectorSize:], header[:rhoSize])
	if hash := sha3.Sum256(public[:]); !bytes.Equal(hash[:], header[rhoSize:]) {
		return c2, fault.New(fault.NotAuthentic, "the vector of an encapsulation key is not its header's")
	}
	if *vector == ([VectorSize]byte{}) {
		return c2, fault.New(fault.NotAuthentic, "the vector of an encapsulation key is zero")
	}
	var key kyber768.PublicKey
	if err := key.UnpackMLKEM(public[:]); err != nil {
		return c2, fault.New(fault.NotAuthentic, "the vector of an encapsulation key is not reduced")
	}
	hash := hashG(header, m)
	ciphertext := encrypt(&key, m, &hash)
	copy(c2[:], ciphertext[C1Size:])
	return c2, nil
}

// hashG returns the shared secret and the randomness of the encryption, 32 bytes each (FIPS 203, algorithm 17, line 1).
func hashG(header *[HeaderSize]byte, m *[MSize]byte) [64]byte {
	var input [MSize + HeaderSize - rhoSize]byte
	copy(input[:], m[:])
	copy(input[MSize:], header[rhoSize:])
	hash := sha3.Sum512(input[:])
	secret.Wipe(input[:])
	return hash
}

// encrypt is K-PKE.Encrypt (FIPS 203, algorithm 14) of m, with the second half of hash as randomness. It wipes the hash.
func encrypt(key *kyber768.PublicKey, m *[MSize]byte, hash *[64]byte) (ciphertext [C1Size + C2Size]byte) {
	key.EncryptTo(ciphertext[:], m[:], hash[SecretSize:])
	secret.Wipe(hash[:])
	return ciphertext
}
