package keystore_test

import (
	"errors"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/keystore"
)

// A machine without a vault makes the proofs that one with it makes, of password and kit.
func TestFetchProof(t *testing.T) {
	for _, only := range []bool{false, true} {
		r := newRigInMemory(t)
		kit, err := r.vault.Register(t.Context(), keystore.Registration{Email: email, Password: []byte(password), PasswordOnly: only})
		if err != nil {
			t.Fatal(err)
		}
		want, err := r.vault.LoginProof(t.Context(), []byte(password))
		if err != nil {
			t.Fatal(err)
		}
		n := newRigInMemory(t)
		got, err := n.vault.FetchProof(t.Context(), keystore.FetchOptions{Kit: kit, Password: []byte(password)})
		if err != nil || !got.Equal(want) {
			t.Fatal("another login proof", err)
		}
		got, err = n.vault.FetchProof(t.Context(), keystore.FetchOptions{Kit: kit, NewPassword: []byte(another)})
		if err != nil || !got.Equal(kit.Proof()) {
			t.Fatal("another proof of the recovery key", err)
		}
		got, err = n.vault.FetchProof(t.Context(), keystore.FetchOptions{Kit: kit, Password: []byte(another)})
		if err != nil || got.Equal(want) {
			t.Fatal("the proof does not depend on the password", err)
		}
		if n.vault.State() != keystore.None {
			t.Fatal(n.vault.State())
		}
		_, err = r.vault.FetchProof(t.Context(), keystore.FetchOptions{Kit: kit, Password: []byte(password)})
		wantCode(t, err, fault.Conflict)
	}
}

// The costs of a kit are judged by policy, a new password by its strength, and somebody who guesses waits here, too.
func TestFetchProofIsRefused(t *testing.T) {
	_, remote, kit := joinedRig(t)
	n := newRigInMemory(t)
	proof := func(o keystore.FetchOptions) error {
		_, err := n.vault.FetchProof(t.Context(), o)
		return err
	}
	weak := kit
	weak.Params.Memory = 8
	wantCode(t, proof(keystore.FetchOptions{Kit: weak, Password: []byte(password)}), fault.Policy)
	wantCode(t, proof(keystore.FetchOptions{Kit: kit, NewPassword: []byte("password")}), fault.Policy)
	wantCode(t, proof(keystore.FetchOptions{Kit: kit}), fault.InvalidRequest)
	for range 5 {
		wantCode(t, n.vault.Fetch(t.Context(), remote, keystore.FetchOptions{Kit: kit, Password: []byte(another)}), fault.NotAuthentic)
	}
	wantCode(t, proof(keystore.FetchOptions{Kit: kit, Password: []byte(password)}), fault.Busy)
	n.sleep(5 * time.Minute)
	if err := proof(keystore.FetchOptions{Kit: kit, Password: []byte(password)}); err != nil {
		t.Fatal(err)
	}
}

// A process that fetches dies at each write in turn. Then there is no account, or the whole one, and another try gets it. With a new
// password there never is one that opens with a password that nobody knows.
func TestCrashAndTryAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      keystore.FetchOptions
		opens  string
		writes int
	}{
		{"password", keystore.FetchOptions{Password: []byte(password)}, password, 5},
		{"new password", keystore.FetchOptions{NewPassword: []byte(another)}, another, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, remote, kit := joinedRig(t)
			putMany(a, "round")
			good := remote.Records()
			c.o.Kit = kit
			steps, without := 0, 0
			for failed := true; failed; steps++ {
				remote.Set(good)
				b, disk := broken(t)
				failed = disk.crash(b, steps, func() error { return b.vault.Fetch(t.Context(), remote, c.o) })
				if b.vault.State() == keystore.None {
					without++
					if err := b.vault.Fetch(t.Context(), remote, c.o); err != nil {
						t.Fatalf("again, after a crash at write %d: %v", steps, err)
					}
					b.vault.Lock()
				}
				if err := b.unlockWith(c.opens); err != nil {
					t.Fatalf("crash at write %d: %v", steps, err)
				}
				b.vault.Connect(remote)
				b.sync()
				b.wants("seed", "one")
			}
			if steps < c.writes || without < c.writes-3 {
				t.Fatal("only", steps, "writes,", without, "without an account")
			}
			t.Logf("%d writes, %d left no account", steps, without)
		})
	}
}

// The replica goes away, or refuses, while the new password is set: there is no account, and the same again gets one, whether the replica
// made the change or not.
func TestFetchWithoutANewPassword(t *testing.T) {
	for _, made := range []bool{false, true} {
		_, remote, kit := joinedRig(t)
		hook := func(keystore.Swap) error {
			remote.OnRead = func([]keystore.Remote) ([]keystore.Remote, error) { return nil, errReset }
			return errReset
		}
		if made {
			remote.AfterSwap = hook
		} else {
			remote.OnSwap = hook
		}
		b := newRigInMemory(t)
		o := keystore.FetchOptions{Kit: kit, NewPassword: []byte(another)}
		if err := b.vault.Fetch(t.Context(), remote, o); !errors.Is(err, fault.Unavailable) || b.vault.State() != keystore.None {
			t.Fatal(err, b.vault.State())
		}
		for key := range b.records() {
			if key != "vault/throttle" {
				t.Error("left:", key)
			}
		}
		remote.OnSwap, remote.AfterSwap, remote.OnRead = nil, nil, nil
		if err := b.vault.Fetch(t.Context(), remote, o); err != nil {
			t.Fatal(made, err)
		}
		b.wants("seed", "one")
		b.vault.Lock()
		if err := b.unlockWith(another); err != nil {
			t.Fatal(err)
		}
	}
}
