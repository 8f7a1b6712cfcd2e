package kv

import (
	"maps"
	"slices"
)

// Write is what a transaction did to one record.
type Write struct {
	Key     string
	Value   []byte // nil if the record was deleted
	Deleted bool
	Before  uint64 // Tx.Version of the record before
}

// Propose calls fn as Update does but makes nothing of what it wrote durable: it returns it, in the order of the keys. Until the caller
// has written it, other transactions may change the same records; Before tells.
func (db *DB) Propose(fn func(tx *Tx) error) ([]Write, error) {
	db.write.Lock()
	defer db.write.Unlock()
	if err := db.checkHealth(); err != nil {
		return nil, err
	}
	if !db.users.enter() {
		return nil, errIsClosed()
	}
	defer db.users.leave()
	tx := &Tx{t: db.b.NewTransaction(true), written: map[string]written{}}
	defer tx.t.Discard()
	err := fn(tx)
	if failure := db.checkHealth(); failure != nil {
		return nil, failure
	}
	if err != nil {
		return nil, err
	}
	return tx.writes()
}

func (tx *Tx) writes() ([]Write, error) {
	out := make([]Write, 0, len(tx.written))
	for _, key := range slices.Sorted(maps.Keys(tx.written)) {
		w := Write{Key: key, Before: tx.written[key].before, Deleted: !tx.written[key].stays}
		if !w.Deleted {
			var err error
			if w.Value, err = tx.Get(key); err != nil {
				return nil, err
			}
		}
		out = append(out, w)
	}
	return out, nil
}

// Version returns a number that changes with each transaction that writes the record; 0 if there is none. It is that of the time
// before this transaction.
func (tx *Tx) Version(key string) (uint64, error) { return tx.before(key) }
