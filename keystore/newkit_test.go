package keystore_test

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

func (r *rig) draft(email string) keystore.RecoveryKit {
	r.t.Helper()
	kit, err := r.vault.DraftKit(r.t.Context(), []byte(password), email)
	if err != nil {
		r.t.Fatal(err)
	}
	return kit
}

func (r *rig) use(c keystore.KitChange) error {
	return r.vault.UseKit(r.t.Context(), []byte(password), c)
}

// A kit that is only drafted opens nothing, and the present one everything; used, it is the other way round. The same again changes nothing.
func TestNewKitIsDraftedFirst(t *testing.T) {
	ctx := t.Context()
	r := newRig(t)
	old := r.register()
	r.put("a", "one")
	before := r.records()
	kit := r.draft("")
	if !maps.EqualFunc(r.records(), before, bytes.Equal) {
		t.Fatal("a draft is in the database")
	}
	if err := r.vault.CheckKit(ctx, old); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.vault.CheckKit(ctx, kit), fault.NotAuthentic)
	told := 0
	change := keystore.KitChange{Kit: kit, Within: func(tx *keystore.Tx) error {
		tx.OnCommit(func(*kv.Tx) error { told++; return nil })
		return nil
	}}
	for range 2 {
		if err := r.use(change); err != nil || told != 1 {
			t.Fatal(err, told)
		}
	}
	head := r.head()
	if err := r.use(change); err != nil || r.head() != head {
		t.Fatal("the same kit again is a change:", err)
	}
	wantCode(t, r.vault.CheckKit(ctx, old), fault.NotAuthentic)
	r.restart()
	if err := r.vault.CheckKit(ctx, kit); err != nil {
		t.Fatal("locked:", err)
	}
	if err := r.vault.Recover(ctx, kit, []byte(another)); err != nil {
		t.Fatal(err)
	}
	r.wants("a", "one")
}

// What is refused changes nothing.
func TestNewKitRefused(t *testing.T) {
	ctx := t.Context()
	r, other := newRigInMemory(t), newRigInMemory(t)
	old, theirs := r.register(), other.register()
	kit := r.draft("")
	before := r.records()
	for name, kit := range map[string]keystore.RecoveryKit{
		"another user's":      theirs,
		"other costs":         {UserID: kit.UserID, Email: kit.Email, AccountKey: kit.AccountKey, RecoveryKey: kit.RecoveryKey},
		"another account key": {UserID: kit.UserID, Email: kit.Email, Params: kit.Params, AccountKey: theirs.AccountKey, RecoveryKey: kit.RecoveryKey},
		"no account key":      {UserID: kit.UserID, Email: kit.Email, Params: kit.Params, RecoveryKey: kit.RecoveryKey},
		"no recovery key":     {UserID: kit.UserID, Email: kit.Email, Params: kit.Params, AccountKey: kit.AccountKey},
	} {
		t.Run(name, func(t *testing.T) {
			wantCode(t, r.use(keystore.KitChange{Kit: kit}), fault.InvalidRequest)
		})
	}
	moved := r.draft("new@example.net")
	wantCode(t, r.use(keystore.KitChange{Kit: moved}), fault.Conflict)
	wantCode(t, r.vault.UseKit(ctx, []byte(another), keystore.KitChange{Kit: kit}), fault.NotAuthentic)
	for email, want := range map[string]fault.Code{
		"Ada@EXAMPLE.org": fault.InvalidRequest, "no address": fault.InvalidRequest, "tundra-violet-47-anvil-orbit@example.org": fault.Policy,
	} {
		_, err := r.vault.DraftKit(ctx, []byte(password), email)
		wantCode(t, err, want)
	}
	_, err := r.vault.DraftKit(ctx, []byte(another), "")
	wantCode(t, err, fault.NotAuthentic)
	for key, value := range r.records() {
		if key != "vault/throttle" && !bytes.Equal(before[key], value) {
			t.Error(key, "changed")
		}
	}
	if err := r.vault.CheckKit(ctx, old); err != nil {
		t.Fatal(err)
	}
	r.vault.Lock()
	_, err = r.vault.DraftKit(ctx, []byte(password), "")
	wantCode(t, err, fault.Locked)
	wantCode(t, r.use(keystore.KitChange{Kit: kit}), fault.Locked)
}

// The answer of the replica is lost: whichever of both kits is the valid one in the end, the same call again makes it the new one, once, and
// what belongs to the change is done once.
func TestNewKitWithLostAnswer(t *testing.T) {
	for _, email := range []string{"", "new@example.net"} {
		for _, made := range []bool{true, false} {
			t.Run(fmt.Sprint(email, " made ", made), func(t *testing.T) {
				ctx := t.Context()
				r, remote, old := joinedRig(t)
				told := 0
				kit := r.draft(email)
				change := keystore.KitChange{Kit: kit, Address: email != "", Within: func(tx *keystore.Tx) error {
					tx.OnCommit(func(*kv.Tx) error { told++; return nil })
					return nil
				}}
				lost := func(keystore.Swap) error {
					remote.OnRead = func([]keystore.Remote) ([]keystore.Remote, error) { return nil, errReset }
					return errReset
				}
				if made {
					remote.AfterSwap = lost
				} else {
					remote.OnSwap = lost
				}
				err := r.use(change)
				wantCode(t, err, fault.Unavailable)
				if !keystore.Undecided(err) || told != 0 {
					t.Fatal(err, told)
				}
				wantCode(t, r.vault.CheckKit(ctx, old), fault.Unavailable)
				remote.OnSwap, remote.AfterSwap, remote.OnRead = nil, nil, nil
				if err := r.use(change); err != nil || told != 1 {
					t.Fatal(err, told)
				}
				wantCode(t, r.vault.CheckKit(ctx, old), fault.NotAuthentic)
				if c := remote.Credentials(); len(c) != 1 || !c[0].Recovery.Equal(kit.Proof()) || (c[0].EmailHash == [32]byte{}) != (email == "") {
					t.Fatal("the proofs changed", len(c), "times")
				}
				r.reopen(remote)
				if err := r.vault.CheckKit(ctx, kit); err != nil {
					t.Fatal(err)
				}
				if r.vault.Email() != kit.Email {
					t.Fatal(r.vault.Email())
				}
			})
		}
	}
}

// Another device changed the address between draft and use: the kit does not bring the former one back.
func TestNewKitAfterAnotherAddress(t *testing.T) {
	a, remote, kit := joinedRig(t)
	b := fetched(t, remote, kit)
	draft := a.draft("")
	if _, err := keystoretest.NewKit(t.Context(), b.vault, []byte(password), "new@example.net"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // before and after the change is known here
		wantCode(t, a.use(keystore.KitChange{Kit: draft}), fault.Conflict)
	}
	if a.vault.Email() != "new@example.net" {
		t.Fatal(a.vault.Email())
	}
}

// While nobody knows whether a kit was replaced, no kit is said to be the valid one, nor not to be; any other change is no reason for that.
func TestCheckKitWhileUndecided(t *testing.T) {
	ctx := t.Context()
	for _, made := range []bool{false, true} {
		r, remote, _ := joinedRig(t)
		old := r.draft("")
		if err := r.use(keystore.KitChange{Kit: old}); err != nil {
			t.Fatal(err)
		}
		kit := r.draft("")
		mend := loseAnswer(remote, made)
		wantCode(t, r.vault.Update(func(tx *keystore.Tx) error {
			return tx.Put(keystore.Item{ID: "x", Kind: "metadata", Body: []byte("y")})
		}), fault.Unavailable)
		if err := r.vault.CheckKit(ctx, old); err != nil {
			t.Fatal("another change is pending:", err)
		}
		mend()
		r.sync()
		mend = loseAnswer(remote, made)
		wantCode(t, r.use(keystore.KitChange{Kit: kit}), fault.Unavailable)
		for range 2 {
			wantCode(t, r.vault.CheckKit(ctx, old), fault.Unavailable)
			wantCode(t, r.vault.CheckKit(ctx, kit), fault.Unavailable)
			r.vault.Lock()
		}
		r.unlock()
		mend()
		r.sync()
		if err := r.vault.CheckKit(ctx, kit); err != nil { // Sync has made it
			t.Error(made, err)
		}
		wantCode(t, r.vault.CheckKit(ctx, old), fault.NotAuthentic)
	}
}
