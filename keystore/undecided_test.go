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

// refuseChanges is a hook that refuses swaps of more than the root alone.
func refuseChanges(s keystore.Swap) error {
	if len(s.Changes) == 1 {
		return nil
	}
	return fault.New(fault.Forbidden, "no")
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

// A change was made, the answer lost, and another device was faster with its next one: what the vault became came of the change, so it was made,
// and the records beside it come.
func TestUndecidedChangeUnderAnotherDevices(t *testing.T) {
	a, remote, kit := joinedRig(t)
	b := fetched(t, remote, kit)
	for i := range 3 {
		mend := loseAnswer(remote, true)
		calls := 0
		err := a.vault.Update(func(tx *keystore.Tx) error {
			calls++
			tx.OnCommit(func(k *kv.Tx) error { return k.Set("own/event", []byte{byte('0' + i)}) })
			return errors.Join(tx.Put(keystore.Item{ID: "x", Kind: "metadata", Body: []byte{byte('0' + i)}}), tx.KV().Set("own/head", []byte{byte('0' + i)}))
		})
		if !keystore.Undecided(err) {
			t.Fatal(err)
		}
		mend()
		for range i + 1 {
			b.put("y", "on top")
		}
		if i == 1 {
			a.reopen(remote)
		}
		a.sync()
		a.wants("x", string(byte('0'+i)))
		event := string(byte('0' + i))
		if i == 1 {
			event = "0" // its process ended
		}
		if a.own("own/head") != string(byte('0'+i)) || a.own("own/event") != event || calls != 1 {
			t.Fatal(i, a.own("own/head"), a.own("own/event"), calls)
		}
		sameVault(t, a, b)
	}
	if a.saw(keystore.EventChangeDropped) {
		t.Fatal(a.events)
	}
}

// The request was sent twice on its way, and another device changed the vault in between: the second answer is a conflict, and the change is made.
func TestConflictWithItself(t *testing.T) {
	a, remote, kit := joinedRig(t)
	b := fetched(t, remote, kit)
	remote.AfterSwap = func(keystore.Swap) error {
		remote.AfterSwap = nil
		b.put("y", "on top")
		return fault.New(fault.Conflict, "another record")
	}
	calls := 0
	err := a.vault.Update(func(tx *keystore.Tx) error {
		calls++
		return errors.Join(tx.Put(keystore.Item{ID: "x", Kind: "metadata", Body: []byte("y")}), tx.KV().Set("own/head", []byte("y")))
	})
	if err != nil || calls != 1 || a.own("own/head") != "y" {
		t.Fatal(err, calls, a.own("own/head"))
	}
	a.sync()
	sameVault(t, a, b)
}

// A replica that shows an older vault, or another branch, gets nobody to give up a change that it may have.
func TestUndecidedChangeAndAnOldVault(t *testing.T) {
	for _, made := range []bool{false, true} {
		a, remote, kit := joinedRig(t)
		old := remote.Records()
		b := fetched(t, remote, kit)
		a.put("w", "one")
		mend := loseAnswer(remote, made)
		err := a.vault.ChangePassword(t.Context(), []byte(password), []byte(another))
		if !keystore.Undecided(err) {
			t.Fatal(err)
		}
		mend()
		newest := remote.Records()
		for name, lie := range map[fault.Code]func(){
			fault.RolledBack: func() { remote.Set(old) },
			fault.Forked:     func() { remote.Set(old); b.put("w", "a branch") },
		} {
			lie()
			wantCode(t, a.vault.Sync(t.Context()), name)
			wantCode(t, a.tryPut("x", "y"), name)
			if _, err := a.vault.PendingProof(); err != nil {
				t.Fatal(name, "the proof is gone:", err)
			}
			b = newRigInMemory(t)
			remote.Set(old)
			if err := b.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)}); err != nil {
				t.Fatal(err)
			}
			b.vault.Connect(remote)
		}
		remote.Set(newest)
		wantCode(t, a.vault.Sync(t.Context()), fault.Locked)
		if err := a.unlockWith(another); err != nil {
			t.Fatal(err)
		}
		a.wants("w", "one")
	}
}

// A password was changed, the answer lost, and another device went on under the new key: whoever follows with the new password gets what was
// recorded beside the change.
func TestFollowAfterAnUndecidedPassword(t *testing.T) {
	for _, locked := range []bool{false, true} {
		a, remote, kit := joinedRig(t)
		b := fetched(t, remote, kit)
		mend := loseAnswer(remote, true)
		err := a.vault.ChangePasswordForLogin(t.Context(), []byte(password), []byte(another), func(tx *kv.Tx, _, _ keystore.Proof) error {
			return tx.Set("own/proof", []byte("new"))
		})
		if !keystore.Undecided(err) {
			t.Fatal(err)
		}
		mend()
		if err := b.vault.Follow(t.Context(), remote, []byte(another), nil); err != nil {
			t.Fatal(err)
		}
		b.put("y", "on top")
		wantCode(t, a.vault.Sync(t.Context()), fault.Locked)
		if locked {
			a.restart()
			a.vault.Connect(remote)
		}
		if err := a.vault.Follow(t.Context(), remote, []byte(another), nil); err != nil {
			t.Fatal(err)
		}
		if a.own("own/proof") != "new" || a.saw(keystore.EventChangeDropped) {
			t.Fatal(locked, a.own("own/proof"), a.events)
		}
		sameVault(t, a, b)
	}
}

// The disk is full once the replica has the change, or once it has refused it: what cannot be written down as decided is undecided, and a kit
// that may be the valid one is not destroyed.
func TestUndecidedByAFullDisk(t *testing.T) {
	for _, made := range []bool{true, false} {
		a, remote, kit := joinedRig(t)
		b, disk := broken(t)
		if err := b.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)}); err != nil {
			t.Fatal(err)
		}
		b.vault.Connect(remote)
		full := func(err error) func(keystore.Swap) error {
			return func(keystore.Swap) error {
				remote.OnSwap, remote.AfterSwap = nil, nil
				disk.counting, disk.count, disk.after = 1, 0, 0
				return err
			}
		}
		if made {
			remote.AfterSwap = full(nil)
		} else {
			remote.OnSwap = full(fault.New(fault.Forbidden, "no"))
		}
		newKit, err := keystoretest.NewKit(t.Context(), b.vault, []byte(password), "")
		disk.counting = 0
		if !keystore.Undecided(err) || !errors.Is(err, fault.Unavailable) || newKit.RecoveryKey.IsZero() {
			t.Fatal(made, err)
		}
		if b.vault.State() == keystore.Locked {
			if err := b.unlock(); err != nil {
				t.Fatal(err)
			}
		}
		b.sync()
		a.sync()
		sameVault(t, a, b)
		b.vault.Lock()
		if err := b.vault.Recover(t.Context(), newKit, []byte(another)); err != nil { // not made: it was sent again
			t.Fatal(made, err)
		}
	}
}

// The disk is full while a refused change is dropped: what is left of it does not become part of the next one.
func TestNothingOfADroppedChangeStays(t *testing.T) {
	for room := range 4 {
		a, remote, kit := joinedRig(t)
		b, disk := broken(t)
		if err := b.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(password)}); err != nil {
			t.Fatal(err)
		}
		b.vault.Connect(remote)
		remote.OnSwap = func(keystore.Swap) error {
			remote.OnSwap = refuseChanges
			disk.counting, disk.count, disk.after = 1, 0, room
			return fault.New(fault.Forbidden, "no")
		}
		err := b.vault.Update(func(tx *keystore.Tx) error {
			return errors.Join(tx.Put(keystore.Item{ID: "x", Kind: "metadata", Body: []byte("refused")}), tx.KV().Set("own/refused", []byte("y")))
		})
		disk.counting = 0
		if undecided := keystore.Undecided(err); undecided != (room == 0) {
			t.Fatal(room, err)
		}
		if room == 0 {
			b.sync() // refused again
		}
		remote.OnSwap = nil
		b.put("z", "next")
		a.sync()
		sameVault(t, a, b)
		if b.own("own/refused") != "" || pendingWrites(b, "own/refused") {
			t.Fatal(room, "a record of the refused change came with the next one")
		}
		b.reopen(remote)
		sameVault(t, a, b)
	}
}

// A function of OnCommit runs while readers wait, whether the vault is local, replicated, or decided later: so one that reads the vault never
// returns, and whoever writes it notices at once, not where a coordinator comes in.
func TestOnCommitRunsWhileReadersWait(t *testing.T) {
	r, remote := newRigInMemory(t), keystoretest.NewReplica()
	r.register()
	r.vault.Connect(remote)
	calls := 0
	update := func(item bool) error {
		return r.vault.Update(func(tx *keystore.Tx) error {
			tx.OnCommit(func(*kv.Tx) error {
				if calls++; r.vault.Readable() {
					t.Error("a reader came in")
				}
				return nil
			})
			if !item {
				return tx.KV().Set("own/record", []byte("x"))
			}
			return tx.Put(keystore.Item{ID: "x", Kind: "metadata"})
		})
	}
	both := func() error { return errors.Join(update(true), update(false)) }
	err := both()
	if err := errors.Join(err, r.vault.Join(t.Context()), both()); err != nil {
		t.Fatal(err)
	}
	mend := loseAnswer(remote, true)
	wantCode(t, update(true), fault.Unavailable)
	mend()
	r.sync()
	if calls != 5 || !r.vault.Readable() {
		t.Fatal(calls)
	}
}

// A pending change is sent again and refused, and dropped; its first request was slow, and comes now. It must not be made any more.
func TestALateRequestFindsTheDoorClosed(t *testing.T) {
	a, remote, kit := joinedRig(t)
	var late keystore.Swap
	mend := loseAnswer(remote, false)
	lose := remote.OnSwap
	remote.OnSwap = func(s keystore.Swap) error { late = s; return lose(s) }
	if err := a.tryPut("x", "dropped"); !keystore.Undecided(err) {
		t.Fatal(err)
	}
	mend()
	remote.OnSwap = func(keystore.Swap) error { remote.OnSwap = nil; return fault.New(fault.TooLarge, "not today") }
	a.sync()
	if !a.saw(keystore.EventChangeDropped) {
		t.Fatal(a.events)
	}
	wantCode(t, remote.Swap(t.Context(), late), fault.Conflict)
	a.put("y", "next")
	sameVault(t, a, fetched(t, remote, kit))
}
