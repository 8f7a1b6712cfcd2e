package keystore_test

import (
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore/keystoretest"
)

// A server opens without a person. That is its own affair: a laptop of the same user still wipes its keys when it locks, and does not take the
// server's credential away by asking for one of its own.
func TestUnattendedIsOfOneMachine(t *testing.T) {
	ctx := t.Context()
	server, remote, kit := joinedRig(t)
	laptop := fetched(t, remote, kit)
	credential, err := server.vault.EnableUnattended(ctx, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	laptop.sync()
	if !server.vault.Unattended() || laptop.vault.Unattended() {
		t.Fatal("server", server.vault.Unattended(), "laptop", laptop.vault.Unattended())
	}
	_, err = laptop.vault.EnableUnattended(ctx, []byte(password))
	wantCode(t, err, fault.Conflict)
	if err := laptop.vault.ChangePassword(ctx, []byte(password), []byte(another)); err != nil {
		t.Fatal(err)
	}
	if err := server.vault.Follow(ctx, remote, []byte(another), nil); err != nil {
		t.Fatal(err)
	}
	server.vault.Lock()
	if err := server.vault.UnlockUnattended(ctx, credential); err != nil || !server.vault.Unattended() {
		t.Fatal("the slot moves with the password:", err)
	}
	if _, err := server.vault.EnableUnattended(ctx, []byte(another)); err != nil {
		t.Fatal("a new credential for the same machine:", err)
	}
	laptop.sync()
	if err := laptop.vault.DisableUnattended(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := laptop.vault.EnableUnattended(ctx, []byte(another)); err != nil || !laptop.vault.Unattended() {
		t.Fatal("taken over knowingly:", err)
	}
	server.sync()
	if server.vault.Unattended() {
		t.Fatal("the slot is the laptop's now")
	}
}

// A machine that was unattended before its vault joined still is.
func TestUnattendedStaysWhenTheVaultJoins(t *testing.T) {
	r, _, kit := joinedRig(t)
	if err := r.vault.Leave(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.vault.EnableUnattended(t.Context(), []byte(password)); err != nil {
		t.Fatal(err)
	}
	if err := r.db.Update(func(tx *kv.Tx) error { return tx.Delete("vault/unattended") }); err != nil { // as a version did that had no replicas
		t.Fatal(err)
	}
	if !r.vault.Unattended() {
		t.Fatal("local")
	}
	remote := keystoretest.NewReplica()
	r.vault.Connect(remote)
	if err := r.vault.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !r.vault.Unattended() || fetched(t, remote, kit).vault.Unattended() {
		t.Fatal("joined")
	}
}
