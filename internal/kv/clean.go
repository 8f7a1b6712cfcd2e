package kv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/internal/fault"
)

const (
	// discardRatio is the part of a value log file that must be dead before it is rewritten.
	discardRatio = 0.5

	// logFile is the length of a file of the value log in bytes.
	logFile = 32 << 20

	// logSlack is how much may be written, in bytes, before dead values are looked for; and how much room is so little that they are looked for at once.
	logSlack = 64 << 20

	// cleanPause is the part of Options.CleanEvery that is between two rounds, however much is written.
	cleanPause = 60

	// padKey begins the keys of what turns the memory table over.
	padKey = "\x00pad"
)

// cleaning is what the goroutine that gives back space knows.
type cleaning struct {
	wake  chan struct{} // has a value if there may be something to do before the next tick
	dirty atomic.Int64  // bytes written since the last round
	stop  func()
}

// startCleaning starts the goroutine that gives back the space of deleted and replaced values. It ends with Close.
func (db *DB) startCleaning() {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(db.o.CleanEvery)
		defer tick.Stop()
		after := uint64(0) // size of the value log when it was last cleaned
		last := time.Now()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			case <-db.cleaning.wake:
				if time.Since(last) < db.o.CleanEvery/cleanPause {
					continue
				}
			}
			after = db.clean(after, done)
			last = time.Now()
		}
	})
	db.cleaning.stop = sync.OnceFunc(func() { close(done); wg.Wait() })
}

// wrote notes what a caller's transaction wrote, or that it was refused: either may be a reason to clean before the next tick.
func (db *DB) wrote(size uint64, err error) {
	if err == nil && db.cleaning.dirty.Add(int64(size)) < logSlack || err != nil && !errors.Is(err, fault.StorageFull) {
		return
	}
	select {
	case db.cleaning.wake <- struct{}{}:
	default:
	}
}

// clean gives back dead values of the value log, if it grew by logSlack since it was of the given size, or if room is short and anything was written; it
// returns the size to compare with next time. Badger learns which values are dead when it merges tables; so few keys may point to many large values that
// no table is ever written, and the table in memory is turned over first. Tables clean themselves when they are merged. There is room for all that while
// writes are refused: they leave it (cleanRoom).
func (db *DB) clean(size uint64, done <-chan struct{}) uint64 {
	_, now, err := db.measure()
	short := db.cleaning.dirty.Load() > 0 && db.checkFree(logSlack) != nil
	if err != nil || now < size+logSlack && !short || db.health.failure() != nil || db.checkCleaning(0) != nil {
		return min(size, now)
	}
	db.cleaning.dirty.Store(0)
	if db.turnOver() != nil || !db.waitFlushed(done) || db.b.Flatten(1) != nil {
		return size
	}
	for db.checkCleaning(0) == nil && db.rewrite() {
	}
	_, after, err := db.measure()
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

// turnOver fills the table in memory, so that Badger writes it out: values that are not for the value log, a transaction of an eighth of the table at a time.
func (db *DB) turnOver() error {
	pad := make([]byte, min(db.o.LogValues/2, db.o.memTable/16))
	key := func(i int64) string { return fmt.Sprint(padKey, i) }
	n := db.o.memTable / 8 / int64(len(pad))
	for range 9 {
		err := db.update(db.checkCleaning, func(tx *Tx) error {
			for i := range n {
				if err := tx.set(key(i), pad); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return db.update(db.checkCleaning, func(tx *Tx) error {
		for i := range n {
			if err := tx.delete(key(i)); err != nil {
				return err
			}
		}
		return nil
	})
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
