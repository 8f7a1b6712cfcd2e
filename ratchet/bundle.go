package ratchet

import (
	"time"

	"coldframe/internal/fault"
)

// MaxPreKeyAge is how old a signed prekey may be when a session is started with it.
const MaxPreKeyAge = 30 * 24 * time.Hour

// Bundle is what a responder publishes, so that others can start a session with them (spec section 4). How it travels, and who vouches
// for its date, is up to the application.
type Bundle struct {
	Address        Address // of the responder
	RegistrationID uint32  // 14 bits
	IdentityKey    [32]byte
	SignedPreKey   SignedPreKey
	KEMPreKey      KEMPreKey
	OneTimePreKey  *OneTimePreKey // nil: all are used up
}

// SignedPreKey is an X25519 key, signed by the identity over its 33-byte encoding.
type SignedPreKey struct {
	ID        uint32
	Public    [32]byte
	Signature [SignatureSize]byte
	Made      time.Time // zero if nobody vouches for it
}

// KEMPreKey is a Kyber1024 key, one-time or last resort, signed by the identity over its 1569-byte encoding.
type KEMPreKey struct {
	ID        uint32
	Public    []byte // 1,568 bytes
	Signature [SignatureSize]byte
}

// OneTimePreKey is an X25519 key that serves one initiator.
type OneTimePreKey struct {
	ID     uint32
	Public [32]byte
}

// Verify checks both signatures, every key's form and the date. Errors: fault.NotAuthentic; fault.Stale for a signed prekey older than
// MaxPreKeyAge; fault.Policy for a bundle without a KEM prekey.
func (b *Bundle) Verify(now time.Time) error {
	if len(b.KEMPreKey.Public) == 0 {
		return fault.New(fault.Policy, "the bundle has no post-quantum prekey")
	}
	signed, kem := appendECKey(nil, &b.SignedPreKey.Public), appendKEM(nil, b.KEMPreKey.Public)
	if len(b.KEMPreKey.Public) != kemSize || !Verify(b.IdentityKey, signed, b.SignedPreKey.Signature) ||
		!Verify(b.IdentityKey, kem, b.KEMPreKey.Signature) {
		return fault.New(fault.NotAuthentic, "a prekey of the bundle is not signed by its identity key")
	}
	if made := b.SignedPreKey.Made; !made.IsZero() && now.Sub(made) > MaxPreKeyAge {
		return fault.New(fault.Stale, "the signed prekey of the bundle is older than %d days", int(MaxPreKeyAge.Hours())/24)
	}
	return b.checkKeys()
}

// checkKeys refuses keys that no honest responder makes.
func (b *Bundle) checkKeys() error {
	for _, key := range []*[32]byte{&b.IdentityKey, &b.SignedPreKey.Public} {
		if err := checkBaseKey(key); err != nil {
			return err
		}
	}
	if b.OneTimePreKey != nil {
		return checkBaseKey(&b.OneTimePreKey.Public)
	}
	return nil
}
