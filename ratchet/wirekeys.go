package ratchet

import "coldframe/internal/fault"

// Type bytes of keys and KEM ciphertexts on the wire (spec section 2).
const (
	typeCurve25519 = 0x05 // Curve25519
	typeKyber768   = 0x07 // known, refused
	typeKyber1024  = 0x08 // round 3
	typeMLKEM1024  = 0x0a // known, refused
)

const (
	ecKeySize = 33            // an EC public key on the wire, type byte included
	kemSize   = kemPublicSize // of a Kyber1024 public key, and likewise of a ciphertext, without the type byte
)

// ecTypePrefix is what precedes the u-coordinate of an EC public key. It is never written.
var ecTypePrefix = []byte{typeCurve25519}

// appendECKey appends the 33 bytes of an EC public key: what signatures are over.
func appendECKey(b []byte, public *[32]byte) []byte {
	return append(append(b, typeCurve25519), public[:]...)
}

func appendProtoECKey(b []byte, number byte, public *[32]byte) []byte {
	return appendECKey(appendProtoSize(b, number, ecKeySize), public)
}

// parseECKey returns the u-coordinate of an EC public key, which it does not check. Bytes after the key are ignored, as the reference does.
func parseECKey(b []byte) ([32]byte, error) {
	if len(b) < ecKeySize || b[0] != typeCurve25519 {
		return [32]byte{}, fault.New(fault.NotAuthentic, "malformed public key")
	}
	return [32]byte(b[1:ecKeySize]), nil
}

// appendKEM appends the 1569 bytes of a KEM public key, which is what signatures are over, or of a KEM ciphertext.
func appendKEM(b, keyOrCiphertext []byte) []byte {
	return append(append(b, typeKyber1024), keyOrCiphertext...)
}

// parseKEM returns a KEM public key or ciphertext without its type byte: 1568 bytes, a view of b. Errors: fault.Policy for a KEM that is
// known but not accepted, fault.NotAuthentic.
func parseKEM(b []byte) ([]byte, error) {
	if len(b) > 0 && (b[0] == typeKyber768 || b[0] == typeMLKEM1024) {
		return nil, fault.New(fault.Policy, "KEM type %d is not accepted", b[0])
	}
	if len(b) != 1+kemSize || b[0] != typeKyber1024 {
		return nil, fault.New(fault.NotAuthentic, "malformed KEM key or ciphertext")
	}
	return b[1:], nil
}
