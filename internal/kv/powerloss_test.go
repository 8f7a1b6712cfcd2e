package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// nightly runs the long forms of the tests.
func nightly() bool { return os.Getenv("COLDFRAME_NIGHTLY") != "" }

// seeded returns a generator whose seed is printed; COLDFRAME_SEED repeats a run.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("COLDFRAME_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// filler is the value of one key in transaction n: n, and bytes that only this n and key have. Some are for the value log.
func filler(key string, n uint64) []byte {
	r := rand.New(rand.NewPCG(n, uint64(key[0])))
	size := 100 + r.IntN(3000)
	switch {
	case n%7 == 3 && key == "b":
		size = 260<<10 + r.IntN(100)
	case n%3 > 0:
		size = 60 << 10
	}
	b := binary.BigEndian.AppendUint64(nil, n)
	for len(b) < size {
		b = binary.BigEndian.AppendUint64(b, r.Uint64())
	}
	return b
}

var scriptKeys = []string{"a", "b", "c"}

// writeNth is transaction n of the script: three keys that change together, one that is new, and one that goes.
func writeNth(db *DB, n uint64) error {
	return db.Update(func(tx *Tx) error {
		for _, key := range scriptKeys {
			if err := tx.Set(key, filler(key, n)); err != nil {
				return err
			}
		}
		if n%5 == 0 {
			if err := tx.Delete(fmt.Sprintf("log/%05d", n-1)); err != nil {
				return err
			}
		}
		return tx.Set(fmt.Sprintf("log/%05d", n), filler("log", n))
	})
}

// stateOf returns the number of the transaction that the store shows, or an error if it shows half of one.
func stateOf(db *DB) (n uint64, err error) {
	err = db.View(func(tx *Tx) error {
		for i, key := range scriptKeys {
			value, err := tx.Get(key)
			if errors.Is(err, fault.NotFound) && n == 0 {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			if i == 0 {
				n = binary.BigEndian.Uint64(value)
			}
			if !bytes.Equal(value, filler(key, n)) {
				return fmt.Errorf("%s is not that of transaction %d", key, n)
			}
		}
		return checkLog(tx, n)
	})
	return n, err
}

// checkLog makes sure that the log is the one after transaction n.
func checkLog(tx *Tx, n uint64) error {
	next := uint64(1)
	skip := func() {
		if next%5 == 4 && next < n {
			next++
		}
	}
	err := tx.Scan("log/", func(key string, value []byte) error {
		skip()
		if key != fmt.Sprintf("log/%05d", next) || !bytes.Equal(value, filler("log", next)) {
			return fmt.Errorf("%s where log/%05d should be, in transaction %d", key, next, n)
		}
		next++
		return nil
	})
	if skip(); err == nil && next != n+1 {
		return fmt.Errorf("the log ends at %d, in transaction %d", next-1, n)
	}
	return err
}

// Power loss: unsynced writes are lost or reordered. Every acknowledged transaction is there, none is half visible.
func TestF04_PowerLoss(t *testing.T) {
	states, transactions := 200, uint64(50)
	if nightly() {
		states, transactions = 1200, 150
	}
	r := seeded(t)
	moments := record(t, transactions)
	var turns []int // transactions in which files came or went
	for n := range len(moments) - 1 {
		if !maps.EqualFunc(moments[n], moments[n+1], func(file, file) bool { return true }) {
			turns = append(turns, n)
		}
	}
	if len(turns) == 0 {
		t.Fatal("no files came or went")
	}
	rotated := 0
	for i := range states {
		n := r.IntN(len(moments) - 1)
		if i%3 == 0 {
			n = turns[r.IntN(len(turns))]
			rotated++
		}
		checkAfterCrash(t, afterPowerLoss(r, moments[n], moments[n+1]), uint64(n))
		if t.Failed() {
			return
		}
	}
	t.Logf("%d states, %d of them in the %d transactions in which files came or went", states, rotated, len(turns))
}

// record runs the script and returns the directory after each acknowledged transaction, starting with none.
func record(t *testing.T, transactions uint64) []snapshot {
	t.Helper()
	dir := t.TempDir()
	db, err := Open(dir, Options{memTable: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	moments := []snapshot{take(t, dir)}
	for n := uint64(1); n <= transactions; n++ {
		if err := writeNth(db, n); err != nil {
			t.Fatal(err)
		}
		moments = append(moments, take(t, dir))
	}
	return moments
}

// checkAfterCrash opens the store and wants transaction n, or the one after it, which was on its way.
func checkAfterCrash(t *testing.T, s snapshot, n uint64) {
	t.Helper()
	dir := s.restore(t)
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := Open(dir, Options{memTable: 2 << 20})
	if err != nil {
		t.Errorf("after transaction %d the store does not open: %v", n, err)
		return
	}
	defer func() { _ = db.Close() }()
	if got, err := stateOf(db); err != nil || got != n && got != n+1 {
		t.Errorf("after transaction %d the store shows %d, %v", n, got, err)
		return
	}
	if err := db.Update(func(tx *Tx) error { return tx.Set("after", []byte("the crash")) }); err != nil {
		t.Errorf("after transaction %d the store takes no writes: %v", n, err)
	}
}
