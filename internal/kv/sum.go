package kv

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"coldframe/internal/fault"
)

// Badger takes a damaged list of tables for a shorter one and removes the tables that it does not name: records go, or come back as
// they once were, and nothing says so. The count of transactions does not tell either if the last one is elsewhere. So every
// transaction also writes the sum of all records, and opening adds it up again.
//
// The sum is the exclusive or of the first 16 bytes of SHA-256(version ‖ key), where the version (8 bytes, big-endian) is Badger's:
// the number of the transaction that wrote the record. It finds damage; who can write the files can make it fit (nothing here is
// against them).
type sum [16]byte

// toggle adds a record, or takes it away.
func (s *sum) toggle(key string, version uint64) {
	h := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, version), key...))
	subtle.XORBytes(s[:], s[:], h[:])
}

// written is what a transaction did to a key.
type written struct {
	before uint64 // version that was there; 0: none
	stays  bool   // not deleted
}

// before returns the version of a key that this transaction is about to write, or 0 if there is none.
func (tx *Tx) before(key string) (uint64, error) {
	if w, seen := tx.written[key]; seen {
		return w.before, nil
	}
	item, err := tx.t.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, err, "a record cannot be read")
	}
	return item.Version(), nil
}

// sumAfter returns the sum once the transaction is committed. Transactions that write run one after the other, so the version of this
// one is the next after what it reads.
func (tx *Tx) sumAfter(s sum) sum {
	for key, w := range tx.written {
		if w.before != 0 {
			s.toggle(key, w.before)
		}
		if w.stays {
			s.toggle(key, tx.t.ReadTs()+1)
		}
	}
	return s
}

// sumOf adds up the records that the store holds.
func sumOf(b *badger.DB) (s sum, err error) {
	err = b.View(func(t *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		it := t.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if key := string(it.Item().Key()); key != countKey {
				s.toggle(key, it.Item().Version())
			}
		}
		return nil
	})
	return s, err
}
