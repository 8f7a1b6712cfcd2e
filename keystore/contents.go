package keystore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// The records of a vault in the database.
const (
	recordHeader   = "vault/header"
	recordKeyring  = "vault/keyring"
	recordRoot     = "vault/root"
	recordThrottle = "vault/throttle"
	recordRestore  = "vault/restoring"
	recordReplica  = "vault/replica"

	recordLeft       = "vault/left"       // what the vault was when it left a replica, see departure
	recordGivenUp    = "vault/given-up"   // which anchor was given up for which state, see gaveUp
	recordUnattended = "vault/unattended" // of this machine alone, see ownSlot
	prefixShard      = "vault/shard/"     // and the number in two hexadecimal digits
	prefixItem       = "vault/item/"      // and the item's id
	prefixVault      = "vault/"
)

func shardRecord(n int) string {
	const digits = "0123456789abcdef"
	return prefixShard + string([]byte{digits[n>>4], digits[n&15]})
}

// contents is an opened vault. It is not changed after it was made; keys are wiped when the vault locks.
type contents struct {
	header   *header
	keys     *keyring
	index    *index
	email    string
	counter  uint64
	previous [32]byte // hash of the root record before
	rootHash [32]byte // of the present one
	history  []byte   // hashes of those before, in a replicated vault
	keyring  [32]byte // hash of the keyring record
}

// load opens everything under a vault key that a wrap of the header gave, and checks that it is complete: header, keyring, root,
// shards, and each item's hash. On success the contents own vaultKey, else it is wiped.
func load(tx *kv.Tx, h *header, vaultKey secret.Key) (*contents, error) {
	c, err := open(tx, h, vaultKey)
	if err != nil {
		vaultKey.Wipe()
		return nil, err
	}
	if err := c.loadIndex(tx); err != nil {
		c.keys.wipe()
		return nil, err
	}
	return c, nil
}

func open(tx *kv.Tx, h *header, vaultKey secret.Key) (*contents, error) {
	if err := h.authenticate(vaultKey); err != nil {
		return nil, err
	}
	record, err := part(tx, recordKeyring)
	if err != nil {
		return nil, err
	}
	keys, err := openKeyring(h.user, h.keyID, vaultKey, record)
	if err != nil {
		return nil, err
	}
	return &contents{header: h, keys: keys, keyring: sha256.Sum256(record)}, nil
}

func (c *contents) loadIndex(tx *kv.Tx) error {
	record, err := part(tx, recordRoot)
	if err != nil {
		return err
	}
	r, err := openRoot(c.header.user, c.keys, record)
	if err != nil {
		return err
	}
	if err := c.take(r, record); err != nil {
		return err
	}
	if c.index, err = loadShards(tx, c, r); err != nil {
		return err
	}
	return c.checkItems(tx)
}

// take takes over what a root record says, if it names this header and this keyring.
func (c *contents) take(r *root, record []byte) error {
	if sum := sha256.Sum256(c.header.raw); !bytes.Equal(sum[:], r.Header) {
		return fault.New(fault.NotAuthentic, "the header is not the one that the index names")
	}
	if !bytes.Equal(c.keyring[:], r.Keyring) {
		return fault.New(fault.NotAuthentic, "the keyring is not the one that the index names")
	}
	c.email, c.counter, c.history = r.Email, r.Counter, r.History
	c.previous, c.rootHash = [32]byte(r.Previous), sha256.Sum256(record)
	return nil
}

func loadShards(tx *kv.Tx, c *contents, r *root) (*index, error) {
	x := new(index)
	for _, ref := range r.Shards {
		record, err := part(tx, shardRecord(int(ref.Shard)))
		if err != nil {
			return nil, err
		}
		shard, err := openShard(c.header.user, c.keys, ref, record)
		if err != nil {
			return nil, err
		}
		x.add(ref, shard)
	}
	if x.items != r.Items {
		return nil, fault.New(fault.Incomplete, "the index names another number of items than it has")
	}
	return x, nil
}

// checkItems compares the items that are there with the closed list of the index (THREATS R7).
func (c *contents) checkItems(tx *kv.Tx) error {
	seen := 0
	err := tx.Scan(prefixItem, func(key string, value []byte) error {
		e, ok := c.index.find(strings.TrimPrefix(key, prefixItem))
		if !ok {
			return fault.New(fault.Incomplete, "the vault holds an item that its index does not name")
		}
		if sha256.Sum256(value) != e.hash {
			return fault.New(fault.NotAuthentic, "an item is not the one that the index names")
		}
		seen++
		return nil
	})
	if err != nil {
		return err
	}
	if seen != c.index.items {
		return fault.New(fault.Incomplete, "%d of %d items are missing", c.index.items-seen, c.index.items)
	}
	return nil
}

// part reads a record that must be there.
func part(tx *kv.Tx, key string) ([]byte, error) {
	value, err := tx.Get(key)
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Incomplete, "a part of the vault is missing")
	}
	return value, err
}

// decode reads CBOR in the very form that is written the same value: no null in the place of an array, or of nothing.
func decode(in []byte, v any) error {
	if err := signed.Unmarshal(in, v); err != nil {
		return err
	}
	if out, err := signed.Marshal(v); err != nil || !bytes.Equal(in, out) {
		return fault.New(fault.NotAuthentic, "a record has another form than the one it is written in")
	}
	return nil
}
