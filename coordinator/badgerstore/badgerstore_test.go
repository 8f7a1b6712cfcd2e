package badgerstore

import (
	"errors"
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
			return 1 << 20, nil
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
	for range 32 {
		wg.Go(func() {
			if err := set("full"); !errors.Is(err, fault.StorageFull) {
				t.Errorf("on a full disk: %v", err)
			}
		})
	}
	wg.Wait()
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
