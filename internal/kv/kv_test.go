package kv

import (
	"errors"
	"slices"
	"testing"

	"coldframe/internal/fault"
)

func open(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestTransactionIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	put := func(tx *Tx, keys ...string) error {
		for _, k := range keys {
			if err := tx.Set(k, []byte("value of "+k)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := db.Update(func(tx *Tx) error { return put(tx, "a/1", "a/2", "b/1") }); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	if err := db.Update(func(tx *Tx) error { return errors.Join(put(tx, "a/3"), tx.Delete("a/1"), stop) }); !errors.Is(err, stop) {
		t.Errorf("fn's error: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir)
	var got []string
	err := db.View(func(tx *Tx) error {
		if _, err := tx.Get("a/3"); !errors.Is(err, fault.NotFound) {
			t.Errorf("a/3: %v", err)
		}
		return tx.Scan("a/", func(k string, v []byte) error {
			if string(v) != "value of "+k {
				t.Errorf("%s = %s", k, v)
			}
			got = append(got, k)
			return nil
		})
	})
	if err != nil || !slices.Equal(got, []string{"a/1", "a/2"}) {
		t.Errorf("got %v, %v", got, err)
	}
	var keys []string
	if err := db.Update(func(tx *Tx) error {
		err := put(tx, "a/4")
		return errors.Join(err, tx.Keys("a/", func(k string) error { keys = append(keys, k); return nil }))
	}); err != nil || !slices.Equal(keys, []string{"a/1", "a/2", "a/4"}) {
		t.Errorf("keys %v, %v", keys, err)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := Open(dir, Options{}); !errors.Is(err, fault.Conflict) {
		t.Errorf("second open: %v", err)
	}
}

func TestScanFrom(t *testing.T) {
	db := open(t, t.TempDir())
	err := db.Update(func(tx *Tx) error {
		for _, k := range []string{"a/1", "b/1", "b/2", "b/3", "c/1"} {
			if err := tx.Set(k, []byte(k)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ prefix, from, want string }{
		{"b/", "", "b/1b/2b/3"}, {"b/", "b/2", "b/2b/3"}, {"b/", "a/9", "b/1b/2b/3"}, {"b/", "c", ""}, {"", "b/3", "b/3c/1"}, {"", "", "a/1b/1b/2b/3c/1"},
	} {
		got := ""
		if err := db.View(func(tx *Tx) error {
			return tx.ScanFrom(c.prefix, c.from, func(k string, _ []byte) error { got += k; return nil })
		}); err != nil || got != c.want {
			t.Errorf("%q from %q: %q, %v", c.prefix, c.from, got, err)
		}
	}
}
