package keystore_test

import (
	"maps"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// unattendedRig are a machine that opens without a person, its credential, and another of the same user.
func unattendedRig(t *testing.T) (server, laptop *rig, remote *keystoretest.Replica, credential secret.Key) {
	t.Helper()
	server, remote, kit := joinedRig(t)
	laptop = fetched(t, remote, kit)
	credential = server.enableUnattended()
	laptop.sync()
	return server, laptop, remote, credential
}

func (r *rig) enableUnattended() secret.Key {
	r.t.Helper()
	credential, err := r.vault.EnableUnattended(r.t.Context(), []byte(password))
	if err != nil {
		r.t.Fatal(err)
	}
	return credential
}

func (r *rig) changePassword(from, to string) {
	r.t.Helper()
	if err := r.vault.ChangePassword(r.t.Context(), []byte(from), []byte(to)); err != nil {
		r.t.Fatal(err)
	}
}

// Another device changes the password, and then again: the machine goes on with its credential, while it is open and after it was opened with that
// over the vault of before. It may change the vault, and the new password opens it.
func TestFollowUnattended(t *testing.T) {
	ctx := t.Context()
	server, laptop, remote, credential := unattendedRig(t)
	laptop.changePassword(password, another)
	laptop.put("x", "after the change")
	wantCode(t, server.vault.Sync(ctx), fault.Locked)
	if err := server.vault.FollowUnattended(ctx, remote, credential); err != nil {
		t.Fatal(err)
	}
	server.wants("x", "after the change")
	server.put("y", "of the server")
	laptop.sync()
	laptop.wants("y", "of the server")

	laptop.changePassword(another, password+" 3")
	server.vault.Lock()
	server.vault = keystore.New(server.db, server.options())
	if err := server.vault.UnlockUnattended(ctx, credential); err != nil {
		t.Fatal(err)
	}
	server.vault.Connect(remote)
	if err := server.vault.FollowUnattended(ctx, remote, credential); err != nil {
		t.Fatal(err)
	}
	if err := server.vault.FollowUnattended(ctx, remote, credential); err != nil { // again: nothing is new
		t.Fatal(err)
	}
	if fresh, err := server.vault.Fresh(); err != nil || fresh || !server.vault.Unattended() {
		t.Errorf("fresh %v, %v, unattended %v", fresh, err, server.vault.Unattended())
	}
	server.vault.Lock()
	wantCode(t, server.unlockWith(another), fault.NotAuthentic)
	if err := server.unlockWith(password + " 3"); err != nil {
		t.Fatal(err)
	}
}

// Nothing is taken over, and the vault stays open as it was, where the slot is gone or another machine's, or where the credential is another.
func TestFollowUnattendedIsRefused(t *testing.T) {
	ctx := t.Context()
	server, laptop, remote, credential := unattendedRig(t)
	laptop.changePassword(password, another)
	refused := func(credential secret.Key, want fault.Code) {
		t.Helper()
		records := server.records()
		wantCode(t, server.vault.FollowUnattended(ctx, remote, credential), want)
		if !maps.EqualFunc(server.records(), records, slices.Equal) || server.vault.State() != keystore.Unlocked {
			t.Error("something was taken over")
		}
	}
	refused(secret.Random(), fault.Locked)
	if err := laptop.vault.DisableUnattended(ctx); err != nil {
		t.Fatal(err)
	}
	refused(credential, fault.Locked)
	other, err := laptop.vault.EnableUnattended(ctx, []byte(another))
	if err != nil {
		t.Fatal(err)
	}
	refused(credential, fault.Locked)
	other.Wipe()
	if !server.saw(keystore.EventPasswordElsewhere) {
		t.Error("no event")
	}
}

// Somebody who had the vault once fills the slot again, on a branch from before the newest change: it is a fork, and the credential opens it for nobody.
func TestE04_FollowUnattendedAFork(t *testing.T) {
	server, laptop, remote, credential := unattendedRig(t)
	common := remote.Records()
	server.put("x", "acknowledged")
	remote.Set(common)
	laptop.changePassword(password, another)
	laptop.put("y", "a branch") // as high as what the server has seen, and higher
	records := server.records()
	wantCode(t, server.vault.FollowUnattended(t.Context(), remote, credential), fault.Forked)
	if !server.saw(keystore.EventForked) || !maps.EqualFunc(server.records(), records, slices.Equal) {
		t.Fatal("the branch was taken over")
	}
	if _, err := server.vault.Get("x"); err != nil {
		t.Error(err)
	}
}

// An older vault, or a slot that somebody damaged, is refused.
func TestFollowUnattendedOfADamagedSlot(t *testing.T) {
	ctx := t.Context()
	server, laptop, remote, credential := unattendedRig(t)
	before := remote.Records()
	laptop.changePassword(password, another)
	good := remote.Records()
	damaged := maps.Clone(good)
	root := damaged["v-root"]
	root.Body = slices.Clone(root.Body)
	at := 4 + 1 + 4 + 5 // inside the header's map
	for i := at; i < at+1200; i += 97 {
		root.Body[i] ^= 1
	}
	damaged["v-root"] = root
	remote.Set(damaged)
	if err := server.vault.FollowUnattended(ctx, remote, credential); err == nil || server.vault.State() != keystore.Unlocked {
		t.Errorf("%v, %s", err, server.vault.State())
	}
	remote.Set(good)
	if err := server.vault.FollowUnattended(ctx, remote, credential); err != nil {
		t.Fatal(err)
	}
	remote.Set(before)
	wantCode(t, server.vault.FollowUnattended(ctx, remote, credential), fault.RolledBack)
}
