package contacts

import (
	"bytes"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/ratchet"
)

// Bounds of what is published. The first two are the coordinator's.
const (
	MaxBundle  = 8 << 10             // bytes of a bundle
	MaxOneTime = 4 << 10             // bytes of a one-time prekey
	BundleLife = 30 * 24 * time.Hour // from a bundle's date to its not-after, at most

	// ClockError is how far ahead of the local clock a bundle's date may be (THREATS R17).
	ClockError = 24 * time.Hour
)

const (
	bundleType  = "prekey-bundle"
	oneTimeType = "one-time-prekey"

	// suite names all algorithms of a session's start. There is one, and no negotiation (THREATS R4).
	suite = "pqxdh-x25519-kyber1024-xeddsa"

	device = 1 // of ratchet.Address: a user is one party
)

// signedKey is a prekey with the identity's signature over it.
type signedKey struct {
	ID        uint32                      `cbor:"1,keyasint"`
	Public    []byte                      `cbor:"2,keyasint"`
	Signature [ratchet.SignatureSize]byte `cbor:"3,keyasint"`
}

// bundleBody is the payload of a bundle.
type bundleBody struct {
	Card         Card      `cbor:"1,keyasint"`
	Suite        string    `cbor:"2,keyasint"`
	Registration uint32    `cbor:"3,keyasint"` // 14 bits
	Signed       signedKey `cbor:"4,keyasint"` // X25519
	SignedMade   int64     `cbor:"5,keyasint"` // Unix seconds, like the dates below
	LastResort   signedKey `cbor:"6,keyasint"` // Kyber1024
	Date         int64     `cbor:"7,keyasint"`
	NotAfter     int64     `cbor:"8,keyasint"`
	Sequence     uint64    `cbor:"9,keyasint"`  // 1, 2, 3 …
	Previous     Hash      `cbor:"10,keyasint"` // of the envelope before; zero in the first
}

// oneTimeBody is the payload of a one-time prekey.
type oneTimeBody struct {
	User   string    `cbor:"1,keyasint"`
	Suite  string    `cbor:"2,keyasint"`
	KEM    signedKey `cbor:"3,keyasint"` // Kyber1024
	ID     uint32    `cbor:"4,keyasint"`
	Public Key       `cbor:"5,keyasint"` // X25519
}

// Hash is the SHA-256 of an envelope.
type Hash = [32]byte

// Mark is a place in somebody's chain of bundles. Sequence 0 is none.
type Mark struct {
	Sequence uint64 `cbor:"1,keyasint"`
	Hash     Hash   `cbor:"2,keyasint"`
}

// Keys are the user's own, as the vault has them.
type Keys struct {
	User     string
	Identity ratchet.Identity
	Signing  secret.Key // seed of Ed25519
}

func (k Keys) signer() signed.Signer { return signed.Signer{User: k.User, Key: k.Signing} }

// signBundle signs the bundle that follows a mark. b has the last-resort KEM prekey.
func signBundle(k Keys, b ratchet.Bundle, after Mark, now time.Time) ([]byte, Mark, error) {
	card, err := newCard(k.User, k.Identity, Key(k.signer().Public()))
	if err != nil {
		return nil, Mark{}, err
	}
	body := bundleBody{
		Card: card, Suite: suite, Registration: b.RegistrationID,
		Signed:     signedKey{ID: b.SignedPreKey.ID, Public: b.SignedPreKey.Public[:], Signature: b.SignedPreKey.Signature},
		SignedMade: min(b.SignedPreKey.Made.Unix(), now.Unix()), // a clock that was ahead may have made it
		LastResort: signedKey(b.KEMPreKey),
		Date:       now.Unix(), NotAfter: now.Add(BundleLife).Unix(), Sequence: after.Sequence + 1, Previous: after.Hash,
	}
	envelope, err := signed.Sign(k.signer(), bundleType, body)
	if err != nil {
		return nil, Mark{}, err
	}
	return envelope, Mark{Sequence: body.Sequence, Hash: signed.Hash(envelope)}, nil
}

// signOneTime signs the one-time prekeys of a bundle.
func signOneTime(k Keys, b ratchet.Bundle) ([]byte, error) {
	if b.OneTimePreKey == nil {
		return nil, fault.New(fault.InvalidRequest, "the bundle has no one-time prekey")
	}
	return signed.Sign(k.signer(), oneTimeType, oneTimeBody{
		User: k.User, Suite: suite, KEM: signedKey(b.KEMPreKey), ID: b.OneTimePreKey.ID, Public: b.OneTimePreKey.Public,
	})
}

// canonical reports whether an envelope is the one that signing v gives but for the signature: byte strings of other lengths, and arrays of
// numbers in their place, also decode.
func canonical(envelope []byte, v any) error {
	payload, err := signed.Marshal(v)
	if err != nil || len(envelope) < ratchet.SignatureSize {
		return errForm
	}
	again, err := signed.Marshal([][]byte{payload, envelope[len(envelope)-ratchet.SignatureSize:]})
	if err != nil || !bytes.Equal(again, envelope) {
		return errForm
	}
	return nil
}

var errForm = fault.New(fault.NotAuthentic, "not the one form of such a thing")
