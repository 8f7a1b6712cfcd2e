package kv

import (
	"errors"

	"github.com/dgraph-io/badger/v4"

	"coldframe/internal/fault"
)

// Tx is a transaction, valid until the function it was given to returns. It is not for several goroutines.
type Tx struct {
	t       *badger.Txn
	size    uint64 // bytes set or deleted, keys included
	written map[string]written
}

// Get returns the value of key, or fault.NotFound. The slice is the caller's.
func (tx *Tx) Get(key string) ([]byte, error) {
	item, err := tx.t.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, fault.New(fault.NotFound, "no such record")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "a record cannot be read")
	}
	return valueOf(item)
}

// Has reports whether there is a value of key. Errors are those of Get, but for fault.NotFound.
func (tx *Tx) Has(key string) (bool, error) {
	_, err := tx.Get(key)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// Has is Tx.Has in a transaction of its own.
func (db *DB) Has(key string) (has bool, err error) {
	err = db.View(func(tx *Tx) error {
		has, err = tx.Has(key)
		return err
	})
	return has, err
}

// valueMark starts every stored value. Badger gives an empty value, and no error, for one that it cannot read; with the mark no
// value of ours is empty.
const valueMark = 1

func valueOf(item *badger.Item) ([]byte, error) {
	value, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "a record cannot be read")
	}
	if len(value) == 0 || value[0] != valueMark {
		return nil, fault.New(fault.Unavailable, "a record is damaged")
	}
	return value[1:], nil
}

// Set writes a value. Both slices are copied. A value over MaxValue, or a transaction grown too big, is fault.TooLarge. It panics in a
// View, and on a key that is empty or starts with a zero byte.
func (tx *Tx) Set(key string, value []byte) error {
	checkKey(key)
	if len(value) > MaxValue {
		return fault.New(fault.TooLarge, "a record holds at most %d MiB", MaxValue>>20)
	}
	return tx.set(key, value)
}

func (tx *Tx) set(key string, value []byte) error {
	return tx.write(key, len(value), true, func() error {
		marked := append(make([]byte, 0, 1+len(value)), valueMark)
		return tx.t.Set([]byte(key), append(marked, value...))
	})
}

// Delete removes a record; an absent one is no error.
func (tx *Tx) Delete(key string) error {
	checkKey(key)
	return tx.delete(key)
}

func (tx *Tx) delete(key string) error {
	return tx.write(key, 0, false, func() error { return tx.t.Delete([]byte(key)) })
}

// write does one write and notes it.
func (tx *Tx) write(key string, size int, stays bool, do func() error) error {
	before, err := tx.before(key)
	if err != nil {
		return err
	}
	if err := writeFault(do()); err != nil {
		return err
	}
	tx.size += uint64(len(key) + size)
	tx.written[key] = written{before: before, stays: stays}
	return nil
}

func writeFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, badger.ErrTxnTooBig):
		return fault.Wrap(fault.TooLarge, err, "too much for one transaction")
	case errors.Is(err, badger.ErrReadOnlyTxn):
		panic("kv: " + err.Error())
	}
	return fault.Wrap(fault.Internal, err, "a record cannot be written")
}

// Scan calls fn with every record whose key starts with prefix, in the order of the keys, those written in this transaction
// included. The value is the caller's. It stops at fn's first error and returns it. fn must not write.
func (tx *Tx) Scan(prefix string, fn func(key string, value []byte) error) error {
	return tx.ScanFrom(prefix, "", fn)
}

// ScanFrom is Scan without the records whose key is before from.
func (tx *Tx) ScanFrom(prefix, from string, fn func(key string, value []byte) error) error {
	o := badger.DefaultIteratorOptions
	o.PrefetchSize = 16
	return tx.iterate(o, prefix, from, func(key string, item *badger.Item) error {
		value, err := valueOf(item)
		if err != nil {
			return err
		}
		return fn(key, value)
	})
}

// Keys is Scan without the values, which are not read.
func (tx *Tx) Keys(prefix string, fn func(key string) error) error {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	return tx.iterate(o, prefix, "", func(key string, _ *badger.Item) error { return fn(key) })
}

func (tx *Tx) iterate(o badger.IteratorOptions, prefix, from string, fn func(key string, item *badger.Item) error) error {
	o.Prefix = []byte(prefix)
	it := tx.t.NewIterator(o)
	defer it.Close()
	for it.Seek([]byte(max(prefix, from))); it.Valid(); it.Next() {
		key := string(it.Item().KeyCopy(nil))
		if key[0] == 0 { // our own
			continue
		}
		if err := fn(key, it.Item()); err != nil {
			return err
		}
	}
	return nil
}
