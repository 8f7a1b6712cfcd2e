package keystore

import (
	"maps"
	"slices"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
)

// keyring is the vault's own secrets: the present vault key and everything that it protects.
type keyring struct {
	id      seal.KeyID
	current secret.Key                // vault key: seals everything new
	old     map[seal.KeyID]secret.Key // former vault keys: open what was sealed under them

	anchor     secret.Key // authenticates the anchor file; the same for the vault's life
	recovery   secret.Key // slot key of the recovery kit
	unattended secret.Key // slot key of the unattended credential; no key if there is none
}

// The keyring record is a sealed value under the present vault key; inside (no CBOR: its encoder's buffers cannot be wiped):
//
//	anchor key (32) ‖ recovery slot key (32) ‖ unattended slot key (32, zeros: none) ‖ { key id (16) ‖ vault key (32) } …
//
// with the former vault keys in the order of their ids.
const (
	keyringFixed = 3 * secret.KeySize
	keyringEntry = 16 + secret.KeySize
	maxOldKeys   = 10_000 // password changes in one vault's life
)

func (k *keyring) encode() []byte {
	out := make([]byte, 0, keyringFixed+len(k.old)*keyringEntry)
	out = append(out, k.anchor.Bytes()...)
	out = append(out, k.recovery.Bytes()...)
	if k.unattended.IsZero() {
		out = append(out, make([]byte, secret.KeySize)...)
	} else {
		out = append(out, k.unattended.Bytes()...)
	}
	for _, id := range slices.SortedFunc(maps.Keys(k.old), compareKeyIDs) {
		out = append(out, id[:]...)
		out = append(out, k.old[id].Bytes()...)
	}
	return out
}

func compareKeyIDs(a, b seal.KeyID) int { return slices.Compare(a[:], b[:]) }

// parseKeyring reads the inside of a keyring record and wipes it.
func parseKeyring(in []byte) (*keyring, error) {
	defer secret.Wipe(in)
	entries := len(in) - keyringFixed
	if entries < 0 || entries%keyringEntry != 0 || entries/keyringEntry > maxOldKeys {
		return nil, fault.New(fault.NotAuthentic, "the keyring is damaged")
	}
	take := func(n int) []byte {
		b := in[:n]
		in = in[n:]
		return b
	}
	key := func() secret.Key {
		k, _ := secret.FromBytes(take(secret.KeySize))
		return k
	}
	ring := &keyring{old: make(map[seal.KeyID]secret.Key)}
	ring.anchor, ring.recovery = key(), key()
	if !allZero(in[:secret.KeySize]) {
		ring.unattended = key()
	} else {
		take(secret.KeySize)
	}
	var last seal.KeyID
	for len(in) > 0 {
		id := seal.KeyID(take(len(last)))
		if len(ring.old) > 0 && compareKeyIDs(last, id) >= 0 {
			ring.wipe()
			return nil, fault.New(fault.NotAuthentic, "the keyring is damaged")
		}
		ring.old[id], last = key(), id
	}
	return ring, nil
}

func allZero(b []byte) bool {
	var or byte
	for _, x := range b {
		or |= x
	}
	return or == 0
}

// seal returns the keyring record.
func (k *keyring) seal(user uuid.UUID) []byte {
	plain := k.encode()
	defer secret.Wipe(plain)
	return seal.Seal(k.current, k.id, "vault/keyring", keyringContext(user, k.id), plain)
}

// openKeyring opens a keyring record with the present vault key.
func openKeyring(user uuid.UUID, id seal.KeyID, current secret.Key, record []byte) (*keyring, error) {
	plain, err := seal.Open(current, "vault/keyring", keyringContext(user, id), record)
	if err != nil {
		return nil, err
	}
	ring, err := parseKeyring(plain)
	if err != nil {
		return nil, err
	}
	ring.id, ring.current = id, current
	return ring, nil
}

func keyringContext(user uuid.UUID, id seal.KeyID) seal.Context {
	return seal.Context{Owner: user.String(), Type: "keyring", ID: id.String()}
}

// find returns the vault key of that id; no key if there is none.
func (k *keyring) find(id seal.KeyID) secret.Key {
	if id == k.id {
		return k.current
	}
	return k.old[id]
}

// renewed returns a keyring with a new vault key, the present one among the old. The other keys are shared with k.
func (k *keyring) renewed() *keyring {
	n := *k
	n.old = map[seal.KeyID]secret.Key{k.id: k.current}
	maps.Copy(n.old, k.old)
	n.id, n.current = seal.RandomKeyID(), secret.Random()
	return &n
}

// wipeSlotKeys wipes the slot keys that other has not: it takes the place of k, or was to be replaced by it.
func (k *keyring) wipeSlotKeys(other *keyring) {
	if k.recovery != other.recovery {
		k.recovery.Wipe()
	}
	if k.unattended != other.unattended {
		k.unattended.Wipe()
	}
}

func (k *keyring) wipe() {
	for _, key := range k.old {
		key.Wipe()
	}
	k.current.Wipe()
	k.anchor.Wipe()
	k.recovery.Wipe()
	k.unattended.Wipe()
}
