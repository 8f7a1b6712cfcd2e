package daemon

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// threeDays is longer than a refresh token lives.
const threeDays = 72 * time.Hour

func withCredential(credential []byte) func(*Config, *Options) {
	return func(c *Config, o *Options) { local(c, o); o.Credential = bytes.Clone(credential) }
}

// trusted waits until the coordinator has a credential of this machine, or none.
func (r *running) trusted(c *coordinatorRig, want bool) {
	r.t.Helper()
	user, device := state.UserID(r.vault.UserID()), r.ownDevice()
	eventually(r.t, "what the coordinator has of this machine's credential", func() bool {
		list, err := c.state.Sessions(r.t.Context(), user)
		i := slices.IndexFunc(list, func(s state.DeviceSession) bool { return s.Device == device })
		return err == nil && (i >= 0 && list[i].Credential) == want
	})
}

func (r *running) ownDevice() state.DeviceID {
	r.t.Helper()
	id, err := r.deviceID(r.vault.UserID())
	if err != nil {
		r.t.Fatal(err)
	}
	return state.DeviceID(id)
}

// asksForPassword reports whether the status says that the coordinator needs a person once.
func (r *running) asksForPassword() bool {
	r.t.Helper()
	st, err := r.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.ContainsFunc(st.Warnings, func(w string) bool { return strings.Contains(w, "without a person") })
}

// TestC12_UnattendedComesBack has an agent that was away for longer than its tokens live, twice: it logs in by itself. One that was removed does
// not, and says so; the password makes it one that does.
func TestC12_UnattendedComesBack(t *testing.T) {
	c := newCoordinator(t, state.Open)
	dir := t.TempDir()
	a := startAgent(t, dir, local)
	a.register()
	a.connect(c)
	a.becomes("online")
	a.trusted(c, false)
	credential, err := a.EnableUnattended(t.Context(), []byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	again := func() {
		t.Helper()
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		c.clock.pass(threeDays, 0)
		a = startAgent(t, dir, withCredential(credential))
	}
	a.trusted(c, true)
	for range 2 {
		again()
		a.settled()
		if a.asksForPassword() {
			t.Error("it asks for the password")
		}
	}
	if err := c.state.EndSession(t.Context(), state.UserID(a.vault.UserID()), a.ownDevice()); err != nil {
		t.Fatal(err)
	}
	again()
	a.becomes("login_needed")
	a.unlock()
	a.becomes("online")
	again()
	a.becomes("online")
}

// deskAndLaptop are two machines of one user, both on the device list.
func deskAndLaptop(t *testing.T, c *coordinatorRig, deskDir, laptopDir string) (desk, laptop *running) {
	t.Helper()
	desk = startAgent(t, deskDir, local)
	res, err := desk.Register(t.Context(), RegisterRequest{Email: testMail, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	desk.connect(c)
	desk.settled()
	laptop = startAgent(t, laptopDir, local)
	if err := laptop.Login(t.Context(), LoginRequest{URL: c.url(), Kit: res.Kit, Password: []byte(testPassword)}); err != nil {
		t.Fatal(err)
	}
	code, err := laptop.AskToJoin(t.Context(), "laptop")
	if err != nil {
		t.Fatal(err)
	}
	if err := desk.ApproveDevice(t.Context(), string(laptop.ownDevice()), code, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	laptop.settled()
	desk.settled()
	return desk, laptop
}

// enables makes a machine one that opens without a person, and waits until its coordinator knows its credential.
func (r *running) enables(c *coordinatorRig) (credential []byte) {
	r.t.Helper()
	credential, err := r.EnableUnattended(r.t.Context(), []byte(testPassword))
	if err != nil {
		r.t.Fatal(err)
	}
	r.trusted(c, true)
	return credential
}

// hasCredential reports whether the local store has one for a coordinator.
func (r *running) hasCredential(c *coordinatorRig) bool {
	r.t.Helper()
	return countPrefix(r.t, r, linkKey(c.url(), fieldCredential)) > 0
}

// Joining gives the credential, too: the machine opened without a person before. Another takes its place with what opens the vault, and it goes
// where a person opens it again, and with the coordinator.
func TestCredentialGoes(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	user := func() state.UserID { return state.UserID(a.vault.UserID()) }
	if _, err := a.EnableUnattended(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	a.connect(c)
	a.trusted(c, true)
	first, err := linkStore{a.Agent, a.session, c.url()}.Credential()
	if err != nil || first.IsZero() {
		t.Fatal(err)
	}
	former := bytes.Clone(first.Bytes())
	a.enables(c)
	eventually(t, "the former credential is refused", func() bool {
		_, err := c.state.Login(t.Context(), state.Login{User: user(), Device: a.ownDevice(), Kind: state.DeviceLogin, Proof: former})
		return errors.Is(err, fault.Unauthorized)
	})
	eventually(t, "the coordinator has the present one", func() bool { return !a.asksForPassword() })
	a.becomes("online")

	if err := a.DisableUnattended(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	a.trusted(c, false)
	a.becomes("online")
	if a.hasCredential(c) {
		t.Error("kept although a person opens the vault")
	}
	a.enables(c)
	if err := a.DisconnectCoordinator(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if list, err := c.state.Sessions(t.Context(), user()); err != nil || len(list) != 0 || a.hasCredential(c) {
		t.Errorf("after leaving: %+v, %v, kept %v", list, err, a.hasCredential(c))
	}
}

// A machine that was removed and made another device logs in as that, with another credential.
func TestCredentialOfAResetDevice(t *testing.T) {
	c := newCoordinator(t, state.Open)
	desk, laptop := deskAndLaptop(t, c, t.TempDir(), t.TempDir())
	laptop.enables(c)
	first, err := linkStore{laptop.Agent, laptop.session, c.url()}.Credential()
	if err != nil || first.IsZero() {
		t.Fatal(err)
	}
	defer first.Wipe()
	former := laptop.ownDevice()
	if err := desk.RemoveDevice(t.Context(), string(former), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	laptop.becomes("login_needed") // its credential is refused, too
	laptop.unlock()
	laptop.isDevice(DeviceRemoved)
	if err := laptop.ResetDevice(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if laptop.ownDevice() == former {
		t.Fatal("the same device")
	}
	laptop.trusted(c, true)
	second, err := linkStore{laptop.Agent, laptop.session, c.url()}.Credential()
	if err != nil || second.IsZero() || second.Equal(first) {
		t.Errorf("the new device's credential: %v", err)
	}
	second.Wipe()
}
