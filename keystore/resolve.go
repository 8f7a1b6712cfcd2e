package keystore

import (
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// resolve decides a change that was pending when its process ended or its answer was lost. there is the replica's root blob; the change is
// made if that is its own or came of it, sent again if it is still the one before, and dropped if it is another device's, or if the replica does
// not take it.
func (v *Vault) resolve(ctx context.Context, r Replica, h *pendingHead, there Remote) error {
	b, err := parseRootBlob(there.Body)
	if err != nil {
		return err
	}
	c, err := v.writable()
	if err != nil {
		return err
	}
	f, err := v.fateOf(c, [32]byte(h.Root), b, c.keys)
	switch {
	case err != nil:
		return err
	case f == made:
		return v.reload()
	case f == waiting:
		err := v.sendAgain(ctx, r, h, there.Mark)
		if err == nil {
			return v.reload()
		}
		if !errors.Is(err, errRefused) {
			return err
		}
		now, err := one(ctx, r, remoteRoot)
		if err != nil {
			return err
		}
		if now.Mark != there.Mark {
			return errMoved
		}
		// The root is the same, so it is something else in the swap that the replica does not take.
		if err := fence(ctx, r, there); err != nil {
			return err
		}
	}
	return v.giveUpPending()
}

// fence puts the root blob in its own place: a request of before that is still on its way finds another mark, and is refused.
func fence(ctx context.Context, r Replica, there Remote) error {
	err := r.Swap(ctx, Swap{Changes: []RemoteChange{{Name: remoteRoot, Before: there.Mark, Body: there.Body}}})
	if errors.Is(err, fault.Conflict) {
		return errMoved
	}
	return remoteFault(err)
}

// fate is what became of a pending change.
type fate int

const (
	waiting   fate = iota // the replica has the vault that the change was made on
	made                  // it has the one that the change makes, or one that came of that
	overtaken             // it has one that another device made of the vault before
)

// fateOf judges a change of c that makes the root record with that hash by the root blob of the replica, which is opened with keys. A vault that
// did not come of c decides nothing: it is fault.RolledBack or fault.Forked, as after any other answer of that kind.
func (v *Vault) fateOf(c *contents, change [32]byte, b rootBlob, keys *keyring) (fate, error) {
	switch b.hash() {
	case change:
		return made, nil
	case c.rootHash:
		return waiting, nil
	}
	next, _, err := v.openUnder(b, c.header.user, keys)
	if err != nil {
		return waiting, err
	}
	defer next.keys.wipe()
	if _, err := next.cameOf(c.header, c.counter, c.rootHash); err != nil {
		return waiting, err
	}
	return next.fateOf(c.counter, c.rootHash, change)
}

// fateOf judges a change of a former state of the vault by the vault as it is. A change from before the history counts as overtaken.
func (c *contents) fateOf(counter uint64, before, change [32]byte) (fate, error) {
	if _, err := c.follows(counter, before); err != nil {
		return waiting, err
	}
	if c.rootHash == before {
		return waiting, nil
	}
	if known, err := c.follows(counter+1, change); known && err == nil {
		return made, nil
	}
	return overtaken, nil
}

// errRefused is the cause of a failure that is the replica's refusal of a pending change.
var errRefused = errors.New("keystore: the pending change is refused")

// sendAgain swaps in a pending change as it was written down. A refusal is errRefused.
func (v *Vault) sendAgain(ctx context.Context, r Replica, h *pendingHead, mark Mark) error {
	c, err := v.writable()
	if err != nil {
		return err
	}
	cred, err := h.credentials(c.header.user, c.keys)
	if err != nil {
		return err
	}
	defer cred.wipe()
	var b rootBlob
	var parts []RemoteChange
	err = v.db.View(func(tx *kv.Tx) (err error) {
		b, parts, err = pendingBlobs(tx, c)
		return err
	})
	if err != nil {
		return err
	}
	err = remoteFault(v.swapIn(ctx, r, parts, b, h.attached(), cred, mark))
	if isRefusal(err) {
		err = errors.Join(err, errRefused)
	}
	return err
}

// pendingBlobs reads the pending change as blobs. Its parts are sealed under the present vault key, which a change of password keeps among
// the former ones.
func pendingBlobs(tx *kv.Tx, c *contents) (b rootBlob, parts []RemoteChange, err error) {
	get := func(key string) []byte {
		raw, e := tx.Get(pendingSet + key)
		if errors.Is(e, fault.NotFound) {
			return nil
		}
		if e == nil && len(raw) >= 8 {
			return raw[8:]
		}
		err = errors.Join(err, e)
		return nil
	}
	b = rootBlob{header: get(recordHeader), keyring: get(recordKeyring), root: get(recordRoot)}
	if b.header == nil {
		b.header = c.header.raw
	}
	if b.keyring == nil {
		b.keyring, err = part(tx, recordKeyring)
	}
	if err != nil {
		return b, nil, err
	}
	err = tx.Scan(pendingSet+prefixVault, func(key string, value []byte) error {
		if w, err := parsePendingEntry(key, value); err != nil || !isPart(w.Key) {
			return err
		} else {
			parts = append(parts, sealPart(c.header.user, c.keys, w.Value))
			return nil
		}
	})
	return b, parts, err
}

// reload makes the pending change and reads the vault from the database. If its vault key is another one, as after a change of password,
// the vault is locked: only the new password opens it.
func (v *Vault) reload() error {
	v.mu.Lock()
	kept, err := v.applyPending()
	v.mu.Unlock()
	v.keptRecords(kept)
	if err != nil {
		return v.notApplied(err)
	}
	defer v.notify(EventChangeMade)
	c, err := v.writable()
	if err != nil {
		return err
	}
	h, err := v.readHeader()
	if err != nil {
		return err
	}
	key := c.keys.find(h.keyID).Clone()
	if key.IsZero() {
		v.leave()
		v.notify(EventLocked)
		return errPasswordChanged
	}
	var next *contents
	err = v.db.View(func(tx *kv.Tx) (err error) {
		next, err = load(tx, h, key)
		return err
	})
	if err != nil {
		return err
	}
	v.exchange(next)
	return nil
}

// exchange makes contents with keys of their own those of the vault.
func (v *Vault) exchange(next *contents) {
	v.mu.Lock()
	before := v.c
	v.c, v.pending = next, nil
	if before != nil {
		before.keys.wipe()
	}
	v.mu.Unlock()
	v.moveAnchor(next)
}

var errPasswordChanged = fault.New(fault.Locked, "the password was changed; the vault opens with the new one")
