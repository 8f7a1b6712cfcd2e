package kv

import (
	"errors"
	"testing"

	"coldframe/internal/fault"
)

func TestProposeWritesNothing(t *testing.T) {
	db := open(t, t.TempDir())
	if err := db.Update(func(tx *Tx) error { return errors.Join(tx.Set("a", []byte("old")), tx.Set("b", []byte("old"))) }); err != nil {
		t.Fatal(err)
	}
	writes, err := db.Propose(func(tx *Tx) error {
		if err := errors.Join(tx.Set("c", nil), tx.Set("b", []byte("x")), tx.Delete("a"), tx.Set("b", []byte("new"))); err != nil {
			return err
		}
		got, err := tx.Get("b")
		if string(got) != "new" {
			t.Errorf("the transaction does not see its own write: %q", got)
		}
		return err
	})
	if err != nil || len(writes) != 3 {
		t.Fatal(writes, err)
	}
	a, b, c := writes[0], writes[1], writes[2]
	if a.Key != "a" || !a.Deleted || a.Value != nil || b.Key != "b" || string(b.Value) != "new" || b.Deleted || c.Key != "c" || c.Deleted || len(c.Value) != 0 {
		t.Fatalf("%+v", writes)
	}
	if a.Before == 0 || a.Before != b.Before || c.Before != 0 {
		t.Fatalf("versions %d, %d, %d", a.Before, b.Before, c.Before)
	}
	err = db.View(func(tx *Tx) error {
		if v, err := tx.Get("b"); err != nil || string(v) != "old" {
			t.Errorf("b is %q, %v", v, err)
		}
		_, err := tx.Get("c")
		return err
	})
	if !errors.Is(err, fault.NotFound) {
		t.Fatal("c was written:", err)
	}
	version := func() (v uint64) {
		err := db.Update(func(tx *Tx) (err error) {
			v, err = tx.Version("b")
			return errors.Join(err, tx.Set("b", []byte("again")))
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if first, second := version(), version(); first != b.Before || second == first {
		t.Fatal("versions", b.Before, first, second)
	}
	if _, err := db.Propose(func(*Tx) error { return fault.Conflict }); !errors.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
}
