package keystore_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// The anchor could not be moved with the last change, and the replica shows a branch from before it, with a new password: the change was
// acknowledged, so the branch is a fork, whatever the anchor says.
func TestE04_FollowAForkOfTheNewestChange(t *testing.T) {
	for _, locked := range []bool{false, true} {
		a, remote, kit := joinedRig(t)
		b := fetched(t, remote, kit)
		common := remote.Records()
		anchor := readFile(t, filepath.Join(a.dir, "vault.anchor"))
		a.put("x", "acknowledged")
		if err := os.WriteFile(filepath.Join(a.dir, "vault.anchor"), anchor, 0o600); err != nil { // as after a crash before it moved
			t.Fatal(err)
		}
		remote.Set(common)
		if err := b.vault.ChangePassword(t.Context(), []byte(password), []byte(another)); err != nil {
			t.Fatal(err)
		}
		if locked {
			a.vault.Lock()
		}
		records := a.records()
		wantCode(t, a.vault.Follow(t.Context(), remote, []byte(another), nil), fault.Forked)
		if !a.saw(keystore.EventForked) || !maps.EqualFunc(a.records(), records, slices.Equal) {
			t.Fatal("the branch was taken over", a.events)
		}
	}
}

// The password, and then the address, was changed on another device: what this machine logs in with before it has followed is the very proof that
// was set. The vault here cannot judge it, so nothing here changes, and it counts as no wrong password.
func TestFollowProof(t *testing.T) {
	ctx := t.Context()
	a, remote, kit := joinedRig(t)
	b := fetched(t, remote, kit)
	check := func(r *rig, kit *keystore.RecoveryKit) {
		t.Helper()
		proof, err := r.vault.FollowProof(ctx, []byte(another), kit)
		set := remote.Credentials()
		if err != nil || !proof.Equal(set[len(set)-1].New) {
			t.Fatal("another proof:", err)
		}
		proof.Wipe()
	}
	if err := a.vault.ChangePassword(ctx, []byte(password), []byte(another)); err != nil {
		t.Fatal(err)
	}
	check(b, nil)
	wantCode(t, b.unlockWith(another), fault.NotAuthentic) // it is not the password here
	b.vault.Lock()
	for range 10 { // five wrong passwords would wait
		check(b, nil)
	}
	newKit, err := keystoretest.NewKit(ctx, a.vault, []byte(another), "new@example.net")
	if err != nil {
		t.Fatal(err)
	}
	check(b, &newKit)
	if err := b.vault.Follow(ctx, remote, []byte(another), &newKit); err != nil {
		t.Fatal(err)
	}
	check(b, nil)
	sameVault(t, a, b)

	weak := newKit
	weak.Params.Memory = 8
	_, err = b.vault.FollowProof(ctx, []byte(another), &weak)
	wantCode(t, err, fault.Policy)
	_, _, theirs := joinedRig(t)
	_, err = b.vault.FollowProof(ctx, []byte(another), &theirs)
	wantCode(t, err, fault.Policy)
	_, err = newRigInMemory(t).vault.FollowProof(ctx, []byte(another), nil)
	wantCode(t, err, fault.NotFound)
	for range 5 {
		wantCode(t, b.unlockWith(password), fault.NotAuthentic)
	}
	_, err = b.vault.FollowProof(ctx, []byte(another), nil)
	wantCode(t, err, fault.Busy)
}
