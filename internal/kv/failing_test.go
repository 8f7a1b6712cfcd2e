package kv

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"

	"coldframe/internal/fault"
)

// acknowledge writes record n, 40 KiB and of its own bytes.
func acknowledge(db *DB, n int) error {
	return db.Update(func(tx *Tx) error { return tx.Set(fmt.Sprintf("k/%04d", n), bytes.Repeat([]byte{byte(n)}, 40<<10)) })
}

// checkRecords wants the records below n, and takes record n.
func checkRecords(t *testing.T, db *DB, n int) {
	t.Helper()
	seen := 0
	err := db.View(func(tx *Tx) error {
		return tx.Scan("k/", func(key string, value []byte) error {
			if key != fmt.Sprintf("k/%04d", seen) || !bytes.Equal(value, bytes.Repeat([]byte{byte(seen)}, 40<<10)) {
				t.Errorf("%s where record %d should be", key, seen)
			}
			seen++
			return nil
		})
	})
	if err != nil || seen != n && seen != n+1 {
		t.Errorf("%d of %d records can be read: %v", seen, n, err)
	}
}

// A failure that Badger only prints, as it does when the fsync of the value log fails, is no success.
func TestF07_PrintedFailureIsAFailure(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if err := acknowledge(db, 0); err != nil {
		t.Fatal(err)
	}
	err := db.Update(func(tx *Tx) error {
		logger{db.o.Logger, db.health}.Errorf("Error while curlf sync: %v\n", errors.New("input/output error"))
		return tx.Set("k/0001", bytes.Repeat([]byte{1}, 40<<10))
	})
	if !errors.Is(err, fault.Unavailable) {
		t.Errorf("the write with the failure: %v", err)
	}
	checkRefusesUntilReopened(t, db, dir, 1)
}

// The same after the transaction's own code has run: the last place where a write can still be refused.
func TestF07_FailurePrintedWhileCommitting(t *testing.T) {
	dir := t.TempDir()
	var armed atomic.Bool
	var db *DB
	free := func(string) (uint64, error) { // it is measured between that code and the commit
		if armed.CompareAndSwap(true, false) {
			logger{db.o.Logger, db.health}.Errorf("Error while curlf sync: %v\n", errors.New("input/output error"))
		}
		return math.MaxInt64, nil
	}
	db, err := Open(dir, Options{FreeSpace: free})
	if err != nil {
		t.Fatal(err)
	}
	if err := acknowledge(db, 0); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	if err := acknowledge(db, 1); !errors.Is(err, fault.Unavailable) {
		t.Errorf("the write with the failure: %v", err)
	}
	if armed.Load() {
		t.Error("the free space was not measured")
	}
	checkRefusesUntilReopened(t, db, dir, 1)
}

// checkRefusesUntilReopened wants a store that takes no writes and gives nothing, and one of n records once it is opened again.
func checkRefusesUntilReopened(t *testing.T, db *DB, dir string, n int) {
	t.Helper()
	for range 3 {
		if err := db.Update(func(tx *Tx) error { return tx.Set("other", nil) }); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a write after the failure: %v", err)
		}
	}
	if err := db.View(func(*Tx) error { return nil }); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a read after the failure: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Logf("close: %v", err)
	}
	again := open(t, dir)
	checkRecords(t, again, n)
	if err := again.Update(func(tx *Tx) error { return tx.Set("other", nil) }); err != nil {
		t.Errorf("a write after opening again: %v", err)
	}
}
