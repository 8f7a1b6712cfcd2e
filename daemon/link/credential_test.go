package link

import (
	"errors"
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// ended forgets the tokens: to this machine the session has ended.
func ended(t *testing.T, m *memory) {
	t.Helper()
	if err := m.SaveTokens(nil); err != nil {
		t.Fatal(err)
	}
}

// A machine that is opened without a person is given a credential at its registration, or at its next login with the proof, and comes back
// with it for good. A machine that is not has none.
func TestCredential(t *testing.T) {
	settings, c := real(t, nil)
	m := &memory{}
	m.set(true)
	if err := newRig(t, settings, m, nil).Join(t.Context(), proof(t), ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ended(t, m)
		l := newRig(t, settings, m, nil)
		l.run()
		l.becomes(Online, "")
		l.stop()
	}
	list, err := c.Sessions(t.Context(), testUser)
	if err != nil || len(list) != 1 || !list[0].Credential {
		t.Fatalf("%+v, %v", list, err)
	}

	m.set(false)
	l := newRig(t, settings, m, nil)
	l.run()
	l.becomes(Online, "")
	l.Renew(proof(t))
	awaitCredential(t, c, false)
	l.becomes(Online, "")
	l.stop()
	m.set(true)
	ended(t, m)
	l = newRig(t, settings, m, nil)
	l.run()
	l.becomes(LoginNeeded, fault.Unauthorized) // the credential went with the login without one
	right := proof(t)
	l.Give(right)
	l.becomes(Online, "")
	awaitCredential(t, c, true)
	if !right.IsZero() {
		t.Error("the proof is kept although it did its work")
	}
}

func awaitCredential(t *testing.T, c *state.State, want bool) {
	t.Helper()
	for {
		list, err := c.Sessions(t.Context(), testUser)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 && list[0].Credential == want {
			return
		}
	}
}

// A proof for a new login that the coordinator does not know ends nothing, and is not kept.
func TestRenewIsRefused(t *testing.T) {
	settings, _ := real(t, nil)
	m := joined(t, settings)
	l := newRig(t, settings, m, nil)
	wrong := proofOf(8)
	l.Renew(wrong) // before it runs: it is the first thing that is tried
	l.run()
	l.becomes(Online, "")
	if !wrong.IsZero() || l.NeedsProof() {
		t.Error("it is kept")
	}
}

// A device that was removed is refused with its credential, which is tried once: it waits for the password.
func TestC12_CredentialOfARemovedDevice(t *testing.T) {
	settings, c := real(t, nil)
	m := &memory{}
	m.set(true)
	if err := newRig(t, settings, m, nil).Join(t.Context(), proof(t), ""); err != nil {
		t.Fatal(err)
	}
	if err := c.EndSession(t.Context(), testUser, testDevice); err != nil {
		t.Fatal(err)
	}
	l := newRig(t, settings, m, nil)
	l.run()
	l.becomes(LoginNeeded, fault.Unauthorized)
	if !l.NeedsProof() {
		t.Error("it is tried again")
	}
	_, err := c.Login(t.Context(), state.Login{User: testUser, Device: testDevice, Kind: state.DeviceLogin, Proof: m.credential})
	if !errors.Is(err, fault.Unauthorized) {
		t.Errorf("the credential of a removed device: %v", err)
	}
}

// The credential is durable before it is sent: a full disk sends none.
func TestCredentialOnAFullDisk(t *testing.T) {
	settings, c := real(t, nil)
	m := joined(t, settings)
	m.set(true)
	m.setFull(true)
	l := newRig(t, settings, m, nil)
	l.Renew(proof(t))
	l.run()
	l.becomes(Offline, fault.StorageFull)
	if list, err := c.Sessions(t.Context(), testUser); err != nil || len(list) != 1 || list[0].Credential {
		t.Fatalf("%+v, %v", list, err)
	}
	m.setFull(false)
	l.becomes(Online, "")
	awaitCredential(t, c, true)
}
