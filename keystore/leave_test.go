package keystore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// A vault that left is a local one: it changes without a replica, survives restarts, and joins another replica, or its former one again.
func TestLeave(t *testing.T) {
	r, remote, kit := joinedRig(t)
	other := fetched(t, remote, kit)
	mend := loseAnswer(remote, false)
	wantCode(t, r.tryPut("x", "pending"), fault.Unavailable)
	mend()
	if err := r.vault.Leave(); err != nil {
		t.Fatal(err)
	}
	if joined, err := r.vault.Joined(); err != nil || joined || !r.saw(keystore.EventLeft) || !r.saw(keystore.EventChangeDropped) {
		t.Fatal(joined, err, r.events)
	}
	if err := r.vault.Leave(); err != nil {
		t.Fatal("leaving again:", err)
	}
	r.vault.Connect(nil)
	for i := range 3 {
		r.put("x", fmt.Sprint(i))
		r.restart()
		if err := r.unlock(); err != nil {
			t.Fatal(err)
		}
		r.wants("x", fmt.Sprint(i))
	}
	elsewhere := keystoretest.NewReplica()
	r.vault.Connect(elsewhere)
	if err := r.vault.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	sameVault(t, r, fetched(t, elsewhere, kit))

	// The other device went its own way: no vault takes the place of the other.
	if err := other.vault.Leave(); err != nil {
		t.Fatal(err)
	}
	other.put("y", "of its own")
	other.vault.Connect(elsewhere)
	wantCode(t, other.vault.Join(t.Context()), fault.Forked)
	other.wants("y", "of its own")

	// Back where it was: the vault there is older, and this one, which came of it, takes its place. One that went on there is not replaced.
	if err := r.vault.Leave(); err != nil {
		t.Fatal(err)
	}
	r.vault.Connect(remote)
	if err := r.vault.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.put("x", "there again")
	sameVault(t, r, fetched(t, remote, kit))
	if err := r.vault.Leave(); err != nil {
		t.Fatal(err)
	}
	third := fetched(t, remote, kit)
	third.put("z", "meanwhile")
	for _, change := range []string{"a", "b", "c"} {
		r.put("x", change)
	}
	wantCode(t, r.vault.Join(t.Context()), fault.Forked)
	r.put("x", "still local")
	third.put("z", "goes on")
}

// A vault that left and changed more often than its history tells joins again where its replica is as it was left. Where another device went on meanwhile it
// does not, and nothing that is there is lost.
func TestJoinAgainAfterManyChanges(t *testing.T) {
	for name, meanwhile := range map[string]int{"nothing changed there": 0, "another device went on": 3} {
		t.Run(name, func(t *testing.T) {
			r, remote, kit := joinedRig(t)
			other := fetched(t, remote, kit)
			r.put("x", "of before")
			if err := r.vault.Leave(); err != nil {
				t.Fatal(err)
			}
			for i := range 270 {
				r.put("x", fmt.Sprint(i))
			}
			for i := range meanwhile {
				other.put("y", fmt.Sprint(i))
			}
			if meanwhile == 0 {
				if err := r.vault.Join(t.Context()); err != nil {
					t.Fatal(err)
				}
				sameVault(t, r, fetched(t, remote, kit))
				return
			}
			wantCode(t, r.vault.Join(t.Context()), fault.Conflict)
			r.put("x", "still local")
			other.put("y", "goes on")
			fetched(t, remote, kit).wants("y", "goes on")
		})
	}
}

func hasRoot(s keystore.Swap) bool {
	return slices.ContainsFunc(s.Changes, func(c keystore.RemoteChange) bool { return c.Name == "v-root" })
}

func (r *rig) changes(fn func(tx *keystore.Tx) error) {
	r.t.Helper()
	if err := r.vault.Update(fn); err != nil {
		r.t.Fatal(err)
	}
}

// A vault that comes back to a replica that went on without it takes over what is there, if nothing changed here but where it is replicated to. Otherwise it
// stays a local one, and nothing is lost.
func TestJoinAgainWhereAnotherWentOn(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *rig, remote *keystoretest.Replica)
		want   fault.Code // empty: it joins
	}{
		"nothing": {func(*rig, *keystoretest.Replica) {}, ""},
		"where it is replicated to": {func(r *rig, _ *keystoretest.Replica) {
			r.changes(func(tx *keystore.Tx) error { return tx.Delete("coordinator") })
			for range 4 {
				r.changes(func(tx *keystore.Tx) error {
					return tx.Put(keystore.Item{ID: "coordinator", Kind: keystore.KindReplica, Body: []byte("again")})
				})
			}
		}, ""},
		"an upload that broke off": {func(r *rig, remote *keystoretest.Replica) {
			r.changes(func(tx *keystore.Tx) error { return tx.Delete("coordinator") })
			remote.OnSwap = func(s keystore.Swap) error {
				if hasRoot(s) {
					return errReset
				}
				return nil
			}
			wantCode(t, r.vault.Join(t.Context()), fault.Unavailable)
			remote.OnSwap = nil
			if err := r.vault.Leave(); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"an item": {func(r *rig, _ *keystoretest.Replica) { r.put("x", "here") }, fault.Forked},
		"an item that went": {func(r *rig, _ *keystoretest.Replica) {
			r.changes(func(tx *keystore.Tx) error { return tx.Delete("seed") })
		}, fault.Forked},
		"more often than the other": {func(r *rig, _ *keystoretest.Replica) {
			for range 6 {
				r.put("x", "here")
			}
		}, fault.Forked},
		"more often than is remembered": {func(r *rig, _ *keystoretest.Replica) {
			for range 270 {
				r.put("x", "here")
			}
		}, fault.Conflict},
		"the password": {func(r *rig, _ *keystoretest.Replica) {
			if err := r.vault.ChangePassword(t.Context(), []byte(password), []byte("another password of hers")); err != nil {
				t.Fatal(err)
			}
		}, fault.Forked},
	} {
		t.Run(name, func(t *testing.T) {
			r, remote, kit := joinedRig(t)
			r.changes(func(tx *keystore.Tx) error {
				return tx.Put(keystore.Item{ID: "coordinator", Kind: keystore.KindReplica, Body: []byte("here")})
			})
			r.put("x", "of before")
			other := fetched(t, remote, kit)
			if err := r.vault.Leave(); err != nil {
				t.Fatal(err)
			}
			c.change(r, remote)
			for range 3 {
				other.put("y", "of the other")
			}
			anchor := filepath.Join(r.dir, "vault.anchor")
			before := readFile(t, anchor)
			err := r.vault.Join(t.Context())
			if c.want != "" {
				wantCode(t, err, c.want)
				r.put("z", "still local")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sameVault(t, r, other)
			if fresh, err := r.vault.Fresh(); err != nil || fresh {
				t.Error("it has what it came of to compare with:", fresh, err)
			}
			if err := os.WriteFile(anchor, before, 0o600); err != nil { // as after a crash before it moved
				t.Fatal(err)
			}
			r.reopen(remote)
			r.put("x", "goes on")
			other.sync()
			other.wants("x", "goes on")
		})
	}
}

// An older database is noticed whatever it says was given up: V06.
func TestV06_GivenUpIsAuthentic(t *testing.T) {
	r, _, _ := joinedRig(t)
	old := r.records()
	r.put("x", "newer")
	old["vault/given-up"] = append(readFile(t, filepath.Join(r.dir, "vault.anchor")), make([]byte, 93+32)...)
	r.vault.Lock()
	r.replace(old)
	r.vault = keystore.New(r.db, r.options())
	wantCode(t, r.unlock(), fault.RolledBack)
}

// A record of when the vault left that somebody changed on the disk says nothing.
func TestDepartureIsAuthentic(t *testing.T) {
	r, remote, kit := joinedRig(t)
	r.put("x", "of before")
	other := fetched(t, remote, kit)
	if err := r.vault.Leave(); err != nil {
		t.Fatal(err)
	}
	r.changes(func(tx *keystore.Tx) error {
		return tx.Put(keystore.Item{ID: "coordinator", Kind: keystore.KindReplica, Body: []byte("again")})
	})
	other.put("y", "of the other")
	all := r.records()
	all["vault/left"][len(all["vault/left"])-33] ^= 1 // other items
	r.replace(all)
	wantCode(t, r.vault.Join(t.Context()), fault.NotAuthentic)
	r.put("x", "still local")
}

// A vault whose upload lost to another device's change, and that did not come of that, is local again.
func TestJoinThatLosesIsLocal(t *testing.T) {
	r, remote, kit := joinedRig(t)
	other := fetched(t, remote, kit)
	r.put("x", "of before")
	if err := r.vault.Leave(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		r.put("x", fmt.Sprint(i))
	}
	remote.OnSwap = func(s keystore.Swap) error {
		if hasRoot(s) {
			remote.OnSwap = nil
			other.put("y", "meanwhile")
		}
		return nil
	}
	wantCode(t, r.vault.Join(t.Context()), fault.Forked)
	r.put("x", "still local")
	other.put("y", "goes on")
}

// A first upload that breaks off in the middle leaves the vault as it was, and what it left there goes with the join that succeeds.
func TestJoinThatFailsLeavesTheVaultLocal(t *testing.T) {
	r, remote := newRigInMemory(t), keystoretest.NewReplica()
	kit := r.register()
	for i := range 200 {
		r.put(fmt.Sprint(i), "x")
	}
	r.vault.Connect(remote)
	swaps := 0
	remote.OnSwap = func(keystore.Swap) error {
		if swaps++; swaps == 3 {
			return errReset
		}
		return nil
	}
	wantCode(t, r.vault.Join(t.Context()), fault.Unavailable)
	remote.OnSwap = nil
	if joined, err := r.vault.Joined(); err != nil || joined {
		t.Fatal(joined, err)
	}
	for i := range 150 {
		r.put(fmt.Sprint(i), "changed meanwhile")
	}
	if err := r.vault.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := r.vault.Collect(t.Context()); err != nil || n != 0 {
		t.Fatal("garbage of the first upload:", n, err)
	}
	sameVault(t, r, fetched(t, remote, kit))
}

// The answer to the last swap of a first upload is lost: local changes wait until the outcome is known, or the user leaves.
func TestJoinWhoseOutcomeIsOpen(t *testing.T) {
	for _, made := range []bool{true, false} {
		r, remote := newRigInMemory(t), keystoretest.NewReplica()
		r.register()
		r.put("x", "y")
		r.vault.Connect(remote)
		hook := func(s keystore.Swap) error {
			if s.Changes[0].Name == "v-root" {
				return errReset
			}
			return nil
		}
		if made {
			remote.AfterSwap = hook
		} else {
			remote.OnSwap = hook
		}
		wantCode(t, r.vault.Join(t.Context()), fault.Unavailable)
		wantCode(t, r.tryPut("x", "z"), fault.Unavailable)
		remote.OnSwap, remote.AfterSwap = nil, nil
		if err := r.vault.Leave(); err != nil {
			t.Fatal(err)
		}
		r.put("x", "z")
		if err := r.vault.Join(t.Context()); err != nil {
			t.Fatal(made, err)
		}
	}
}
