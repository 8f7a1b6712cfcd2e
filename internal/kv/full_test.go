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

// The twelve operations of the script: writes of all kinds.
var script = func() (ops []func(tx *Tx) error) {
	set := func(key string, size int) func(tx *Tx) error {
		return func(tx *Tx) error { return tx.Set(key, bytes.Repeat([]byte(key[:1]), size)) }
	}
	for i := range 3 {
		ops = append(ops,
			set(fmt.Sprintf("a/%d", i), 10),
			set(fmt.Sprintf("b/%d", i), 300<<10),
			func(tx *Tx) error { return errors.Join(set("c", 1000+i)(tx), set(fmt.Sprintf("d/%d", i), 50<<10)(tx)) },
			func(tx *Tx) error { return tx.Delete(fmt.Sprintf("a/%d", i)) },
		)
	}
	return ops
}()

// The disk is full at write n, for n = 1, 2, 3 … until the script passes; then there is room again.
func TestF06_DiskFullAtWriteN(t *testing.T) {
	for n := 1; ; n++ {
		if n > 100 {
			t.Fatal("the script never passes")
		}
		calls, full := 0, false
		measure := func(string) (uint64, error) {
			if calls++; calls == n {
				full = true
			}
			if full {
				return 1 << 20, nil
			}
			return math.MaxInt64, nil
		}
		refused, opened := runScript(t, measure, func() { full = false })
		if refused == 0 {
			if n <= len(script) {
				t.Errorf("the script passes at n = %d", n)
			}
			return
		}
		if !opened && n != 1 {
			t.Errorf("n = %d: the store did not open", n)
		}
	}
}

// runScript runs the script on a new store. An operation that is refused with storage_full is done again after makeRoom.
func runScript(t *testing.T, measure func(string) (uint64, error), makeRoom func()) (refused int, opened bool) {
	t.Helper()
	dir := t.TempDir()
	db, err := Open(dir, Options{FreeSpace: measure})
	if errors.Is(err, fault.StorageFull) {
		return 1, false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for i, op := range script {
		before := dump(t, db)
		err := db.Update(op)
		if errors.Is(err, fault.StorageFull) {
			refused++
			if after := dump(t, db); after != before {
				t.Errorf("operation %d was refused and changed something:\n%s", i, after)
			}
			makeRoom()
			err = db.Update(op)
		}
		if err != nil {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	want := dump(t, db)
	err = db.Close()
	if errors.Is(err, fault.StorageFull) {
		refused++
		if got := dump(t, db); got != want {
			t.Errorf("closing was refused and changed something:\n%s", got)
		}
		makeRoom()
		err = db.Close()
	}
	if err != nil {
		t.Error(err)
	}
	again := open(t, dir)
	if got := dump(t, again); got != want {
		t.Errorf("after opening again:\n%s\nwant:\n%s", got, want)
	}
	return refused, true
}

// dump returns all records in short form.
func dump(t *testing.T, db *DB) string {
	t.Helper()
	var b bytes.Buffer
	err := db.View(func(tx *Tx) error {
		return tx.Scan("", func(key string, value []byte) error {
			if !bytes.Equal(value, bytes.Repeat([]byte(key[:1]), len(value))) {
				t.Errorf("%s holds other data", key)
			}
			fmt.Fprintf(&b, "%s %d; ", key, len(value))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// UpdateSpare goes on where Update is refused, for as much as the spare, and no further: what Badger needs to clean up stays.
func TestF06_Spare(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	db, err := Open(t.TempDir(), Options{Spare: 16 << 20, FreeSpace: func(string) (uint64, error) { return free.Load(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		free.Store(1 << 40)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	set := func(tx *Tx) error { return tx.Set("k", []byte("v")) }
	tables, log, err := db.measure()
	if err != nil {
		t.Fatal(err)
	}
	least := db.reserve(tables) + db.cleanRoom(log)
	for _, c := range []struct {
		free          uint64
		update, spare bool
	}{{least + 17<<20, true, true}, {least + 15<<20, false, true}, {least + 1<<20, false, true}, {least - 1, false, false}} {
		free.Store(c.free)
		if err := db.Update(set); (err == nil) != c.update || err != nil && !errors.Is(err, fault.StorageFull) {
			t.Errorf("%d MiB beyond what is needed: Update: %v", int64(c.free-least)>>20, err)
		}
		if err := db.UpdateSpare(set); (err == nil) != c.spare || err != nil && !errors.Is(err, fault.StorageFull) {
			t.Errorf("%d MiB beyond what is needed: UpdateSpare: %v", int64(c.free-least)>>20, err)
		}
	}
}
