package kv

import (
	"errors"
	"os"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"coldframe/internal/fault"
)

// DB is an open store. Its methods may be called by several goroutines.
type DB struct {
	dir string
	o   Options
	b   *badger.DB

	write  sync.Mutex // held by the one transaction that writes
	failed error      // the write that failed; guarded by write

	stop func() // ends the cleaning goroutine
}

// Open opens the store in dir and makes it if there is none; dir becomes 0700. The store of a directory is open once: a second Open,
// by any process, is fault.Conflict. Too little free space is fault.StorageFull; a store that cannot be read is fault.Unavailable.
func Open(dir string, o Options) (*DB, error) {
	o = o.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the store's directory cannot be made")
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the store's directory cannot be made private")
	}
	db := &DB{dir: dir, o: o}
	if err := db.checkFree(0); err != nil {
		return nil, err
	}
	b, err := badger.Open(o.badgerOptions(dir, logger{o.Logger}))
	if err != nil {
		return nil, openFault(err)
	}
	db.b = b
	db.startCleaning()
	return db, nil
}

// checkFree refuses to write size bytes that would not leave the reserve.
func (db *DB) checkFree(size uint64) error {
	free, err := db.o.FreeSpace(db.dir)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the free space cannot be measured")
	}
	if free < db.o.MinFree+size {
		return fault.New(fault.StorageFull, "%d MiB free, %d MiB needed", free>>20, (db.o.MinFree+size)>>20)
	}
	return nil
}

// View calls fn with a transaction that reads the store as it is at one moment.
func (db *DB) View(fn func(tx *Tx) error) error {
	t := db.b.NewTransaction(false)
	defer t.Discard()
	return fn(&Tx{t: t})
}

// Update calls fn with a transaction and makes what it wrote durable, all of it or nothing. An error of fn is returned as it is, and
// nothing is written. fn must not call Update. Failures: fault.StorageFull; fault.TooLarge for more than about 1 MiB of small
// values; fault.Unavailable when the disk failed, after which the store refuses writes until it is opened again.
func (db *DB) Update(fn func(tx *Tx) error) error {
	db.write.Lock()
	defer db.write.Unlock()
	if db.failed != nil {
		return fault.Wrap(fault.Unavailable, db.failed, "the store takes no writes since one failed; restart")
	}
	t := db.b.NewTransaction(true)
	defer t.Discard()
	tx := &Tx{t: t}
	if err := fn(tx); err != nil {
		return err
	}
	if tx.size == 0 {
		return nil
	}
	if err := db.checkFree(2 * tx.size); err != nil { // a value is in two files for a while: log and table
		return err
	}
	return db.commit(t)
}

func (db *DB) commit(t *badger.Txn) error {
	err := t.Commit()
	if err == nil {
		return nil
	}
	db.failed = err
	return fault.Wrap(fault.Unavailable, err, "the write is not durable")
}

// Close makes everything durable and closes the files.
func (db *DB) Close() error {
	db.stop()
	db.write.Lock()
	defer db.write.Unlock()
	if db.failed == nil {
		db.failed = errors.New("closed")
	}
	if err := db.b.Close(); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the store did not close cleanly")
	}
	return nil
}
