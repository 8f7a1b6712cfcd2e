// Package store says what the coordinator needs of a database: records under keys, and serialisable transactions over them. Everything the
// coordinator knows is decided in coordinator/state, above this interface, so that a second implementation has little to get wrong.
// coordinator/storetest is the suite that every implementation passes; coordinator/badgerstore is the embedded one.
//
// # For an implementation on SQL
//
// One table (key text primary key collate "C", value bytea) is enough. Update is a transaction at the level SERIALIZABLE, tried again on error
// 40001 and on a lost connection; each try calls the function anew. A lost connection leaves open whether the transaction was committed: trying
// again is right even then, as every change of coordinator/state carries an id that its caller chose, or the state before it, and finds
// that it was made. Nothing here tells other coordinators on the same database of a change: readers of events look again at every heartbeat,
// and LISTEN and NOTIFY may shorten that.
package store

import (
	"context"
	"io"
)

// Bounds of keys, values and transactions in bytes.
const (
	MaxKey     = 1 << 10
	MaxValue   = 4608 << 10
	MaxTx      = 5 << 20   // keys and values that one transaction writes
	SmallValue = 8 << 10   // a value below this is small
	MaxSmallTx = 896 << 10 // small values of a transaction, with 64 and the key for each value, also those that are not small
)

// Store is a database. Its methods may be called by several goroutines.
type Store interface {
	// Update calls fn in a transaction and makes all that it wrote durable, or nothing. Transactions are serialisable: what comes of several
	// at once is what comes of them one after the other, in an order in which no transaction that began after another had ended comes before it.
	// fn may be called more than once, by any goroutine, though never twice at a time; what it gives to the outside counts only once Update
	// returned nil. An error of fn is returned as it is, and nothing is written. fn calls neither Update nor View.
	//
	// In a context of Urgent it may use room that an implementation keeps back for such changes.
	//
	// Failures: fault.StorageFull; fault.TooLarge beyond MaxValue, MaxTx or MaxSmallTx; fault.Unavailable, which leaves open whether the change was made.
	Update(ctx context.Context, fn func(Tx) error) error

	// View calls fn with a transaction that reads one moment, after everything whose Update had returned. Set and Delete panic in it.
	View(ctx context.Context, fn func(Tx) error) error

	// Close waits for transactions that run. A call after it is fault.Unavailable.
	Close() error
}

type urgentKey struct{}

// Urgent marks changes that have to be made where room is short, as they give some back, or as nobody gets in without them, and that are small or delete.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// IsUrgent reports whether a context is one of Urgent.
func IsUrgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }

// Tx is a transaction, valid until its function returns, for one goroutine.
type Tx interface {
	// Get returns the value of key, or fault.NotFound. The slice is the caller's.
	Get(key string) ([]byte, error)
	// Set writes a value; both are copied. A key is not empty, does not start with a zero byte and has at most MaxKey bytes.
	Set(key string, value []byte) error
	// Delete removes a record; an absent one is no error.
	Delete(key string) error
	// ScanFrom calls fn with every record whose key starts with prefix and is not before from, in the order of the keys' bytes, with what this
	// transaction wrote. It stops at fn's first error and returns it. fn writes nothing.
	ScanFrom(prefix, from string, fn func(key string, value []byte) error) error
}

// Backup writes a consistent copy of s, while s is in use. Restore reads it, also into another implementation.
func Backup(ctx context.Context, s Store, w io.Writer) error {
	return s.View(ctx, func(tx Tx) error {
		b := newBackupWriter(w)
		err := tx.ScanFrom("", "", func(key string, value []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return b.record(key, value)
		})
		if err != nil {
			return err
		}
		return b.end()
	})
}
