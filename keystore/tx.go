package keystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// Tx changes a vault: all of its items or none. What it does to records of the agent comes in the same transaction, see KV. It is valid until the function it was given to returns, for one goroutine.
type Tx struct {
	kv     *kv.Tx
	c      *contents
	staged map[string]*entry // nil: deleted

	header *header  // replaces the header, if not nil
	keys   *keyring // replaces the keyring, if not nil
	email  string   // replaces the address, if not empty

	replicated  bool
	attached    []RemoteChange
	credentials *Credentials
	onCommit    []func(tx *kv.Tx) error
}

// Get returns an item; fault.NotFound if there is none. The body is the caller's.
func (v *Vault) Get(id string) (Item, error) {
	defer scrubbed()()
	v.mu.RLock() // over all of it: the keys stay, and no change becomes pending or done meanwhile
	defer v.mu.RUnlock()
	if v.c == nil {
		return Item{}, errLocked
	}
	var it Item
	err := v.db.View(func(tx *kv.Tx) (err error) {
		it, err = v.get(tx, id)
		return err
	})
	return it, err
}

// get reads an item as the index has it or, while a change is being committed, as that change has it.
func (v *Vault) get(tx *kv.Tx, id string) (Item, error) {
	sealed, err := tx.Get(prefixItem + id)
	missing := errors.Is(err, fault.NotFound)
	if err != nil && !missing {
		return Item{}, err
	}
	if p, ok := v.pending[id]; ok {
		switch {
		case missing && p == nil:
			return Item{}, errNoItem
		case !missing && p != nil && sha256.Sum256(sealed) == p.hash:
			return openItem(v.c.header.user, v.c.keys, id, *p, sealed)
		}
	}
	e, ok := v.c.index.find(id)
	switch {
	case !ok && missing:
		return Item{}, errNoItem
	case missing:
		return Item{}, fault.New(fault.Incomplete, "an item that the index names is missing")
	case !ok:
		return Item{}, fault.New(fault.Incomplete, "the vault holds an item that its index does not name")
	}
	return openItem(v.c.header.user, v.c.keys, id, e, sealed)
}

// List returns the sorted ids of the items of a kind.
func (v *Vault) List(kind string) ([]string, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c == nil {
		return nil, errLocked
	}
	return v.c.index.list(kind), nil
}

var (
	errLocked = fault.New(fault.Locked, "the vault is locked")
	errNoItem = fault.New(fault.NotFound, "there is no such item")
)

// Update is UpdateContext without a context.
func (v *Vault) Update(fn func(tx *Tx) error) error { return v.UpdateContext(context.Background(), fn) }

// UpdateContext calls fn and makes what it changed durable in one transaction, records of the caller's own included. An error of fn is
// returned as it is and nothing is changed. Changes run one after the other; fn must not call Update or Lock.
//
// A vault that a replica keeps changes there first: fn is called up to nine times, each time on the vault as it is then, and what it does
// besides must bear that. fault.Unavailable then means that the change was not made or, if Undecided says so, is decided when the
// replica can be reached again. A change of the caller's records alone stays local.
//
// Failures: fault.Locked, fault.RolledBack (read-only), fault.Conflict (a version that does not rise; three others were faster at
// the replica), those of kv.DB.Update, and those of Sync.
func (v *Vault) UpdateContext(ctx context.Context, fn func(tx *Tx) error) error {
	if err := v.writing.LockContext(ctx); err != nil {
		return err
	}
	defer v.writing.Unlock()
	return v.update(ctx, fn)
}

// update is UpdateContext for a caller that holds writing.
func (v *Vault) update(ctx context.Context, fn func(tx *Tx) error) error {
	defer scrubbed()()
	if _, err := v.writable(); err != nil {
		return err
	}
	m, err := v.membership()
	switch {
	case err != nil:
		return err
	case m == joining:
		return errJoining
	case m.replicated():
		return v.updateReplicated(ctx, fn)
	}
	return v.updateLocal(fn)
}

// updateLocal changes a vault that no replica keeps.
func (v *Vault) updateLocal(fn func(tx *Tx) error) error {
	c, err := v.writable()
	if err != nil {
		return err
	}
	tx := &Tx{c: c, staged: make(map[string]*entry)}
	var next *contents
	err = v.db.Update(func(k *kv.Tx) (err error) {
		if next, err = tx.run(k, fn); err != nil {
			return err
		}
		if len(tx.attached) > 0 {
			return fault.New(fault.Conflict, "no replica keeps this vault, so nothing can be attached to a change")
		}
		return v.commitLocal(tx, k)
	})
	if err != nil {
		tx.discard()
		return err // pending stays: after a failed commit nobody knows what the database shows
	}
	tx.credentials.wipe()
	if next != c {
		v.replaceBy(next)
	}
	return nil
}

// run calls fn and writes what the vault becomes by it, in a transaction of the database.
func (tx *Tx) run(k *kv.Tx, fn func(tx *Tx) error) (*contents, error) {
	tx.kv = k
	if err := fn(tx); err != nil {
		return nil, err
	}
	return tx.finish()
}

// commitLocal is the last of a change that no replica is asked about: readers know from here on that the database may show it.
func (v *Vault) commitLocal(tx *Tx, k *kv.Tx) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pending = tx.staged
	for _, fn := range tx.onCommit {
		if err := fn(k); err != nil {
			return err
		}
	}
	return nil
}

// discard wipes the keys of a change that was not made.
func (tx *Tx) discard() {
	tx.credentials.wipe()
	if tx.keys != nil {
		tx.keys.wipeSlotKeys(tx.c.keys)
	}
}

// replaceBy makes contents that share their keys with the present ones those of the vault.
func (v *Vault) replaceBy(next *contents) {
	v.mu.Lock()
	before := v.c
	v.c, v.pending = next, nil
	before.keys.wipeSlotKeys(next.keys)
	v.mu.Unlock()
	v.moveAnchor(next)
}

func (v *Vault) writable() (*contents, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	switch {
	case v.c == nil:
		return nil, errLocked
	case v.readOnly:
		return nil, errReadOnly
	}
	return v.c, nil
}

// KV returns the database transaction, for records of the agent that change together with items. Keys under "vault/" are not its.
//
// Where a replica keeps the vault, what is written here becomes durable with the answer of the replica. If that is lost it comes later, with
// the next change, Sync or start that learns of it; a record that another transaction wrote meanwhile then stays as that one left it, which is
// logged. So a record written here must be one that no other transaction writes while the item beside it stays; for others there is OnCommit.
func (tx *Tx) KV() *kv.Tx { return tx.kv }

// OnCommit has fn called inside the transaction in which this change becomes durable on this machine, while readers of the vault wait: fn must
// not use the vault, not even Get. Where the answer of the replica is
// lost that may be after Update has failed (see Undecided), in another goroutine; if the process ends before, fn is not called. An error
// of fn fails the change, but not one that the replica has already: that is made without any OnCommit, and the error logged.
func (tx *Tx) OnCommit(fn func(tx *kv.Tx) error) { tx.onCommit = append(tx.onCommit, fn) }

// Attach has a record of the replica that is no part of the vault change in the same swap: the body takes the place of the version before,
// the zero Mark for none. What is too large is fault.TooLarge. Should the record be another by then, the change is redone like one that another device was faster with.
func (tx *Tx) Attach(name string, before Mark, body []byte) error {
	switch {
	case len(body) == 0 || bytesOf(tx.attached)+len(body) > MaxAttachedBytes:
		return fault.New(fault.TooLarge, "attached records have bodies, and at most %d bytes together", MaxAttachedBytes)
	case len(tx.attached)+1 >= MaxSwapRecords:
		return fault.New(fault.TooLarge, "at most %d records are attached to a change", MaxSwapRecords-1)
	}
	if err := checkRemoteName(name); err != nil {
		return err
	}
	tx.attached = append(tx.attached, RemoteChange{Name: name, Before: before, Body: bytes.Clone(body)})
	return nil
}

// Detach has that version of a record of the replica deleted in the same swap.
func (tx *Tx) Detach(name string, before Mark) error {
	if len(tx.attached)+1 >= MaxSwapRecords {
		return fault.New(fault.TooLarge, "at most %d records are attached to a change", MaxSwapRecords-1)
	}
	if err := checkRemoteName(name); err != nil {
		return err
	}
	tx.attached = append(tx.attached, RemoteChange{Name: name, Before: before})
	return nil
}

// Put adds or replaces an item. Its version must be above the present one; 0 stands for the next. The body is copied.
func (tx *Tx) Put(it Item) error {
	if err := errors.Join(checkID(it.ID), checkKind(it.Kind)); err != nil {
		return err
	}
	if len(it.Body) > MaxBody {
		return fault.New(fault.TooLarge, "an item holds at most %d bytes", MaxBody)
	}
	now, there := tx.find(it.ID)
	switch {
	case there && now.kind != it.Kind:
		return fault.New(fault.Conflict, "there is an item of another kind under this id")
	case !there && tx.c.index.items+len(tx.staged) >= maxItems:
		return fault.New(fault.TooLarge, "a vault holds at most %d items", maxItems)
	case it.Version == 0 && now.version < math.MaxUint64:
		it.Version = now.version + 1
	case it.Version <= now.version:
		return fault.New(fault.Conflict, "the item is at version %d already", now.version)
	}
	sealed, e := sealItem(tx.c.header.user, tx.c.keys, it)
	tx.staged[it.ID] = e
	return tx.kv.Set(prefixItem+it.ID, sealed)
}

// Delete removes an item; an absent one is no error.
func (tx *Tx) Delete(id string) error {
	if _, there := tx.find(id); !there {
		return nil
	}
	tx.staged[id] = nil
	return tx.kv.Delete(prefixItem + id)
}

// Get returns an item as this transaction left it; fault.NotFound if there is none.
func (tx *Tx) Get(id string) (Item, error) {
	e, there := tx.find(id)
	if !there {
		return Item{}, errNoItem
	}
	sealed, err := part(tx.kv, prefixItem+id)
	if err != nil {
		return Item{}, err
	}
	return openItem(tx.c.header.user, tx.c.keys, id, e, sealed)
}

func (tx *Tx) find(id string) (entry, bool) {
	if e, ok := tx.staged[id]; ok {
		if e == nil {
			return entry{}, false
		}
		return *e, true
	}
	return tx.c.index.find(id)
}

// finish writes the changed shards, header, keyring and the root record, and returns the contents after the commit: the present
// ones if nothing changed.
func (tx *Tx) finish() (*contents, error) {
	if len(tx.staged) == 0 && tx.header == nil && tx.keys == nil && len(tx.attached) == 0 {
		return tx.c, nil
	}
	n := *tx.c
	n.counter, n.previous = n.counter+1, n.rootHash
	left, err := tx.kv.Has(recordLeft)
	if err != nil {
		return nil, err
	}
	if tx.replicated || left || len(n.history) > 0 { // one that left a replica may come back, and must not pass for another then
		n.history = withHistory(n.history, n.rootHash)
	}
	if tx.email != "" {
		n.email = tx.email
	}
	if err := errors.Join(tx.writeKeys(&n), tx.writeShards(&n)); err != nil {
		return nil, err
	}
	return &n, writeRoot(tx.kv, &n)
}

func (tx *Tx) writeKeys(n *contents) error {
	if tx.keys != nil {
		n.keys = tx.keys
		record := n.keys.seal(n.header.user)
		n.keyring = sha256.Sum256(record)
		if err := tx.kv.Set(recordKeyring, record); err != nil {
			return err
		}
	}
	if tx.header == nil {
		return nil
	}
	n.header = tx.header
	raw, err := n.header.encode(n.keys.current)
	if err != nil {
		return err
	}
	return tx.kv.Set(recordHeader, raw)
}

func (tx *Tx) writeShards(n *contents) error {
	var touched []int
	n.index, touched = tx.c.index.changed(tx.staged)
	for _, s := range touched {
		if len(n.index.shards[s]) == 0 {
			n.index.refs[s] = shardRef{}
			if err := tx.kv.Delete(shardRecord(s)); err != nil {
				return err
			}
			continue
		}
		record, err := sealShard(n.header.user, n.keys, s, n.counter, n.index.shards[s])
		if err != nil {
			return err
		}
		n.index.refs[s] = shardRef{version: n.counter, hash: sha256.Sum256(record)}
		if err := tx.kv.Set(shardRecord(s), record); err != nil {
			return err
		}
	}
	return nil
}

// writeRoot seals the root record of c and notes its hash.
func writeRoot(tx *kv.Tx, c *contents) error {
	header := sha256.Sum256(c.header.raw)
	r := root{
		Counter: c.counter, Previous: c.previous[:], Header: header[:], Keyring: c.keyring[:],
		Email: c.email, Items: c.index.items, Shards: c.index.rootRefs(), History: c.history,
	}
	record, err := r.seal(c.header.user, c.keys)
	if err != nil {
		return err
	}
	c.rootHash = sha256.Sum256(record)
	return tx.Set(recordRoot, record)
}
