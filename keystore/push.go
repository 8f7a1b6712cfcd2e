package keystore

import (
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

const (
	maxTries = 3 // of a change that other devices were faster with
	maxRaces = 8 // of a reader whose records are replaced under it
)

var (
	errJoining = fault.New(fault.Unavailable, "the first upload of the vault was not finished; join again")

	// errUndecided is the cause of a failure that leaves a change pending, or decided and not yet applied.
	errUndecided = errors.New("keystore: the change is pending")

	// errMoved says that the replica has another vault now than the one that a change, or a reader, began with.
	errMoved = fault.New(fault.Conflict, "another device was faster")
)

// Undecided reports whether a change of a replicated vault failed in a way that leaves it pending: it may be made later, by the next change,
// Sync or start that reaches the replica. A change that failed with any other error was not made, and will not be.
func Undecided(err error) bool { return errors.Is(err, errUndecided) }

// undecided is what a change returns that was written down as pending and that this failure kept from being made, or dropped.
func undecided(failed error) error {
	return fault.Wrap(fault.Unavailable, errors.Join(failed, errUndecided), "whether the change is made will be seen once the coordinator can be reached and the disk has room")
}

// proposal is a change of a replicated vault that was not made yet.
type proposal struct {
	tx      *Tx
	next    *contents
	writes  []kv.Write
	keyring []byte // record before the change
}

func (p *proposal) local() bool { return p.next == p.tx.c }

// updateReplicated is update for a vault that a replica keeps. The caller holds writing.
func (v *Vault) updateReplicated(ctx context.Context, fn func(tx *Tx) error) error {
	for range maxTries {
		err := v.tryReplicated(ctx, fn)
		if !errors.Is(err, error(errMoved)) {
			return err
		}
	}
	return fault.New(fault.Conflict, "other devices changed the vault each time that this change was tried")
}

// tryReplicated proposes the change on the vault as it is here, and again if the replica has a newer one, and swaps it in there.
func (v *Vault) tryReplicated(ctx context.Context, fn func(tx *Tx) error) error {
	p, err := v.propose(fn)
	if err != nil {
		return err
	}
	if p.local() {
		return v.applyLocal(p, fn)
	}
	r, ctx, end, err := v.connection(ctx)
	if err != nil {
		p.tx.discard()
		return err
	}
	defer end()
	return orLocked(ctx, v.trySwap(ctx, r, p, fn))
}

// trySwap is tryReplicated with the replica, for a proposal on the vault as it is here.
func (v *Vault) trySwap(ctx context.Context, r Replica, p *proposal, fn func(tx *Tx) error) error {
	mark, err := v.catchUp(ctx, r)
	if err != nil {
		p.tx.discard()
		return v.suspicious(err)
	}
	if c, err := v.writable(); err != nil || c != p.tx.c {
		p.tx.discard()
		if err != nil {
			return err
		}
		if p, err = v.propose(fn); err != nil {
			return err
		}
		if p.local() {
			return v.applyLocal(p, fn)
		}
	}
	return v.change(ctx, r, p, mark)
}

// propose calls fn on the vault as it is here, and writes nothing.
func (v *Vault) propose(fn func(tx *Tx) error) (*proposal, error) {
	c, err := v.writable()
	if err != nil {
		return nil, err
	}
	p := &proposal{tx: &Tx{c: c, staged: make(map[string]*entry), replicated: true}}
	p.writes, err = v.db.Propose(func(k *kv.Tx) (err error) {
		if p.keyring, err = part(k, recordKeyring); err != nil {
			return err
		}
		p.next, err = p.tx.run(k, fn)
		return err
	})
	if err != nil {
		p.tx.discard()
		return nil, err
	}
	return p, nil
}

// applyLocal makes a change that is none of the vault: fn is called once more, in the transaction that is written.
func (v *Vault) applyLocal(p *proposal, fn func(tx *Tx) error) error {
	p.tx.discard()
	tx := &Tx{c: p.tx.c, staged: make(map[string]*entry), replicated: true}
	err := v.db.Update(func(k *kv.Tx) error {
		next, err := tx.run(k, fn)
		if err != nil {
			return err
		}
		if next != tx.c {
			return errMoved // it changes the vault now
		}
		return v.commitLocal(tx, k)
	})
	tx.discard()
	return err
}

// change makes a proposed change: pending here, swapped there, applied here. mark is that of the replica's root, which is the present one.
func (v *Vault) change(ctx context.Context, r Replica, p *proposal, mark Mark) error {
	c := p.tx.c
	head := &pendingHead{State: proposed, Root: p.next.rootHash[:], Proofs: sealProofs(c.header.user, c.keys, p.tx.credentials)}
	head.attach(p.tx.attached)
	if err := stage(v.db, p.writes, head); err != nil {
		p.tx.discard()
		if errors.Is(err, fault.Unavailable) { // the disk failed: nobody knows what it holds
			return undecided(err)
		}
		return err
	}
	v.awaited = &awaited{root: p.next.rootHash, fns: p.tx.onCommit}
	err := v.swapIn(ctx, r, p.parts(), p.blob(), p.tx.attached, p.tx.credentials, mark)
	if err != nil {
		var ours bool
		if ours, err = v.outcome(ctx, r, p, err); !ours {
			p.tx.discard()
			return err
		}
	}
	if err := v.apply(p.next, func(before *contents) { before.keys.wipeSlotKeys(p.next.keys) }); err != nil {
		p.tx.discard()
		return undecided(err)
	}
	p.tx.credentials.wipe()
	return nil
}

// outcome finds out what became of a swap that failed. What the replica has refused for certain is dropped. Any other failure is undecided.
func (v *Vault) outcome(ctx context.Context, r Replica, p *proposal, failed error) (ours bool, err error) {
	failed = remoteFault(failed)
	certain := isAnswer(failed)
	if certain && !errors.Is(failed, fault.Conflict) {
		if err := v.dropPending(); err != nil {
			return false, undecided(err)
		}
		return false, v.makeRoom(ctx, r, failed)
	}
	there, err := one(ctx, r, remoteRoot) // a conflict may be with this very change, whose first answer was lost
	if err != nil {
		return false, undecided(failed)
	}
	f, err := v.fateOfProposal(p, there)
	if err == nil && f == made {
		return true, nil
	}
	if err != nil || !certain {
		return false, undecided(failed) // it may still be on its way: the next change or start decides
	}
	if err := v.dropPending(); err != nil {
		return false, undecided(err)
	}
	return false, errMoved
}

func (v *Vault) fateOfProposal(p *proposal, there Remote) (fate, error) {
	b, err := parseRootBlob(there.Body)
	if err != nil {
		return waiting, err
	}
	return v.fateOf(p.tx.c, p.next.rootHash, b, p.next.keys)
}

// makeRoom removes garbage from a replica that is full, so that the change may be tried again; otherwise it returns the failure.
func (v *Vault) makeRoom(ctx context.Context, r Replica, failed error) error {
	if !errors.Is(failed, fault.StorageFull) {
		return failed
	}
	if removed, err := v.collect(ctx, r); err != nil || removed == 0 {
		return failed
	}
	return errMoved
}

// isAnswer reports whether an error of a swap is the replica's: the swap was not made. Any other leaves that open.
func isAnswer(err error) bool {
	switch fault.CodeOf(err) {
	case fault.Unavailable, fault.Internal, fault.Locked:
		return false
	}
	return err != nil
}

// isRefusal reports whether a replica refused a swap, and would again.
func isRefusal(err error) bool {
	return isAnswer(err) && !errors.Is(err, fault.Busy) && !errors.Is(err, fault.Unauthorized)
}

// apply makes the pending change that the replica has, next being what the vault is by it.
func (v *Vault) apply(next *contents, replaced func(before *contents)) error {
	v.mu.Lock() // readers wait: the database changes, perhaps in several transactions, before the contents do
	kept, err := v.applyPending()
	if err == nil {
		before := v.c
		v.c, v.pending = next, nil
		replaced(before)
	}
	v.mu.Unlock()
	v.keptRecords(kept)
	if err != nil {
		return v.notApplied(err)
	}
	v.moveAnchor(next)
	return nil
}

// notApplied locks the vault if a decided change is half in the database, until it is applied. A proposed one is where it was.
func (v *Vault) notApplied(err error) error {
	if h, readErr := readPending(v.db); readErr != nil || h == nil || h.State == decided {
		v.unsettled.Store(true)
		if v.leave() {
			v.notify(EventLocked)
		}
	}
	return err
}

// blob is the root blob after the change: header and keyring that it does not write are as before.
func (p *proposal) blob() rootBlob {
	b := rootBlob{header: p.tx.c.header.raw, keyring: p.keyring}
	for _, w := range p.writes {
		switch w.Key {
		case recordHeader:
			b.header = w.Value
		case recordKeyring:
			b.keyring = w.Value
		case recordRoot:
			b.root = w.Value
		}
	}
	return b
}

// parts are the shards and items that a change adds.
func (p *proposal) parts() []RemoteChange {
	var parts []RemoteChange
	for _, w := range p.writes {
		if isPart(w.Key) && !w.Deleted {
			parts = append(parts, sealPart(p.next.header.user, p.next.keys, w.Value))
		}
	}
	return parts
}
