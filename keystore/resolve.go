package keystore

import (
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// resolve decides a change that was pending when its process ended or its answer was lost. there is the replica's root blob; the change is
// made if that is its own, sent again if it is still the one before, and dropped if it is another device's.
func (v *Vault) resolve(ctx context.Context, r Replica, h *pendingHead, there Remote) error {
	b, err := parseRootBlob(there.Body)
	if err != nil {
		return err
	}
	c, err := v.writable()
	if err != nil {
		return err
	}
	switch hash := b.hash(); {
	case hash == [32]byte(h.Root):
		return v.reload()
	case hash == c.rootHash:
		if err := v.sendAgain(ctx, r, h, there.Mark); !isRefusal(err) {
			return err
		}
		if now, err := one(ctx, r, remoteRoot); err != nil || now.Mark != there.Mark {
			return errors.Join(err, error(errMoved))
		}
		// the root is the same, so it is something else in the swap that the replica does not take
	default:
		if err := v.authenticRoot(b); err != nil {
			return err
		}
	}
	v.o.Logger.Warn("a change of the vault that was never acknowledged was dropped")
	v.notify(EventChangeDropped)
	return v.dropPending()
}

// authenticRoot reports whether a root blob is one of this vault at all: no pending change is dropped for less.
func (v *Vault) authenticRoot(b rootBlob) error {
	next, _, err := v.openKnown(b)
	if err == nil {
		next.keys.wipe()
	}
	return err
}

// sendAgain swaps in a pending change as it was written down.
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
	if err := v.swapIn(ctx, r, parts, b, h.attached(), cred, mark); err != nil {
		return remoteFault(err)
	}
	return v.reload()
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
