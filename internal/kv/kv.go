package kv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"coldframe/internal/fault"
)

// closeWait is how long Close waits for files whose disk failed.
const closeWait = 5 * time.Second

// DB is an open store. Its methods may be called by several goroutines.
type DB struct {
	dir    string
	o      Options
	b      *badger.DB
	health *health
	users  *users

	write sync.Mutex // held by the one transaction that writes
	state state      // after the last transaction; guarded by write
	ack   ackFile    // guarded by write

	cleaning cleaning
}

func errIsClosed() error { return fault.New(fault.Unavailable, "the store is closed") }

// Open opens the store in dir and makes it if there is none; dir becomes 0700. The store of a directory is open once: a second Open,
// by any process, is fault.Conflict. Too little free space is fault.StorageFull; a store that cannot be read is fault.Unavailable;
// one that lost transactions or records which it had acknowledged is fault.RolledBack.
func Open(dir string, o Options) (*DB, error) {
	o = o.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil { //nolint:gosec // the directory is the user's choice
		return nil, fault.Wrap(fault.Unavailable, err, "the store's directory cannot be made")
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory, not a file
		return nil, fault.Wrap(fault.Unavailable, err, "the store's directory cannot be made private")
	}
	db := &DB{dir: dir, o: o, health: newHealth(), users: newUsers(), cleaning: cleaning{wake: make(chan struct{}, 1)}}
	if err := db.checkCleaning(0); err != nil {
		return nil, err
	}
	begun := beginsEmpty(dir)
	b, err := openBadger(o.badgerOptions(dir, logger{o.Logger, db.health}))
	if err != nil && begun {
		b, err = openBadger(o.badgerOptions(dir, logger{o.Logger, db.health}))
	}
	if err != nil {
		return nil, openFault(err)
	}
	db.b = b
	if err := db.checkAcknowledged(); err != nil {
		_ = b.Close()
		return nil, err
	}
	db.startCleaning()
	return db, nil
}

// beginsEmpty reports whether there is a log of a table in memory without a byte in it: its process died between making the file and giving it
// its length. Badger gives it that now, but fails the first time that it meets one.
func beginsEmpty(dir string) bool {
	files, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(files, func(f os.DirEntry) bool {
		i, err := f.Info()
		return err == nil && i.Size() == 0 && filepath.Ext(f.Name()) == ".mem"
	})
}

// openBadger turns a panic over damaged files into an error.
func openBadger(o badger.Options) (b *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, err = nil, fmt.Errorf("badger: %v", r)
		}
	}()
	return badger.Open(o)
}

// checkAcknowledged compares what the store holds with what it once acknowledged.
func (db *DB) checkAcknowledged() error {
	recorded, err := readState(db.b)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the store is damaged")
	}
	found, err := sumOf(db.b)
	if err = errors.Join(err, db.health.failure()); err != nil { // the latter: a table or a block was left out
		return fault.Wrap(fault.Unavailable, err, "the store is damaged")
	}
	ack, acknowledged, err := openAck(db.dir)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the store cannot be read")
	}
	if err := recorded.judge(found, acknowledged); err != nil {
		return errors.Join(err, ack.f.Close())
	}
	db.state, db.ack = recorded, ack
	return nil
}

// View calls fn with a transaction that reads the store as it is at one moment. Once the disk failed, also while fn runs, it is
// fault.Unavailable: Badger then shows writes that are not durable, and passes over records that it cannot read.
func (db *DB) View(fn func(tx *Tx) error) error {
	if !db.users.enter() {
		return errIsClosed()
	}
	defer db.users.leave()
	if err := db.checkHealth(); err != nil {
		return err
	}
	t := db.b.NewTransaction(false)
	defer t.Discard()
	err := fn(&Tx{t: t})
	if failure := db.checkHealth(); failure != nil {
		return failure
	}
	return err
}

// checkHealth refuses to go on after the disk failed.
func (db *DB) checkHealth() error {
	if err := db.health.failure(); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the disk failed; the store must be opened again")
	}
	return nil
}

// Update calls fn with a transaction and makes what it wrote durable, all of it or nothing. An error of fn is returned as it is, and
// nothing is written. fn must not call Update. Failures: fault.StorageFull; fault.TooLarge for more than about 1 MiB of values below
// Options.LogValues; fault.Unavailable when the disk failed, after which the store refuses everything until it is opened again.
func (db *DB) Update(fn func(tx *Tx) error) error { return db.noted(db.checkFree, fn) }

// UpdateSpare is Update for what has to go on where room is short, above all what gives some back: it may use Options.Spare.
func (db *DB) UpdateSpare(fn func(tx *Tx) error) error { return db.noted(db.checkSpare, fn) }

// noted is update, after which what was written may be a reason to clean.
func (db *DB) noted(room func(size uint64) error, fn func(tx *Tx) error) error {
	size := uint64(0)
	err := db.update(func(n uint64) error { size = n; return room(n) }, fn)
	db.wrote(size, err)
	return err
}

// update is Update with a check of its own for the room that a number of bytes needs.
func (db *DB) update(room func(size uint64) error, fn func(tx *Tx) error) error {
	db.write.Lock()
	defer db.write.Unlock()
	if err := db.checkHealth(); err != nil {
		return err
	}
	if !db.users.enter() {
		return errIsClosed()
	}
	defer db.users.leave()
	tx := &Tx{t: db.b.NewTransaction(true), written: map[string]written{}}
	defer tx.t.Discard()
	err := fn(tx)
	if failure := db.checkHealth(); failure != nil { // what fn read may be short of records: nothing may follow from it
		return failure
	}
	if err != nil || len(tx.written) == 0 {
		return err
	}
	next := state{db.state.count + 1, tx.sumAfter(db.state.sum)}
	if err := room(2 * tx.size); err != nil { // a value is in two files for a while: log and table
		return err
	}
	if err := writeFault(tx.t.Set([]byte(countKey), next.encode())); err != nil { // the state after the transaction
		return err
	}
	return db.commit(tx.t, next)
}

// commit waits until the transaction is durable, or the disk has failed: Badger itself would wait for ever.
func (db *DB) commit(t *badger.Txn, next state) error {
	done := make(chan error, 1)
	t.CommitWith(func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			db.health.fail(err)
		}
	case <-db.health.failed:
	}
	// Badger syncs what is in its files, but not the directory when it begins a new one.
	if db.health.failure() == nil {
		if err := syncDir(db.dir); err != nil {
			db.health.fail(err)
		}
	}
	if err := db.health.failure(); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the write is not durable")
	}
	db.state = next
	if err := db.ack.write(next.count); err != nil {
		db.health.fail(err) // this one is durable; the next is not accepted
	}
	return nil
}

// Close closes the files, once the transactions that run have ended. Closing again does nothing. With no room left to write the last
// table, which would kill the process, it is fault.StorageFull and the store stays open; ending the process then loses nothing.
func (db *DB) Close() error {
	if db.users.isClosed() {
		return nil
	}
	if err := db.checkClosing(); err != nil {
		return err
	}
	db.cleaning.stop()
	if !db.users.close() {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(db.b.Close(), db.ack.f.Close()) }()
	var late <-chan time.Time
	if db.health.failure() != nil { // Badger tries for ever to write to a disk that failed
		late = time.After(closeWait)
	}
	select {
	case err := <-done:
		if err != nil {
			return fault.Wrap(fault.Unavailable, err, "the store did not close cleanly")
		}
		return nil
	case <-late:
		return fault.New(fault.Unavailable, "the store did not close: its disk failed")
	}
}
