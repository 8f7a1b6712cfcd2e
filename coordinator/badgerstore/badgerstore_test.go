package badgerstore

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"coldframe/coordinator/store"
	"coldframe/coordinator/storetest"
	"coldframe/internal/fault"
)

func open(t testing.TB, place string) store.Store {
	t.Helper()
	s, err := Open(place, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) { storetest.Run(t, open) }

func TestState(t *testing.T) { storetest.RunState(t, open) }

// A full disk: writes are refused, reads go on, and writes work again once there is room, without a restart.
func TestF06_FullDisk(t *testing.T) {
	var full atomic.Bool
	s, err := Open(t.TempDir(), Options{FreeSpace: func(string) (uint64, error) {
		if full.Load() {
			return 96 << 20, nil // what Badger needs by itself, and the room for urgent changes
		}
		return 1 << 40, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	set := func(value string) error {
		return s.Update(t.Context(), func(tx store.Tx) error { return tx.Set("k", []byte(value)) })
	}
	if err := set("before"); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	var wg sync.WaitGroup
	no := errors.New("no")
	for i := range 32 { // among others that are refused, urgent changes are made, and fail for reasons of their own
		wg.Go(func() {
			if err := set("full"); !errors.Is(err, fault.StorageFull) {
				t.Errorf("on a full disk: %v", err)
			}
		})
		wg.Go(func() {
			err := s.Update(store.Urgent(t.Context()), func(tx store.Tx) error { return tx.Set(fmt.Sprint("urgent/", i), nil) })
			if err != nil {
				t.Errorf("an urgent change on a full disk: %v", err)
			}
		})
		wg.Go(func() {
			if err := s.Update(store.Urgent(t.Context()), func(tx store.Tx) error { return no }); !errors.Is(err, no) {
				t.Errorf("one that fails: %v", err)
			}
		})
	}
	wg.Wait()
	urgent := 0
	if err := s.View(t.Context(), func(tx store.Tx) error {
		return tx.ScanFrom("urgent/", "", func(string, []byte) error { urgent++; return nil })
	}); err != nil || urgent != 32 {
		t.Errorf("%d urgent changes, %v", urgent, err)
	}
	read := func(want string) {
		if err := s.View(t.Context(), func(tx store.Tx) error {
			v, err := tx.Get("k")
			if string(v) != want {
				t.Errorf("%q, want %q", v, want)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	read("before")
	full.Store(false)
	if err := set("after"); err != nil {
		t.Error(err)
	}
	read("after")
}

// A transaction that fails costs nothing, whatever it touched: it does not reach kv, which measures the disk before each write.
func TestFailedTransactionsWriteNothing(t *testing.T) {
	var measured atomic.Int64
	s, err := Open(t.TempDir(), Options{FreeSpace: func(string) (uint64, error) { measured.Add(1); return 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	large := make([]byte, store.MaxValue)
	for i := range 9 {
		if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Set(fmt.Sprint("history/", i), large) }); err != nil {
			t.Fatal(err)
		}
	}
	before := measured.Load()
	no := errors.New("no")
	err = s.Update(t.Context(), func(tx store.Tx) error {
		for i := range 9 {
			if err := tx.Delete(fmt.Sprint("history/", i)); err != nil {
				return err
			}
		}
		return no
	})
	if !errors.Is(err, no) || measured.Load() != before {
		t.Errorf("%v, and %d writes", err, measured.Load()-before)
	}
}

// A transaction that is too large fails alone, also if its function does not look at the failure.
func TestTooLargeAlone(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			err := s.Update(t.Context(), func(tx store.Tx) error {
				for j := range i % 2 * 2000 {
					_ = tx.Set(fmt.Sprint("many/", i, "/", j), make([]byte, 1<<10))
				}
				return tx.Set(fmt.Sprint("one/", i), nil)
			})
			if errors.Is(err, fault.TooLarge) != (i%2 == 1) || i%2 == 0 && err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	n := 0
	if err := s.View(t.Context(), func(tx store.Tx) error {
		return tx.ScanFrom("", "", func(string, []byte) error { n++; return nil })
	}); err != nil || n != 20 {
		t.Errorf("%d records, %v", n, err)
	}
}
