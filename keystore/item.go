package keystore

import (
	"bytes"
	"crypto/sha256"
	"errors"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
)

// MaxBody is the size of the largest item, in bytes: sealed, and as a part of a replicated vault sealed again, it fits into one record.
const MaxBody = 4<<20 - 4<<10

const (
	maxID   = 256 // bytes
	maxKind = 32
)

// Item is one thing in the vault. ID and Kind may be seen by whoever has the disk (the id names a record; the kind is the purpose in
// the sealed value's header), so neither may tell anything; the body is sealed.
type Item struct {
	ID      string // 1 to 256 printable ASCII characters without spaces, made by the caller
	Kind    string // 1 to 32 characters a-z, 0-9 and "-": one key for each kind
	Version uint64 // rises with each change; 0 in Put: one more than now
	Body    []byte
}

func checkID(id string) error {
	if len(id) == 0 || len(id) > maxID {
		return fault.New(fault.InvalidRequest, "an item's id has 1 to %d characters", maxID)
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return fault.New(fault.InvalidRequest, "an item's id has a character that none may have")
		}
	}
	return nil
}

func checkKind(kind string) error {
	ok := len(kind) >= 1 && len(kind) <= maxKind
	for _, c := range []byte(kind) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fault.New(fault.InvalidRequest, "an item's kind has 1 to %d characters a-z, 0-9 and -", maxKind)
	}
	return nil
}

func itemPurpose(kind string) string { return "vault/item/" + kind }

func itemContext(user uuid.UUID, id, kind string, version uint64) seal.Context {
	return seal.Context{Owner: user.String(), Type: "item/" + kind, ID: id, Field: "body", Version: version}
}

// sealItem returns the sealed item and its line in the index.
func sealItem(user uuid.UUID, keys *keyring, it Item) ([]byte, *entry) {
	sealed := seal.Seal(keys.current, keys.id, itemPurpose(it.Kind), itemContext(user, it.ID, it.Kind, it.Version), it.Body)
	return sealed, &entry{kind: it.Kind, version: it.Version, hash: sha256.Sum256(sealed)}
}

// openItem opens an item that the index names.
func openItem(user uuid.UUID, keys *keyring, id string, e entry, sealed []byte) (Item, error) {
	if sum := sha256.Sum256(sealed); !bytes.Equal(sum[:], e.hash[:]) {
		return Item{}, fault.New(fault.NotAuthentic, "an item is not the one that the index names")
	}
	keyID, err := seal.IDOf(sealed)
	if err != nil {
		return Item{}, err
	}
	body, err := seal.Open(keys.find(keyID), itemPurpose(e.kind), itemContext(user, id, e.kind, e.version), sealed)
	if err != nil {
		return Item{}, notAuthentic(err)
	}
	return Item{ID: id, Kind: e.kind, Version: e.version, Body: body}, nil
}

// notAuthentic turns the answer for a key that the keyring does not have into that for bytes that do not open.
func notAuthentic(err error) error {
	if errors.Is(err, fault.Locked) {
		return fault.New(fault.NotAuthentic, "a record is sealed under an unknown key")
	}
	return err
}
