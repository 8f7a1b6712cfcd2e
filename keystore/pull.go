package keystore

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/google/uuid"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// Sync takes over what other devices changed, after verifying all of it, and decides a change whose answer was lost. The vault must be open.
// Failures, after which everything is as it was:
//
//   - fault.RolledBack: the replica has an older vault than this machine, or none
//   - fault.Forked: its vault did not come of the one that is here
//   - fault.NotAuthentic, fault.Incomplete: records are changed, or missing, or made without the vault key that is here; fault.Policy: another format or derivation
//   - fault.Locked: the vault there is under an unknown key: the password was changed on another device (Follow), or the replica lies
//   - fault.Conflict: no replica keeps this vault; others replaced the records as fast as they were read
//   - fault.Unavailable
func (v *Vault) Sync(ctx context.Context) error {
	defer scrubbed()()
	if err := v.writing.LockContext(ctx); err != nil {
		return err
	}
	defer v.writing.Unlock()
	if _, _, err := v.opened(); err != nil {
		return err
	}
	m, err := v.membership()
	switch {
	case err != nil:
		return err
	case m == joining:
		return errJoining
	case m == alone:
		return fault.New(fault.Conflict, "no replica keeps this vault")
	}
	r, ctx, end, err := v.connection(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, err = v.catchUp(ctx, r)
	return orLocked(ctx, v.suspicious(err))
}

// suspicious tells the event of an answer that was refused.
func (v *Vault) suspicious(err error) error {
	switch {
	case err == nil || errors.Is(err, fault.Unavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, error(errOtherKey)):
		v.notify(EventPasswordElsewhere)
		return err
	}
	return v.refused(err)
}

// catchUp makes the vault here the one of the replica and returns the mark of its root blob. The caller holds writing.
func (v *Vault) catchUp(ctx context.Context, r Replica) (Mark, error) {
	for range maxRaces {
		there, err := one(ctx, r, remoteRoot)
		if err != nil {
			return Mark{}, err
		}
		if len(there.Body) == 0 {
			return Mark{}, fault.New(fault.RolledBack, "the replica does not have the vault any more")
		}
		h, err := readPending(v.db)
		if err != nil {
			return Mark{}, err
		}
		if _, readOnly, _ := v.opened(); h != nil && !readOnly {
			if err := v.resolve(ctx, r, h, there); err != nil && !errors.Is(err, error(errMoved)) {
				return Mark{}, err
			}
			continue
		}
		if err := v.pull(ctx, r, there, false); !errors.Is(err, error(errMoved)) {
			return there.Mark, err
		}
	}
	return Mark{}, fault.New(fault.Conflict, "other devices replace the records of the vault as fast as they are read")
}

// opened returns the contents of an open vault, and whether it was opened for reading only.
func (v *Vault) opened() (*contents, bool, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c == nil {
		return nil, false, errLocked
	}
	return v.c, v.readOnly, nil
}

// pull takes over the vault whose root blob this is, if it is newer. With surely it must be known that it came of the one that is here. A vault
// that was restored from a backup, or opened for reading although it is an older one, has the vault key of its day: who has that one as well
// can show it a vault of his own.
func (v *Vault) pull(ctx context.Context, r Replica, there Remote, surely bool) error {
	c, readOnly, err := v.opened()
	if err != nil {
		return err
	}
	b, err := parseRootBlob(there.Body)
	if err != nil || b.hash() == c.rootHash && !readOnly {
		return err
	}
	next, top, err := v.openUnder(b, c.header.user, c.keys)
	if err != nil {
		return err
	}
	known, err := next.cameOf(c.header, c.counter, c.rootHash)
	if err == nil && readOnly {
		known, err = v.followsAnchor(next)
	}
	if err == nil && surely && !known {
		err = errOfAnother
	}
	if err != nil {
		next.keys.wipe()
		return err
	}
	return v.takeOver(ctx, r, b, next, top, known)
}

var errOfAnother = fault.New(fault.Conflict, "nobody can tell whether the vault on the replica came of this one; it would take its place")

// followsAnchor judges a vault by the newest that was ever on this machine. Without a record of that nothing is known.
func (v *Vault) followsAnchor(c *contents) (known bool, err error) {
	raw, err := atomicfile.ReadFrom(v.o.Files, v.path(anchorFileName))
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	a, err := parseAnchor(raw)
	if err != nil {
		return false, err
	}
	return a.judge(c)
}

var errOtherKey = fault.New(fault.Locked, "the vault on the replica is under another key: the password was changed on another device")

// openUnder opens a user's root blob with a vault key of a keyring.
func (v *Vault) openUnder(b rootBlob, user uuid.UUID, keys *keyring) (*contents, *root, error) {
	h, err := parseHeader(b.header)
	if err != nil {
		return nil, nil, err
	}
	if h.user != user {
		return nil, nil, errOtherUser
	}
	key := keys.find(h.keyID).Clone()
	if key.IsZero() {
		return nil, nil, errOtherKey
	}
	return v.openRemote(b, h, key)
}

var errOtherUser = fault.New(fault.NotAuthentic, "the vault on the replica is another user's")

// takeOver makes next, an opened root blob, the vault of this machine: it fetches the shards and items that are not here, verifies them,
// and applies all in one pending change. It owns the keys of next. Parts that are gone are errMoved if the root blob is another by now.
func (v *Vault) takeOver(ctx context.Context, r Replica, b rootBlob, next *contents, top *root, known bool) error {
	if err := v.collectPull(ctx, r, b, next, top, known); err != nil {
		next.keys.wipe()
		return errors.Join(err, v.dropPending())
	}
	err := v.apply(next, func(before *contents) {
		v.readOnly = false
		if before != nil {
			before.keys.wipe()
		}
	})
	if err != nil {
		next.keys.wipe()
		return err
	}
	if !known {
		v.o.Logger.Warn("the vault was taken from the replica without anything to compare it with", "counter", next.counter)
		v.notify(EventUnconfirmed)
	}
	v.notify(EventSynced)
	return nil
}

// collectPull writes down what makes the vault of this machine that of a root blob.
func (v *Vault) collectPull(ctx context.Context, r Replica, b rootBlob, next *contents, top *root, known bool) error {
	have, err := v.localHashes()
	if err == nil {
		err = v.dropPending()
	}
	if err == nil {
		err = removeAll(v.db, prefixPending)
	}
	if err != nil {
		return err
	}
	p := &puller{ctx: ctx, r: r, c: next, before: new(index), have: have, want: map[string][32]byte{}, j: journal{db: v.db}, root: b.hash()}
	if c, _, err := v.opened(); err == nil {
		p.before = c.index
		if _, err := next.follows(c.counter, c.rootHash); err != nil { // see goBack
			p.givenUp = givenUp(c, next)
		}
	}
	if err := p.shards(v.db, top); err != nil {
		return err
	}
	if err := p.items(); err != nil {
		return err
	}
	m := joined
	if before, err := v.membership(); err != nil {
		return err
	} else if !known || before == fresh {
		m = fresh
	}
	if err := p.rest(b, m); err != nil {
		return err
	}
	return p.j.decide(next.rootHash)
}

// localHashes returns SHA-256 of each shard and item that this machine has, by its key in the database.
func (v *Vault) localHashes() (map[string][32]byte, error) {
	have := make(map[string][32]byte)
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c != nil {
		addWanted(have, v.c.index)
		return have, nil
	}
	err := v.db.View(func(tx *kv.Tx) error {
		for _, prefix := range []string{prefixShard, prefixItem} {
			err := tx.Scan(prefix, func(key string, value []byte) error {
				have[key] = sha256.Sum256(value)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return have, err
}

// addWanted adds the shards and items that an index names.
func addWanted(to map[string][32]byte, x *index) {
	for n, shard := range x.shards {
		if len(shard) == 0 {
			continue
		}
		to[shardRecord(n)] = x.refs[n].hash
		for id, e := range shard {
			to[prefixItem+id] = e.hash
		}
	}
}
