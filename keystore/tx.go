package keystore

import (
	"crypto/sha256"
	"errors"
	"math"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// Tx changes a vault: all of it or nothing. It is valid until the function it was given to returns, for one goroutine.
type Tx struct {
	kv     *kv.Tx
	c      *contents
	staged map[string]*entry // nil: deleted

	header *header  // replaces the header, if not nil
	keys   *keyring // replaces the keyring, if not nil
	email  string   // replaces the address, if not empty
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

// Update calls fn and makes what it changed durable in one transaction, records of the caller's own included. An error of fn is
// returned as it is and nothing is changed. Changes run one after the other; fn must not call Update or Lock.
// Failures: fault.Locked, fault.RolledBack (read-only), fault.Conflict (a version that does not rise), and those of kv.DB.Update.
func (v *Vault) Update(fn func(tx *Tx) error) error {
	v.writing.Lock()
	defer v.writing.Unlock()
	return v.update(fn)
}

// update is Update for a caller that holds writing.
func (v *Vault) update(fn func(tx *Tx) error) error {
	defer scrubbed()()
	c, err := v.writable()
	if err != nil {
		return err
	}
	tx := &Tx{c: c, staged: make(map[string]*entry)}
	var next *contents
	err = v.db.Update(func(k *kv.Tx) (err error) {
		tx.kv = k
		if err := fn(tx); err != nil {
			return err
		}
		if next, err = tx.finish(); err != nil {
			return err
		}
		v.setPending(tx.staged)
		return nil
	})
	if err != nil {
		if tx.keys != nil {
			tx.keys.wipeSlotKeys(c.keys)
		}
		return err // pending stays: after a failed commit nobody knows what the database shows
	}
	if next == c {
		return nil
	}
	v.mu.Lock()
	v.c, v.pending = next, nil
	c.keys.wipeSlotKeys(next.keys)
	v.mu.Unlock()
	v.moveAnchor(next)
	return nil
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

func (v *Vault) setPending(staged map[string]*entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pending = staged
}

// KV returns the database transaction, for records of the agent that change together with items. Keys under "vault/" are not its.
func (tx *Tx) KV() *kv.Tx { return tx.kv }

// Put adds or replaces an item. Its version must be above the present one; 0 stands for the next. The body is copied.
func (tx *Tx) Put(it Item) error {
	if err := errors.Join(checkID(it.ID), checkKind(it.Kind)); err != nil {
		return err
	}
	if len(it.Body) > MaxBody {
		return fault.New(fault.TooLarge, "an item holds at most %d MiB", MaxBody>>20)
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
	if len(tx.staged) == 0 && tx.header == nil && tx.keys == nil {
		return tx.c, nil
	}
	n := *tx.c
	n.counter, n.previous = n.counter+1, n.rootHash
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
		Email: c.email, Items: c.index.items, Shards: c.index.rootRefs(),
	}
	record, err := r.seal(c.header.user, c.keys)
	if err != nil {
		return err
	}
	c.rootHash = sha256.Sum256(record)
	return tx.Set(recordRoot, record)
}
