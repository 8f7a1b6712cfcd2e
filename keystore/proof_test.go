package keystore_test

import (
	"errors"
	"fmt"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// A login proof comes from the right password alone, is the same however it is asked for, and is under the throttle of unlocking.
func TestLoginProof(t *testing.T) {
	ctx := t.Context()
	r := newRig(t)
	kit := r.register()
	r.restart()
	proof, err := r.vault.LoginProof(ctx, []byte(password))
	if err != nil || r.vault.State() != keystore.Locked {
		t.Fatal(err, r.vault.State())
	}
	open := func() bool { return r.vault.State() == keystore.Unlocked }
	same, err := r.vault.UnlockForLogin(ctx, []byte(password), keystore.UnlockOptions{}, open)
	if err != nil || !same.Equal(proof) {
		t.Fatal("another proof, or asked for before the vault was open: ", err)
	}
	here, there := proof.For("https://here.example"), proof.For("https://there.example")
	if !here.Equal(same.For("https://here.example")) || here.Equal(there) || here.Equal(kit.Proof().For("https://here.example")) {
		t.Error("the proofs of two coordinators, or of two secrets, are one")
	}
	if s := fmt.Sprintf("%v %+v %x", proof, proof, proof); s != "[key] [key] [key]" {
		t.Error("a proof prints as", s)
	}
	r.vault.Lock()
	unwanted := func() bool { return false }
	if none, err := r.vault.UnlockForLogin(ctx, []byte(password), keystore.UnlockOptions{}, unwanted); err != nil || !none.IsZero() {
		t.Fatal("a proof that nobody wanted: ", err)
	}
	for range 5 {
		none, err := r.vault.LoginProof(ctx, []byte(another))
		wantCode(t, err, fault.NotAuthentic)
		if !none.IsZero() {
			t.Error("a proof of a wrong password")
		}
	}
	_, err = r.vault.LoginProof(ctx, []byte(password))
	wantCode(t, err, fault.Busy)
}

// A password change and the record of its proofs happen together or not at all.
func TestProofsOfPasswordChange(t *testing.T) {
	ctx := t.Context()
	r := newRig(t)
	r.register()
	old, err := r.vault.LoginProof(ctx, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err = r.vault.ChangePasswordForLogin(ctx, []byte(password), []byte(another), func(*kv.Tx, keystore.Proof, keystore.Proof) error { return broken })
	if !errors.Is(err, broken) || r.vault.CheckPassword(ctx, []byte(password)) != nil {
		t.Fatal("the password changed without its record: ", err)
	}
	var before, after keystore.Proof
	err = r.vault.ChangePasswordForLogin(ctx, []byte(password), []byte(another), func(tx *kv.Tx, b, a keystore.Proof) error {
		before, after = b.Clone(), a.Clone()
		return tx.Set("test/record", []byte{1})
	})
	if err != nil || !before.Equal(old) {
		t.Fatal("another proof of before: ", err)
	}
	if fresh, err := r.vault.LoginProof(ctx, []byte(another)); err != nil || !fresh.Equal(after) || after.Equal(before) {
		t.Fatal("another proof of after: ", err)
	}
	if err := r.db.View(func(tx *kv.Tx) error { _, err := tx.Get("test/record"); return err }); err != nil {
		t.Error("the record is missing: ", err)
	}
}
