package kv

import (
	"strings"
	"sync"
	"time"

	"coldframe/internal/fault"
)

// discardRatio is the part of a value log file that must be dead before it is rewritten.
const discardRatio = 0.5

// startCleaning starts the goroutine that gives back the space of deleted and replaced values. It ends with Close.
func (db *DB) startCleaning() {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(db.o.CleanEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				db.clean()
			}
		}
	})
	db.stopCleaning = sync.OnceFunc(func() { close(done); wg.Wait() })
}

// clean rewrites one value log file if half of it is dead. Rewriting needs room: below the reserve it waits for better days.
func (db *DB) clean() {
	db.write.Lock()
	defer db.write.Unlock()
	if db.health.failure() != nil || db.checkFree(0) != nil {
		return
	}
	if err := db.b.RunValueLogGC(discardRatio); err != nil {
		db.o.Logger.Debug("nothing to clean")
	}
}

// openFault says in our terms why Badger did not open.
func openFault(err error) error {
	if strings.Contains(err.Error(), "Another process is using this Badger database") {
		return fault.Wrap(fault.Conflict, err, "the store is open already, here or in another process")
	}
	return fault.Wrap(fault.Unavailable, err, "the store cannot be read")
}
