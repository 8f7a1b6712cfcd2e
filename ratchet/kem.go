package ratchet

import (
	"bytes"
	"crypto/mlkem"
	"crypto/sha3"
	"io"

	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

const (
	kemPublicSize     = mlkem.EncapsulationKeySize1024 // 1568 bytes
	kemCiphertextSize = mlkem.CiphertextSize1024       // 1568 bytes
	kemSeedSize       = mlkem.SeedSize                 // 64 bytes: d and z of FIPS 203
	kemPolynomialSize = 384                            // a public key has four of 256 coefficients, and a seed
	kemPolynomials    = 4
)

// kemKey is the private key of a KEM prekey, as the seed that the rest is made of. Kyber1024 of round 3 is ML-KEM-1024 with one more hash
// at the end (spec section 3); nobody can tell the two ways of making a key apart.
type kemKey [kemSeedSize]byte

// newKEMKey makes a key of 64 bytes from rand. It panics if rand fails.
func newKEMKey(rand io.Reader) (k kemKey) {
	if _, err := io.ReadFull(rand, k[:]); err != nil {
		panic("ratchet: no randomness: " + err.Error())
	}
	return k
}

// expand makes the key proper, in some 70 µs.
func (k *kemKey) expand() *mlkem.DecapsulationKey1024 {
	full, err := mlkem.NewDecapsulationKey1024(k[:])
	if err != nil {
		panic("ratchet: " + err.Error())
	}
	return full
}

// public returns the public key: 1568 bytes.
func (k *kemKey) public() []byte { return k.expand().EncapsulationKey().Bytes() }

// decapsulate returns the secret of a ciphertext. One of another length is fault.NotAuthentic; any other one gives some secret, and the
// sender has the same only if the ciphertext was made for this key.
func (k *kemKey) decapsulate(ciphertext []byte) ([32]byte, error) {
	shared, err := k.expand().Decapsulate(ciphertext)
	if err != nil {
		return [32]byte{}, fault.New(fault.NotAuthentic, "a KEM ciphertext of %d bytes", len(ciphertext))
	}
	defer secret.Wipe(shared)
	return finishKyber(shared, ciphertext), nil
}

// kemEncapsulate makes a secret and the ciphertext, 1568 bytes, that gives it to whoever has the private key. It reads 32 bytes and panics
// if rand fails. A malformed or degenerate public key is fault.NotAuthentic. This is circl's ML-KEM, since the one of the standard library
// takes no randomness.
func kemEncapsulate(public []byte, rand io.Reader) (ciphertext []byte, kemSecret [32]byte, err error) {
	var key mlkem1024.PublicKey
	if key.Unpack(public) != nil || degenerateKEM(public) {
		return nil, kemSecret, fault.New(fault.NotAuthentic, "a malformed KEM public key")
	}
	var m, shared [32]byte
	if _, err := io.ReadFull(rand, m[:]); err != nil {
		panic("ratchet: no randomness: " + err.Error())
	}
	ciphertext = make([]byte, kemCiphertextSize)
	key.EncapsulateTo(ciphertext, shared[:], m[:])
	kemSecret = finishKyber(shared[:], ciphertext)
	secret.Wipe(m[:])
	secret.Wipe(shared[:])
	return ciphertext, kemSecret, nil
}

// finishKyber is what round 3 does with the secret that ML-KEM gives: SHAKE256(K' ‖ SHA3-256(ciphertext)).
func finishKyber(shared, ciphertext []byte) (s [32]byte) {
	var in [64]byte
	hash := sha3.Sum256(ciphertext)
	copy(in[copy(in[:], shared):], hash[:])
	h := sha3.NewSHAKE256()
	_, _ = h.Write(in[:])
	_, _ = h.Read(s[:])
	secret.Wipe(in[:])
	return s
}

// degenerateKEM reports whether a polynomial of the public key repeats one or two coefficients throughout. With all four of them zero
// everybody can read the secret off the ciphertext; in an honest key not even one is like this.
func degenerateKEM(public []byte) bool {
	for i := range kemPolynomials {
		p := public[i*kemPolynomialSize:][:kemPolynomialSize]
		if bytes.Equal(p[3:], p[:kemPolynomialSize-3]) { // two coefficients have three bytes
			return true
		}
	}
	return false
}
