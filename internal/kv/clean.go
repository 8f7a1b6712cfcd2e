package kv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"coldframe/internal/fault"
)

const (
	// discardRatio is the part of a value log file that must be dead before it is rewritten.
	discardRatio = 0.5

	// logSlack is how much the value log may grow, in bytes, before its dead values are looked for.
	logSlack = 64 << 20

	// padKey holds what turns the memory table over; padSize is less than a transaction may hold.
	padKey  = "\x00pad"
	padSize = 200 << 10
)

// startCleaning starts the goroutine that gives back the space of deleted and replaced values. It ends with Close.
func (db *DB) startCleaning() {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(db.o.CleanEvery)
		defer tick.Stop()
		after := uint64(0) // size of the value log when it was last cleaned
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				after = db.clean(after, done)
			}
		}
	})
	db.stopCleaning = sync.OnceFunc(func() { close(done); wg.Wait() })
}

// clean gives back dead values of the value log, if it grew by logSlack since it was of the given size, and returns the size to
// compare with next time. Badger learns which values are dead when it merges tables; so few keys may point to many large values that
// no table is ever written, and the table in memory is turned over first. Tables clean themselves when they are merged.
func (db *DB) clean(size uint64, done <-chan struct{}) uint64 {
	now, err := bytesOf(db.dir, ".vlog")
	if err != nil || now < size+logSlack || db.health.failure() != nil || db.checkFree(0) != nil {
		return min(size, now)
	}
	if db.turnOver() != nil || !db.waitFlushed(done) || db.b.Flatten(1) != nil {
		return size
	}
	for db.checkFree(0) == nil && db.rewrite() {
	}
	after, err := bytesOf(db.dir, ".vlog")
	if err != nil {
		return size
	}
	if after+after/4 > now { // little was dead yet: look again soon, but not without any growth
		return after - min(after, logSlack*3/4)
	}
	return after
}

// rewrite rewrites the value log file with the most dead values, and reports whether there was one. Nothing is written meanwhile:
// Badger reads the end of its log there without a lock.
func (db *DB) rewrite() bool {
	db.write.Lock()
	defer db.write.Unlock()
	return db.b.RunValueLogGC(discardRatio) == nil
}

// turnOver fills the table in memory, so that Badger writes it out.
func (db *DB) turnOver() error {
	pad := make([]byte, padSize)
	for written := int64(0); written <= db.o.memTable; written += padSize {
		if err := db.Update(func(tx *Tx) error { return tx.set(padKey, pad) }); err != nil {
			return err
		}
	}
	return db.Update(func(tx *Tx) error { return tx.set(padKey, nil) })
}

// waitFlushed waits until the tables in memory but the newest are on disk, and reports whether they are.
func (db *DB) waitFlushed(done <-chan struct{}) bool {
	for range 500 {
		if logs, err := filepath.Glob(filepath.Join(db.dir, "*.mem")); err != nil || len(logs) <= 1 {
			return err == nil
		}
		select {
		case <-done:
			return false
		case <-db.health.failed:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

// openFault says in our terms why Badger did not open.
func openFault(err error) error {
	if strings.Contains(err.Error(), "Another process is using this Badger database") {
		return fault.Wrap(fault.Conflict, err, "the store is open already, here or in another process")
	}
	if errors.Is(err, os.ErrPermission) {
		return fault.Wrap(fault.Unavailable, err, "the store's files belong to somebody else")
	}
	return fault.Wrap(fault.Unavailable, err, "the store cannot be read")
}
