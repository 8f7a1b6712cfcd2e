package ratchet

import (
	"crypto/sha512"
	"crypto/subtle"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"

	"coldframe/internal/secret"
)

// SignatureSize is the length of an XEdDSA signature: R, and s with the sign of A in its top bit.
const SignatureSize = 64

// hash1Prefix is 2^256 − 2 in little-endian: what keeps the hash for r apart from the one for h.
var hash1Prefix = [32]byte{
	0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
}

// publicOf returns the u-coordinate of the clamped scalar k.
func publicOf(k []byte) [32]byte {
	return [32]byte(new(edwards25519.Point).ScalarBaseMult(scalar(k)).BytesMontgomery())
}

// scalar is k mod L.
func scalar(k []byte) *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetBytesWithClamping(k)
	if err != nil {
		panic("ratchet: " + err.Error())
	}
	return s
}

// hashToScalar is SHA-512 of the parts, mod L. The parts may hold the private scalar: the unfinished block of the hash is overwritten.
func hashToScalar(parts ...[]byte) *edwards25519.Scalar {
	h := sha512.New()
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	sum := h.Sum(make([]byte, 0, sha512.Size))
	defer secret.Wipe(sum)
	h.Reset()
	_, _ = h.Write(make([]byte, sha512.BlockSize-1))
	s, err := new(edwards25519.Scalar).SetUniformBytes(sum)
	if err != nil {
		panic("ratchet: " + err.Error())
	}
	return s
}

// sign is XEdDSA signing with the clamped scalar k and 64 random bytes z.
func sign(k, message []byte, z *[64]byte) [SignatureSize]byte {
	a := scalar(k)
	defer a.Set(edwards25519.NewScalar())
	encodedA := new(edwards25519.Point).ScalarBaseMult(a).Bytes()
	r := hashToScalar(hash1Prefix[:], k, message, z[:])
	defer r.Set(edwards25519.NewScalar())
	encodedR := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
	h := hashToScalar(encodedR, encodedA, message)
	s := new(edwards25519.Scalar).MultiplyAdd(h, a, r)

	var signature [SignatureSize]byte
	copy(signature[:], encodedR)
	copy(signature[32:], s.Bytes())
	signature[63] |= encodedA[31] & 0x80 // s is below 2^253: the bit is free
	return signature
}

// Verify reports whether signature is the XEdDSA signature of message by the identity with this public key. Beyond what the protocol
// asks it refuses public keys that are not canonical or of small order, and an s that is not reduced: no honest signer makes these,
// and each would let one signature have two forms, or verify for a message that nobody signed.
func Verify(public [32]byte, message []byte, signature [SignatureSize]byte) bool {
	a, ok := edwardsOf(public, signature[63]>>7)
	if !ok {
		return false
	}
	encodedS := [32]byte(signature[32:])
	encodedS[31] &= 0x7f
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(encodedS[:])
	if err != nil {
		return false
	}
	h := hashToScalar(signature[:32], a.Bytes(), message)
	minusA := new(edwards25519.Point).Negate(a)
	r := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(h, minusA, s)
	return subtle.ConstantTimeCompare(r.Bytes(), signature[:32]) == 1
}

// edwardsOf returns the Edwards point with y = (u−1)/(u+1) and this sign of x, and false if public is not canonical, has no such
// point, or has one of small order.
func edwardsOf(public [32]byte, sign byte) (*edwards25519.Point, bool) {
	u, err := new(field.Element).SetBytes(public[:]) // ignores the top bit and takes values above the modulus
	if err != nil || [32]byte(u.Bytes()) != public {
		return nil, false
	}
	one := new(field.Element).One()
	denominator := new(field.Element).Add(u, one)
	if denominator.Equal(new(field.Element).Zero()) == 1 {
		return nil, false
	}
	y := new(field.Element).Subtract(u, one)
	y.Multiply(y, denominator.Invert(denominator))
	encoded := y.Bytes()
	encoded[31] |= sign << 7
	a, err := new(edwards25519.Point).SetBytes(encoded)
	if err != nil {
		return nil, false
	}
	small := new(edwards25519.Point).MultByCofactor(a).Equal(edwards25519.NewIdentityPoint()) == 1
	return a, !small
}
