package keystore

import (
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// Join gives the vault to the replica that Connect named, which keeps it from then on. If the replica has the vault already, a newer one
// that came of this is taken over, as after a restored backup; in the place of an older one that this came of goes this one. One that went on since this one
// left is taken over where nothing changed here meanwhile, items of KindReplica aside. The vault must be open. Join again after a failure: it goes on.
// Failures: those of Sync, of which fault.Forked is for two vaults that both went on; fault.Conflict if the replica has a vault of the user of which nobody
// can tell whether it came of this one.
func (v *Vault) Join(ctx context.Context) error {
	defer scrubbed()()
	if err := v.writing.LockContext(ctx); err != nil {
		return err
	}
	defer v.writing.Unlock()
	if _, err := v.writable(); err != nil {
		return err
	}
	m, err := v.membership()
	if err != nil || m.replicated() {
		return err
	}
	r, ctx, end, err := v.connection(ctx)
	if err != nil {
		return err
	}
	defer end()
	return orLocked(ctx, v.suspicious(v.join(ctx, r)))
}

// Leave makes the vault a local one again: changes need no replica. What the replica has stays there. A change whose answer was lost is dropped; if
// it was made, only the replica has it, and a Join there brings it back. Other devices of the user are not told, and are other vaults once
// either side changes. The vault must be open. It is logged.
func (v *Vault) Leave() error {
	v.writing.Lock()
	defer v.writing.Unlock()
	c, err := v.writable()
	if err != nil {
		return err
	}
	m, err := v.membership()
	if err != nil || m == alone {
		return err
	}
	if err := v.giveUpPending(); err != nil {
		return err
	}
	err = v.db.Update(func(tx *kv.Tx) error {
		left, err := tx.Has(recordLeft)
		if m.replicated() || !left { // else nobody knows whether it came back since it left
			err = errors.Join(err, tx.Set(recordLeft, departureOf(c).encode(c)))
		}
		return errors.Join(err, tx.Delete(recordReplica))
	})
	if err != nil {
		return err
	}
	v.o.Logger.Warn("the vault is not kept by a replica any more", "counter", c.counter)
	v.notify(EventLeft)
	return nil
}

// giveUpPending drops a pending change, if there is one, whatever became of it.
func (v *Vault) giveUpPending() error {
	h, err := readPending(v.db)
	if err != nil || h == nil {
		return err
	}
	if err := v.dropPending(); err != nil {
		return err
	}
	v.o.Logger.Warn("a change of the vault that was never acknowledged was dropped")
	v.notify(EventChangeDropped)
	return nil
}

// cameOf accepts a replica's vault that this one is known to have come of, as after Leave: it has only what this one had.
func (v *Vault) cameOf(there Remote) error {
	c, err := v.writable()
	if err != nil {
		return err
	}
	old, known, err := v.olderThan(c, there)
	if err == nil && !known {
		var d departure
		d, known, err = v.departed(c)
		known = known && d.anchor == old
	}
	if err == nil && !known {
		err = errOfAnother
	}
	return err
}

// join uploads the vault, in the place of an older one that it came of, or takes over what is there. Local changes stop before the swap that may be the one, and until its outcome is known.
func (v *Vault) join(ctx context.Context, r Replica) error {
	for range maxRaces {
		there, err := one(ctx, r, remoteRoot)
		if err != nil {
			return err
		}
		if len(there.Body) > 0 {
			if older, err := v.joinThere(ctx, r, there); err != nil || !older {
				return err
			}
		}
		err = v.uploadAll(ctx, r, there.Mark, v.beginJoining)
		if err == nil {
			return v.joinedNow(ctx, r)
		}
		if !errors.Is(err, fault.Conflict) {
			if isRefusal(err) {
				err = errors.Join(err, v.setMembership(alone))
			}
			return remoteFault(err)
		}
	}
	return fault.New(fault.Conflict, "other devices upload a vault at the same time")
}

// beginJoining stops local changes. The unattended slot, of which other machines will know now, is this one's.
func (v *Vault) beginJoining() error {
	c, err := v.writable()
	if err != nil {
		return err
	}
	return v.db.Update(func(tx *kv.Tx) error {
		return errors.Join(noteSlot(tx, c.header), tx.Set(recordReplica, []byte{byte(joining)}))
	})
}

// joinedNow notes that the vault is on the replica, and removes there what uploads before this one left.
func (v *Vault) joinedNow(ctx context.Context, r Replica) error {
	if err := v.setMembership(joined); err != nil {
		return err
	}
	if _, err := v.collect(ctx, r); err != nil {
		v.o.Logger.Warn("the replica was not tidied", "code", string(fault.CodeOf(err)))
	}
	return nil
}

// joinThere joins a replica that has a vault: this one, or a newer one that came of it, or went on since it left. older: it has one that this one came of.
func (v *Vault) joinThere(ctx context.Context, r Replica, there Remote) (older bool, err error) {
	err = v.pull(ctx, r, there, true)
	if older = errors.Is(err, fault.RolledBack); older {
		err = v.cameOf(there)
	}
	if errors.Is(err, fault.Forked) || errors.Is(err, error(errOfAnother)) {
		older, err = false, v.goBack(ctx, r, there, err)
	}
	if errors.Is(err, fault.NotAuthentic) || errors.Is(err, fault.Forked) || errors.Is(err, error(errOfAnother)) {
		if m, mErr := v.membership(); mErr == nil && m == joining {
			err = errors.Join(err, v.setMembership(alone)) // the upload of before cannot have been the one
		}
	}
	if err != nil || older {
		return older, err
	}
	if m, err := v.membership(); err != nil || m.replicated() { // pull said so
		return false, err
	}
	return false, v.setMembership(joined)
}

// Republish puts the vault of this machine in the place of an older one that the replica has, as after a restore of the coordinator. What
// other devices changed since, if that is lost there, is lost. It is for a user who was told of fault.RolledBack and decided; it is logged.
func (v *Vault) Republish(ctx context.Context) error {
	defer scrubbed()()
	if err := v.writing.LockContext(ctx); err != nil {
		return err
	}
	defer v.writing.Unlock()
	c, err := v.writable()
	if err != nil {
		return err
	}
	if m, err := v.membership(); err != nil || !m.replicated() {
		return errors.Join(err, error(fault.New(fault.Conflict, "no replica keeps this vault")))
	}
	r, ctx, end, err := v.connection(ctx)
	if err != nil {
		return err
	}
	defer end()
	return orLocked(ctx, v.republish(ctx, r, c))
}

func (v *Vault) republish(ctx context.Context, r Replica, c *contents) error {
	there, err := one(ctx, r, remoteRoot)
	if err != nil {
		return err
	}
	if _, _, err := v.olderThan(c, there); err != nil { // where the histories do not tell, the user does
		return v.suspicious(err)
	}
	if err := v.giveUpPending(); err != nil {
		return err
	}
	v.o.Logger.Warn("the vault of this machine takes the place of an older one on the replica", "counter", c.counter)
	return remoteFault(v.uploadAll(ctx, r, there.Mark, func() error { return nil }))
}

// olderThan accepts a replica without a vault, and one whose vault c came of, and returns what that is. Where that cannot be told, as it is too old, known is
// false.
func (v *Vault) olderThan(c *contents, there Remote) (old anchor, known bool, err error) {
	if len(there.Body) == 0 {
		return old, true, nil
	}
	b, err := parseRootBlob(there.Body)
	if err != nil {
		return old, false, err
	}
	former, _, err := v.openUnder(b, c.header.user, c.keys)
	if err != nil {
		return old, false, err
	}
	defer former.keys.wipe()
	if former.counter > c.counter {
		return old, false, fault.New(fault.Conflict, "the replica has a newer vault")
	}
	known, err = c.follows(former.counter, former.rootHash)
	return anchorOf(former), known, err
}

// uploadAll puts the whole vault on the replica: parts first, in batches, and after before the root blob in the place of the one with that mark.
func (v *Vault) uploadAll(ctx context.Context, r Replica, mark Mark, before func() error) error {
	var b rootBlob
	err := v.db.View(func(tx *kv.Tx) error {
		c, err := v.writable()
		if err != nil {
			return err
		}
		keyring, err := part(tx, recordKeyring)
		if err != nil {
			return err
		}
		root, err := part(tx, recordRoot)
		if err != nil {
			return err
		}
		b = rootBlob{c.header.raw, keyring, root}
		u := &uploader{ctx: ctx, r: r}
		for _, prefix := range []string{prefixShard, prefixItem} {
			err := tx.Scan(prefix, func(_ string, value []byte) error { return u.add(sealPart(c.header.user, c.keys, value)) })
			if err != nil {
				return err
			}
		}
		return u.flush()
	})
	if err == nil {
		err = before()
	}
	if err != nil {
		return err
	}
	return v.swapIn(ctx, r, nil, b, nil, nil, mark)
}

// uploader uploads parts in batches.
type uploader struct {
	ctx   context.Context
	r     Replica
	parts []RemoteChange
	size  int
}

func (u *uploader) add(p RemoteChange) error {
	if len(u.parts) == MaxSwapRecords || u.size+len(p.Body) > MaxSwapBytes {
		if err := u.flush(); err != nil {
			return err
		}
	}
	u.parts, u.size = append(u.parts, p), u.size+len(p.Body)
	return nil
}

func (u *uploader) flush() error {
	err := upload(u.ctx, u.r, u.parts)
	u.parts, u.size = nil, 0
	return err
}
