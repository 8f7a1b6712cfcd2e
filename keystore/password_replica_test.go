package keystore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// The traffic of a wrong password is nothing.
func TestV11_WrongPasswordIsSilent(t *testing.T) {
	r, remote, kit := joinedRig(t)
	r.vault.Lock()
	calls := remote.Calls()
	for range 20 {
		r.sleep(time.Hour)
		wantCode(t, r.unlockWith(another), fault.NotAuthentic)
		r.sleep(time.Hour)
		wantCode(t, r.vault.ChangePassword(t.Context(), []byte(another), []byte(password)), fault.NotAuthentic)
		r.sleep(time.Hour)
		_, err := r.vault.LoginProof(t.Context(), []byte(another))
		wantCode(t, err, fault.NotAuthentic)
	}
	wrongKit := kit
	wrongKit.RecoveryKey = secret.Random()
	r.sleep(time.Hour)
	wantCode(t, r.vault.Recover(t.Context(), wrongKit, []byte(another)), fault.NotAuthentic)
	if n := remote.Calls() - calls; n != 0 || len(remote.Credentials()) != 0 {
		t.Fatal(n, "calls")
	}
	// On a new machine the sealed vault comes first, and no more after it.
	n := newRigInMemory(t)
	wantCode(t, n.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(another)}), fault.NotAuthentic)
	if got := remote.Calls() - calls; got != 1 {
		t.Fatal(got, "calls")
	}
}

// A password changed on one device: the other reads on, changes nothing, and follows with the new password.
func TestPasswordChangeReachesOtherDevices(t *testing.T) {
	ctx := t.Context()
	a, b, remote, kit := behind(t)
	before, err := a.vault.LoginProof(ctx, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.vault.ChangePassword(ctx, []byte(password), []byte(another)); err != nil {
		t.Fatal(err)
	}
	after, err := a.vault.LoginProof(ctx, []byte(another))
	if err != nil {
		t.Fatal(err)
	}
	if c := remote.Credentials(); len(c) != 1 || !c[0].Old.Equal(before) || !c[0].New.Equal(after) {
		t.Fatal("the proofs did not change with the header")
	}
	a.put("z", "after")
	refuses(t, b, fault.Locked)
	if !b.saw(keystore.EventPasswordElsewhere) {
		t.Fatal(b.events)
	}
	wantCode(t, b.vault.Follow(ctx, remote, []byte(password), nil), fault.NotAuthentic)
	if err := b.vault.Follow(ctx, remote, []byte(another), nil); err != nil {
		t.Fatal(err)
	}
	b.wants("z", "after")
	b.put("w", "from b")
	a.sync()
	sameVault(t, a, b)

	newKit, err := keystoretest.NewKit(ctx, a.vault, []byte(another), "new@example.net")
	if err != nil {
		t.Fatal(err)
	}
	hash, err := keystore.EmailHash("new@example.net")
	if err != nil {
		t.Fatal(err)
	}
	if c := remote.Credentials(); len(c) != 2 || c[1].EmailHash != hash || !c[1].Old.Equal(after) || c[1].New.Equal(after) || !c[1].Recovery.Equal(newKit.Proof()) {
		t.Fatal("the proofs did not change with the address")
	}
	b.sync() // the same vault key: nothing to type
	if b.vault.Email() != "new@example.net" {
		t.Fatal(b.vault.Email())
	}
	n := newRigInMemory(t)
	wantCode(t, n.vault.Fetch(ctx, remote, keystore.FetchOptions{Kit: kit, Password: []byte(another)}), fault.Policy)
	if err := n.vault.Fetch(ctx, remote, keystore.FetchOptions{Kit: newKit, NewPassword: []byte(password)}); err != nil {
		t.Fatal(err)
	}
	if c := remote.Credentials(); len(c) != 3 || !c[2].Old.Equal(newKit.Proof()) || c[2].New.IsZero() || !c[2].Recovery.IsZero() {
		t.Fatal("recovery sets a new proof")
	}
	n.wants("w", "from b")
	if err := b.vault.Follow(ctx, remote, []byte(password), nil); err != nil {
		t.Fatal(err)
	}
	sameVault(t, n, b)
	third, err := keystoretest.NewKit(ctx, n.vault, []byte(password), "")
	if err != nil {
		t.Fatal(err)
	}
	if c := remote.Credentials(); len(c) != 4 || !c[3].Old.Equal(c[3].New) || !c[3].Old.Equal(c[2].New) || !c[3].Recovery.Equal(third.Proof()) {
		t.Fatal("the proof of the kit did not change with it")
	}
}

// The process dies in a change of password whose answer was lost: the proof is known to either password's holder, and the change stands.
func TestPasswordChangeWithLostAnswer(t *testing.T) {
	for _, made := range []bool{true, false} {
		t.Run(fmt.Sprint("made ", made), func(t *testing.T) {
			r, remote, _ := joinedRig(t)
			hook := func(keystore.Swap) error {
				remote.OnRead = func([]keystore.Remote) ([]keystore.Remote, error) { return nil, errReset }
				return errReset
			}
			if made {
				remote.AfterSwap = hook
			} else {
				remote.OnSwap = hook
			}
			wantCode(t, r.vault.ChangePassword(t.Context(), []byte(password), []byte(another)), fault.Unavailable)
			remote.OnSwap, remote.AfterSwap, remote.OnRead = nil, nil, nil
			for key, value := range r.records() {
				if len(remote.Credentials()) > 0 && strings.Contains(string(value), string(keystore.KeyOf(remote.Credentials()[0].New))) {
					t.Error("the proof is readable in", key)
				}
			}
			r.reopen(remote)
			proof, err := r.vault.PendingProof()
			if err != nil || made && !proof.Equal(remote.Credentials()[0].New) {
				t.Fatal("the proof of the pending change:", err)
			}
			wantCode(t, r.vault.Sync(t.Context()), fault.Locked)
			if !proof.Equal(remote.Credentials()[0].New) {
				t.Fatal("another proof was set")
			}
			wantCode(t, r.unlock(), fault.NotAuthentic)
			if err := r.unlockWith(another); err != nil {
				t.Fatal(err)
			}
			r.sync()
			r.wants("seed", "one")
			_, err = r.vault.PendingProof()
			wantCode(t, err, fault.NotFound)
		})
	}
}

// F24: the local database goes back; the replica has what came since.
func TestF24_RestoredDatabase(t *testing.T) {
	a, remote, _ := joinedRig(t)
	old := a.records()
	a.put("x", "newer")
	a.put("x", "newest")
	a.vault.Lock()
	a.replace(old)
	wantCode(t, a.unlock(), fault.RolledBack)
	if err := a.vault.Unlock(t.Context(), []byte(password), keystore.UnlockOptions{AcceptRollback: true}); err != nil {
		t.Fatal(err)
	}
	a.wants("seed", "one")
	wantCode(t, a.tryPut("x", "on the old one"), fault.RolledBack)
	newest := remote.Records()
	remote.Set(nil)
	wantCode(t, a.vault.Sync(t.Context()), fault.RolledBack)
	remote.Set(newest)
	a.sync()
	if a.vault.State() != keystore.Unlocked {
		t.Fatal(a.vault.State())
	}
	a.wants("x", "newest")
	a.put("x", "goes on")
	a.reopen(remote)
	a.wants("x", "goes on")
}

// Locking does not wait for a replica that does not answer.
func TestLockBreaksOffAChange(t *testing.T) {
	r, remote, _ := joinedRig(t)
	reached, release := make(chan struct{}), make(chan struct{})
	remote.OnSwap = func(keystore.Swap) error { close(reached); <-release; return errors.New("late") }
	done := make(chan error)
	go func() { done <- r.tryPut("x", "y") }()
	<-reached
	locked := make(chan struct{})
	go func() { r.vault.Lock(); close(locked) }()
	close(release)
	err := <-done
	<-locked
	if err == nil || r.vault.State() != keystore.Locked {
		t.Fatal(err, r.vault.State())
	}
	remote.OnSwap = nil
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	r.sync()
}
