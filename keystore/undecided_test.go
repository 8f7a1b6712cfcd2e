package keystore_test

import (
	"errors"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// loseAnswer has the replica make the next swap, or not, and then say nothing any more. The function it returns ends that.
func loseAnswer(remote *keystoretest.Replica, made bool) (mend func()) {
	hook := func(keystore.Swap) error {
		remote.OnRead = func([]keystore.Remote) ([]keystore.Remote, error) { return nil, errReset }
		return errReset
	}
	if made {
		remote.AfterSwap = hook
	} else {
		remote.OnSwap = hook
	}
	return func() { remote.OnSwap, remote.AfterSwap, remote.OnRead = nil, nil, nil }
}

// own reads a record of the agent; "" if there is none.
func (r *rig) own(key string) string {
	var v []byte
	_ = r.db.View(func(tx *kv.Tx) (err error) { v, err = tx.Get(key); return err })
	return string(v)
}

func pendingWrites(r *rig, key string) (there bool) {
	r.t.Helper()
	err := r.db.View(func(tx *kv.Tx) (err error) {
		there, err = keystore.PendingWrites(tx, key)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return there
}

// Whoever wrote beside the vault what a change names can tell one that may yet come from one that will not, and which records it touches.
func TestUndecided(t *testing.T) {
	r, remote, _ := joinedRig(t)
	if err := r.db.Update(func(tx *kv.Tx) error { return tx.Set("own/gone", []byte("x")) }); err != nil {
		t.Fatal(err)
	}
	update := func() error {
		return r.vault.Update(func(tx *keystore.Tx) error {
			return errors.Join(
				tx.Put(keystore.Item{ID: "x", Kind: "metadata", Body: []byte("y")}), tx.KV().Set("own/set", []byte("y")), tx.KV().Delete("own/gone"),
			)
		})
	}
	r.vault.Connect(nil)
	err := update()
	wantCode(t, err, fault.Unavailable)
	if keystore.Undecided(err) || keystore.Undecided(nil) || pendingWrites(r, "own/set") {
		t.Fatal("without a replica nothing was asked:", err)
	}
	r.vault.Connect(remote)
	remote.OnSwap = func(keystore.Swap) error { return fault.New(fault.Forbidden, "no") }
	err = update()
	wantCode(t, err, fault.Forbidden)
	if keystore.Undecided(err) || pendingWrites(r, "own/set") {
		t.Fatal("it was refused:", err)
	}
	for _, made := range []bool{false, true} {
		mend := loseAnswer(remote, made)
		err = update()
		wantCode(t, err, fault.Unavailable)
		if !keystore.Undecided(err) {
			t.Fatal("the answer was lost:", err)
		}
		for key, want := range map[string]bool{"own/set": true, "own/gone": true, "own/other": false, "own": false, "vault/root": true} {
			if pendingWrites(r, key) != want {
				t.Error(made, key, !want)
			}
		}
		mend()
		r.sync()
		if pendingWrites(r, "own/set") || pendingWrites(r, "own/gone") {
			t.Fatal("it is decided")
		}
		if err := r.db.Update(func(tx *kv.Tx) error { return tx.Set("own/gone", []byte("x")) }); err != nil {
			t.Fatal(err)
		}
	}
}

// What goes through OnCommit comes in the transaction that makes the change, also where the answer was lost and the process lives on.
func TestOnCommitAfterALostAnswer(t *testing.T) {
	for _, made := range []bool{false, true} {
		r, remote, _ := joinedRig(t)
		calls := 0
		mend := loseAnswer(remote, made)
		err := r.vault.Update(func(tx *keystore.Tx) error {
			tx.OnCommit(func(k *kv.Tx) error { calls++; return k.Set("own/event", []byte("y")) })
			return errors.Join(tx.Put(keystore.Item{ID: "x", Kind: "metadata", Body: []byte("y")}), tx.KV().Set("own/shared", []byte("y")))
		})
		if !keystore.Undecided(err) || calls != 0 {
			t.Fatal(err, calls)
		}
		if err := r.db.Update(func(tx *kv.Tx) error { return tx.Set("own/shared", []byte("meanwhile")) }); err != nil {
			t.Fatal(err)
		}
		mend()
		r.sync()
		r.wants("x", "y")
		if calls != 1 || r.own("own/event") != "y" || r.own("own/shared") != "meanwhile" {
			t.Fatal(made, calls, r.own("own/event"), r.own("own/shared"))
		}
		if !r.saw(keystore.EventChangeMade) || !r.saw(keystore.EventRecordsKept) {
			t.Fatal(r.events)
		}
		r.put("z", "next")
		if calls != 1 {
			t.Fatal("called for another change")
		}
	}
}

// A callback that cannot do its work does not keep a change from being made that the replica has.
func TestOnCommitThatFails(t *testing.T) {
	r, remote, _ := joinedRig(t)
	mend := loseAnswer(remote, true)
	calls := 0
	err := r.vault.Update(func(tx *keystore.Tx) error {
		tx.OnCommit(func(*kv.Tx) error { calls++; return fault.New(fault.Internal, "never") })
		return tx.Put(keystore.Item{ID: "x", Kind: "metadata", Body: []byte("y")})
	})
	if !keystore.Undecided(err) {
		t.Fatal(err)
	}
	mend()
	r.sync()
	r.wants("x", "y")
	if calls != 1 || r.saw(keystore.EventLocked) {
		t.Fatal(calls, r.events)
	}
}
