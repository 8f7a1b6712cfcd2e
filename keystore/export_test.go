package keystore

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"testing"
)

// KeyOf returns the key of a proof, to look for it where it must not be.
func KeyOf(p Proof) []byte { return p.key.Bytes() }

// Readable reports whether a reader of the vault would have to wait now.
func (v *Vault) Readable() bool {
	if !v.mu.TryRLock() {
		return false
	}
	v.mu.RUnlock()
	return true
}

// Forgery is a root blob that somebody makes who has a vault of before, open, and knows the newest root blob without being able to open it.
type Forgery struct {
	OwnKey bool   // under a vault key of their own, in the slots that they can fill; else under the former one
	Header bool   // with the newest header and keyring; the root is under the former key
	Ahead  uint64 // further ahead than the one change that the newest root is named for: no history tells anything
}

// Forge makes it.
func (v *Vault) Forge(t *testing.T, newest []byte, f Forgery) []byte {
	t.Helper()
	there, err := parseRootBlob(newest)
	if err != nil {
		t.Fatal(err)
	}
	user, ring, h := v.c.header.user, v.c.keys, *v.c.header
	if f.OwnKey {
		ring = ring.renewed()
		h.keyID = ring.id
		if err := h.refill(ring); err != nil {
			t.Fatal(err)
		}
	} else {
		own := *ring
		own.old = maps.Clone(ring.old)
		ring = &own
	}
	raw, err := h.encode(ring.current)
	if err != nil {
		t.Fatal(err)
	}
	b := rootBlob{header: raw, keyring: ring.seal(user)}
	if f.Header {
		b.header, b.keyring = there.header, there.keyring
	}
	hash, header, keys := there.hash(), sha256.Sum256(b.header), sha256.Sum256(b.keyring)
	r := &root{
		Counter: binary.BigEndian.Uint64(there.root) + 1 + f.Ahead, Previous: hash[:], Header: header[:], Keyring: keys[:],
		Email: v.c.email, Shards: []rootRef{},
	}
	if b.root, err = r.seal(user, ring); err != nil {
		t.Fatal(err)
	}
	return b.encode()
}
