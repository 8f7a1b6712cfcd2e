package signed

import (
	"crypto/ed25519"
	"crypto/sha256"
	"strings"

	"filippo.io/edwards25519"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// contextPrefix comes before the type in what is signed.
const contextPrefix = "coldframe/v1/"

// Signer is somebody who signs. Key is the seed of RFC 8032 section 5.1.5.
type Signer struct {
	User string
	Key  secret.Key
}

// envelope is the array [payload, signature].
type envelope struct {
	_         struct{} `cbor:",toarray"`
	Payload   []byte
	Signature []byte
}

// Public returns the verifying key. It panics if there is no key.
func (s Signer) Public() ed25519.PublicKey {
	var public ed25519.PublicKey
	s.withPrivate(func(k ed25519.PrivateKey) { public = append(public, k[ed25519.SeedSize:]...) })
	return public
}

// Sign returns the envelope of v as a thing of type typ. It panics if there is no key, or if typ is empty or holds a zero byte.
func Sign(s Signer, typ string, v any) ([]byte, error) {
	payload, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	var e envelope
	s.withPrivate(func(k ed25519.PrivateKey) { e.Payload, e.Signature = payload, ed25519.Sign(k, message(typ, payload)) })
	return Marshal(e)
}

// withPrivate calls fn with the expanded key, which is wiped afterwards.
func (s Signer) withPrivate(fn func(ed25519.PrivateKey)) {
	ok := s.Key.Use(func(seed []byte) {
		k := ed25519.NewKeyFromSeed(seed)
		defer secret.Wipe(k)
		fn(k)
	})
	if !ok {
		panic("signed: no key to sign with")
	}
}

// Open verifies an envelope of type typ and reads its payload into v. Nothing is written to v before the signature has been
// verified. An envelope that is not authentic, or not a strict encoding, or has fields that v has not, is fault.NotAuthentic; one
// beyond the limits is fault.TooLarge.
func Open(public ed25519.PublicKey, typ string, b []byte, v any) error {
	e, err := split(b)
	if err != nil {
		return err
	}
	if !sound(public) || !ed25519.Verify(public, message(typ, e.Payload), e.Signature) {
		return fault.New(fault.NotAuthentic, "signature does not verify")
	}
	return decode(strict, e.Payload, v)
}

// Peek reads an envelope's payload into v WITHOUT verifying anything, and passes over fields that v has not. It is only for learning
// who claims to have signed; whatever it returned must be read again through Open.
func Peek(b []byte, v any) error {
	e, err := split(b)
	if err != nil {
		return err
	}
	return decode(lenient, e.Payload, v)
}

// split takes an envelope apart; its parts are views of b. The decoder would also take arrays of numbers for byte strings: a second
// envelope, with another hash, of a thing that was signed once.
func split(b []byte) (envelope, error) {
	if err := check(b); err != nil {
		return envelope{}, err
	}
	w := walker{b: b}
	if major, _, n, err := w.head(); err != nil || major != majorArray || n != 2 {
		return envelope{}, errForm
	}
	var parts [2][]byte
	for i := range parts {
		major, _, n, err := w.head()
		if err != nil || major != majorBytes {
			return envelope{}, errForm
		}
		parts[i] = w.b[w.at : w.at+int(n)] // there: check has been through it
		w.at += int(n)
	}
	return envelope{Payload: parts[0], Signature: parts[1]}, nil
}

// Hash is the SHA-256 of an envelope as received: how the next link of a chain names it.
func Hash(b []byte) [32]byte { return sha256.Sum256(b) }

// message is what is signed: context ‖ 0 ‖ payload.
func message(typ string, payload []byte) []byte {
	if typ == "" || strings.IndexByte(typ, 0) >= 0 {
		panic("signed: malformed type")
	}
	m := append([]byte(contextPrefix), typ...)
	m = append(m, 0)
	return append(m, payload...)
}

// sound reports whether a public key is a canonical point outside the small subgroup. A key inside it verifies signatures that
// nobody made.
func sound(public ed25519.PublicKey) bool {
	if len(public) != ed25519.PublicKeySize {
		return false
	}
	p, err := new(edwards25519.Point).SetBytes(public)
	if err != nil || string(p.Bytes()) != string(public) {
		return false
	}
	return new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 0
}
