package driver

import (
	"coldframe/internal/fault"
	"coldframe/ratchet"
)

// Type bytes of public keys on the wire (wire specification, section 2).
const (
	typeCurve25519 = 0x05
	typeKyber1024  = 0x08

	kemPublicSize = 1568
)

// publicKey is an X25519 key: 33 bytes as hex, the first of them its type.
type publicKey [32]byte

// UnmarshalText reads a key with its type byte.
func (k *publicKey) UnmarshalText(text []byte) error {
	var b hexBytes
	if err := b.UnmarshalText(text); err != nil {
		return err
	}
	if len(b) != 33 || b[0] != typeCurve25519 {
		return invalid("a public key has 33 bytes, the first of them 05")
	}
	*k = publicKey(b[1:])
	return nil
}

// MarshalText writes a key with its type byte.
func (k publicKey) MarshalText() ([]byte, error) {
	return hexBytes(append([]byte{typeCurve25519}, k[:]...)).MarshalText()
}

// kemPublicKey is a Kyber1024 key: 1,569 bytes as hex, the first of them its type.
type kemPublicKey []byte

// UnmarshalText reads a key with its type byte.
func (k *kemPublicKey) UnmarshalText(text []byte) error {
	var b hexBytes
	if err := b.UnmarshalText(text); err != nil {
		return err
	}
	if len(b) > 0 && b[0] != typeKyber1024 {
		return fault.New(fault.Policy, "a KEM public key of another type than 08")
	}
	if len(b) != 1+kemPublicSize {
		return invalid("a KEM public key has 1569 bytes, the first of them 08")
	}
	*k = kemPublicKey(b[1:])
	return nil
}

// MarshalText writes a key with its type byte.
func (k kemPublicKey) MarshalText() ([]byte, error) {
	return hexBytes(append([]byte{typeKyber1024}, k...)).MarshalText()
}

type signature [ratchet.SignatureSize]byte

// UnmarshalText reads a signature.
func (s *signature) UnmarshalText(text []byte) error {
	var b hexBytes
	if err := b.UnmarshalText(text); err != nil {
		return err
	}
	if len(b) != len(s) {
		return invalid("a signature has %d bytes", len(s))
	}
	*s = signature(b)
	return nil
}

// MarshalText writes a signature.
func (s signature) MarshalText() ([]byte, error) { return hexBytes(s[:]).MarshalText() }

// bundleJSON is a bundle as it travels. Pointers tell what is missing.
type bundleJSON struct {
	Name           *string    `json:"name"`
	DeviceID       *uint8     `json:"device_id"`
	RegistrationID *uint32    `json:"registration_id"`
	IdentityKey    *publicKey `json:"identity_key"`
	SignedPreKey   struct {
		ID        *uint32    `json:"id"`
		Public    *publicKey `json:"public"`
		Signature *signature `json:"signature"`
	} `json:"signed_prekey"`
	KyberPreKey struct {
		ID        *uint32       `json:"id"`
		Public    *kemPublicKey `json:"public"`
		Signature *signature    `json:"signature"`
	} `json:"kyber_prekey"`
	OneTimePreKey *oneTimePreKeyJSON `json:"one_time_prekey,omitempty"`
}

type oneTimePreKeyJSON struct {
	ID     *uint32    `json:"id"`
	Public *publicKey `json:"public"`
}

// bundleOf returns what travels of a bundle.
func bundleOf(b *ratchet.Bundle) *bundleJSON {
	j := &bundleJSON{
		Name: &b.Address.Name, DeviceID: &b.Address.Device, RegistrationID: &b.RegistrationID, IdentityKey: (*publicKey)(&b.IdentityKey),
	}
	s, k := &b.SignedPreKey, &b.KEMPreKey
	j.SignedPreKey.ID, j.SignedPreKey.Public, j.SignedPreKey.Signature = &s.ID, (*publicKey)(&s.Public), (*signature)(&s.Signature)
	j.KyberPreKey.ID, j.KyberPreKey.Public, j.KyberPreKey.Signature = &k.ID, (*kemPublicKey)(&k.Public), (*signature)(&k.Signature)
	if o := b.OneTimePreKey; o != nil {
		j.OneTimePreKey = &oneTimePreKeyJSON{&o.ID, (*publicKey)(&o.Public)}
	}
	return j
}

// bundle returns the bundle of what travelled. A KEM prekey that is not there at all is left to package ratchet to refuse.
func (j *bundleJSON) bundle() (*ratchet.Bundle, error) {
	s, k, o := &j.SignedPreKey, &j.KyberPreKey, j.OneTimePreKey
	switch {
	case j.Name == nil || j.DeviceID == nil || j.RegistrationID == nil || j.IdentityKey == nil,
		s.ID == nil || s.Public == nil || s.Signature == nil,
		(k.ID == nil) != (k.Public == nil) || (k.ID == nil) != (k.Signature == nil),
		o != nil && (o.ID == nil || o.Public == nil):
		return nil, invalid("a field of the bundle is missing")
	}
	a, err := addressOf(*j.Name, *j.DeviceID)
	if err != nil {
		return nil, err
	}
	b := &ratchet.Bundle{
		Address: a, RegistrationID: *j.RegistrationID, IdentityKey: *j.IdentityKey,
		SignedPreKey: ratchet.SignedPreKey{ID: *s.ID, Public: *s.Public, Signature: *s.Signature},
	}
	if k.ID != nil {
		b.KEMPreKey = ratchet.KEMPreKey{ID: *k.ID, Public: *k.Public, Signature: *k.Signature}
	}
	if o != nil {
		b.OneTimePreKey = &ratchet.OneTimePreKey{ID: *o.ID, Public: *o.Public}
	}
	return b, nil
}
