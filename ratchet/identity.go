package ratchet

import (
	"crypto/rand"
	"io"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// Identity is a user's long-term X25519 key pair. It is made by NewIdentity or IdentityFromKey; the zero value is none.
type Identity struct {
	private secret.Key // the clamped scalar (RFC 7748 section 5)
	public  [32]byte   // u-coordinate, little-endian
}

// NewIdentity returns a new random identity.
func NewIdentity() Identity {
	k := secret.Random()
	defer k.Wipe()
	id, err := IdentityFromKey(k)
	if err != nil {
		panic("ratchet: " + err.Error())
	}
	return id
}

// IdentityFromKey returns the identity whose private scalar is k, clamped as RFC 7748 says. k is copied. No key is fault.Locked.
func IdentityFromKey(k secret.Key) (Identity, error) {
	private := k.Clone()
	if private.IsZero() {
		return Identity{}, fault.New(fault.Locked, "no identity key")
	}
	id := Identity{private: private}
	private.Use(func(b []byte) {
		clamp(b)
		id.public = publicOf(b)
	})
	return id, nil
}

// Key returns a copy of the private scalar, for the vault.
func (id Identity) Key() secret.Key { return id.private.Clone() }

// Public returns the public key: the u-coordinate, without the type byte of the wire.
func (id Identity) Public() [32]byte { return id.public }

// IsZero reports whether there is no identity, or one that was wiped.
func (id Identity) IsZero() bool { return id.private.IsZero() }

// Wipe zeroes the private scalar. Copies of this Identity cannot sign any more.
func (id Identity) Wipe() { id.private.Wipe() }

// Sign returns the XEdDSA signature of message, with fresh randomness. It panics if there is no key.
func (id Identity) Sign(message []byte) [SignatureSize]byte {
	signature, err := id.sign(rand.Reader, message)
	if err != nil {
		panic("ratchet: no identity to sign with")
	}
	return signature
}

// sign is Sign with 64 bytes of random; without a key it is fault.Locked.
func (id Identity) sign(random io.Reader, message []byte) ([SignatureSize]byte, error) {
	var z [64]byte
	defer secret.Wipe(z[:])
	if _, err := io.ReadFull(random, z[:]); err != nil {
		panic("ratchet: no randomness: " + err.Error())
	}
	var signature [SignatureSize]byte
	if !id.private.Use(func(k []byte) { signature = sign(k, message, &z) }) {
		return signature, fault.New(fault.Locked, "the identity key is not there")
	}
	return signature, nil
}

// clamp makes 32 bytes an X25519 scalar (RFC 7748 section 5).
func clamp(b []byte) {
	b[0] &= 248
	b[31] &= 127
	b[31] |= 64
}
