package devices

import (
	"crypto/hpke"
	"crypto/sha256"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// Lengths in bytes.
const (
	publicKeySize = 1216 // of MLKEM768-X25519: 1184 and 32
	encSize       = 1120 // its encapsulated secret: 1088 and 32
	wrapSize      = encSize + secret.KeySize + 16
)

var (
	kem  = hpke.MLKEM768X25519()
	kdf  = hpke.HKDFSHA256()
	aead = hpke.AES256GCM()
)

// pair is one generation of a device key: the HPKE pair and the author key, both as their seeds.
type pair struct {
	seed   secret.Key // of the HPKE pair: its private key as RFC 9180 serialises it
	author secret.Key // of the Ed25519 key that signs links
	made   int64      // Unix milliseconds, this device's word

	public []byte // of the HPKE pair
}

func newPair(now time.Time) *pair {
	p := &pair{seed: secret.Random(), author: secret.Random(), made: millis(now)}
	p.public = p.private().PublicKey().Bytes()
	return p
}

// private returns the HPKE key. It lives on the Go heap, where nobody can wipe it; it is made for one call and dropped.
func (p *pair) private() hpke.PrivateKey {
	var k hpke.PrivateKey
	var err error
	if !p.seed.Use(func(b []byte) { k, err = kem.NewPrivateKey(b) }) {
		panic("devices: the device key was wiped")
	}
	if err != nil {
		panic("devices: " + err.Error())
	}
	return k
}

func (p *pair) signer(user UserID) signed.Signer {
	return signed.Signer{User: user.String(), Key: p.author}
}

func (p *pair) authorKey() AuthorKey { return AuthorKey(signed.Signer{Key: p.author}.Public()) }

func (p *pair) hash() Hash { return sha256.Sum256(p.public) }

// named reports whether e names this generation.
func (p *pair) named(e Entry) bool { return p.hash() == e.KeyHash && p.authorKey() == e.AuthorKey }

func (p *pair) wipe() {
	if p != nil {
		p.seed.Wipe()
		p.author.Wipe()
	}
}

// parsePublic reads an HPKE public key.
func parsePublic(b []byte) (hpke.PublicKey, error) {
	if len(b) != publicKeySize {
		return nil, errLength
	}
	k, err := kem.NewPublicKey(b)
	if err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "the key of a device is not one")
	}
	return k, nil
}

// maxMillis bounds every date, and maxCount every number that counts up: what JSON and CBOR of any reader hold exactly.
const (
	maxCount  = 1<<53 - 1
	maxMillis = maxCount
)

// millis returns t in Unix milliseconds, within bounds: a clock that is far off must not stop a device (THREATS F13).
func millis(t time.Time) int64 { return min(max(t.UnixMilli(), 0), maxMillis) }
