package keystore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// KindReplica is the kind of items that say where a vault is replicated. That they changed while it was not keeps it from no Join.
const KindReplica = "coordinator"

// departure is what the vault was when it left a replica. Its record has 189 bytes:
//
//	anchor (93) ‖ SHA-256 of the header (32) ‖ SHA-256 of the items (32) ‖ HMAC-SHA-256 of it all (32)
//
// The items are those of any kind but KindReplica, by id: id ‖ 0 ‖ SHA-256 of the sealed item (32). The HMAC is under the subkey "vault/left" of the
// keyring's anchor key.
type departure struct {
	anchor        anchor
	header, items [sha256.Size]byte
}

const departureSize = anchorSize + 2*sha256.Size

func departureOf(c *contents) departure {
	return departure{anchorOf(c), sha256.Sum256(c.header.raw), c.index.digest()}
}

func (d departure) encode(c *contents) []byte {
	b := slices.Concat(d.anchor.encode(), d.header[:], d.items[:])
	return append(b, mac(c.keys.anchor, "vault/left", b)...)
}

// departed returns what the vault was when it left a replica, if it did.
func (v *Vault) departed(c *contents) (d departure, did bool, err error) {
	err = v.db.View(func(tx *kv.Tx) error {
		b, err := tx.Get(recordLeft)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(b) != departureSize+sha256.Size || !hmac.Equal(mac(c.keys.anchor, "vault/left", b[:departureSize]), b[departureSize:]) {
			return fault.New(fault.NotAuthentic, "the record of when the vault left its replica is damaged")
		}
		d.header, d.items, did = [sha256.Size]byte(b[anchorSize:]), [sha256.Size]byte(b[anchorSize+sha256.Size:]), true
		d.anchor, err = parseAnchor(b[:anchorSize])
		return err
	})
	return d, did, err
}

// digest is the hash of the items in a departure.
func (x *index) digest() (sum [sha256.Size]byte) {
	items := map[string][sha256.Size]byte{}
	for _, shard := range x.shards {
		for id, e := range shard {
			if e.kind != KindReplica {
				items[id] = e.hash
			}
		}
	}
	h := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(items)) {
		hash := items[id]
		h.Write(append(append([]byte(id), 0), hash[:]...))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// goBack takes over a replica's vault that went on since this one left, where nothing changed here meanwhile but the items of KindReplica. Otherwise it
// returns why, which is the failure of joining it.
func (v *Vault) goBack(ctx context.Context, r Replica, there Remote, why error) error {
	c, err := v.writable()
	if err != nil {
		return err
	}
	d, did, err := v.departed(c)
	if err != nil {
		return err
	}
	if !did || d.header != sha256.Sum256(c.header.raw) || d.items != c.index.digest() {
		return why
	}
	b, err := parseRootBlob(there.Body)
	if err != nil {
		return err
	}
	next, top, err := v.openUnder(b, c.header.user, c.keys)
	if err != nil {
		return err
	}
	if known, err := next.cameOf(c.header, d.anchor.counter, d.anchor.root); err != nil || !known {
		next.keys.wipe()
		return why
	}
	if err := v.writeAnchor(c); err != nil { // gaveUp compares with it
		next.keys.wipe()
		return err
	}
	return v.takeOver(ctx, r, b, next, top, true)
}
