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
	"coldframe/keystore"
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
	desk.admit(laptop, c.url(), res.Kit)
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
	a.settled() // a login with another credential would break the first upload off
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
	if err := a.vault.Update(func(tx *keystore.Tx) error { return tx.Delete(itemUnattended) }); err != nil { // as before there was one
		t.Fatal(err)
	}
	a.session.sync.poke(taskVault)
	eventually(t, "noted again", func() bool { return a.unattendedDevice() == string(a.ownDevice()) })

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

// A machine that was removed is refused with its credential. Made another device it logs in as that, and has none: a person opens it.
func TestCredentialOfAResetDevice(t *testing.T) {
	c := newCoordinator(t, state.Open)
	desk, laptop := deskAndLaptop(t, c, t.TempDir(), t.TempDir())
	laptop.enables(c)
	former := laptop.ownDevice()
	if err := desk.RemoveDevice(t.Context(), string(former), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	laptop.becomes("login_needed")
	laptop.unlock()
	laptop.isDevice(DeviceRemoved)
	if err := laptop.ResetDevice(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if laptop.ownDevice() == former {
		t.Fatal("the same device")
	}
	laptop.becomes("online")
	eventually(t, "the slot is gone here, too", func() bool { return !laptop.vault.Unattended() })
	eventually(t, "and the credential", func() bool { return !laptop.hasCredential(c) })
	list, err := c.state.Sessions(t.Context(), state.UserID(laptop.vault.UserID()))
	if err != nil || slices.ContainsFunc(list, func(s state.DeviceSession) bool { return s.Device == former }) {
		t.Errorf("%+v, %v", list, err)
	}
}

// changesPassword changes the password of an open account.
func (r *running) changesPassword(from, to string) {
	r.t.Helper()
	if err := r.ChangePassword(r.t.Context(), []byte(from), []byte(to)); err != nil {
		r.t.Fatal(err)
	}
}

// writes waits until a dataset can be made: the vault changes at the coordinator.
func (r *running) writes(title string) {
	r.t.Helper()
	eventually(r.t, "the vault changes at the coordinator", func() bool {
		_, err := r.CreateDataset(r.t.Context(), user, CreateDatasetRequest{Title: title})
		return err == nil
	})
}

// loggedInSince is when a machine logged in at the coordinator.
func (r *running) loggedInSince(c *coordinatorRig) time.Time {
	r.t.Helper()
	list, err := c.state.Sessions(r.t.Context(), state.UserID(r.vault.UserID()))
	i := slices.IndexFunc(list, func(s state.DeviceSession) bool { return s.Device == r.ownDevice() })
	if err != nil || i < 0 {
		r.t.Fatal(list, err)
	}
	return list[i].Begun
}

// TestUnattendedFollowsThePassword has another machine change the password, once while the unattended one works, and once while it is off for longer
// than its tokens live: it goes on without a person, and in the same session.
func TestUnattendedFollowsThePassword(t *testing.T) {
	c := newCoordinator(t, state.Open)
	dir := t.TempDir()
	desk, server := deskAndLaptop(t, c, t.TempDir(), dir)
	credential := server.enables(c)
	eventually(t, "noted", func() bool { return desk.unattendedDevice() == string(server.ownDevice()) })
	began := server.loggedInSince(c)

	desk.changesPassword(testPassword, nextPassword)
	server.writes("after the first change")
	server.settled()
	if server.awaitEvents(EventPassword, 1); !server.loggedInSince(c).Equal(began) || server.countEvents(EventLocked) != 0 {
		t.Error("it logged in again, or was locked")
	}
	if err := server.passwordAgain(t.Context(), []byte(nextPassword)); err != nil {
		t.Errorf("the new password: %v", err)
	}
	if err := server.passwordAgain(t.Context(), []byte(testPassword)); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("the former password: %v", err)
	}

	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	desk.settled()
	desk.changesPassword(nextPassword, testPassword)
	desk.writes("while the server is off")
	c.clock.pass(threeDays, 0)
	server = startAgent(t, dir, withCredential(credential))
	server.settled()
	server.writes("after the second change")
	if err := server.passwordAgain(t.Context(), []byte(testPassword)); err != nil {
		t.Errorf("the newest password: %v", err)
	}
	if st, err := server.Status(t.Context()); err != nil || len(st.Warnings) > 0 {
		t.Errorf("%q, %v", st.Warnings, err)
	}
}

// Where another machine turned unattended opening off and changed the password, a person is needed: the status says so, and lock and login do it without
// a restart. Then it is a machine as any other.
func TestUnattendedTurnedOffElsewhere(t *testing.T) {
	c := newCoordinator(t, state.Open)
	desk, server := deskAndLaptop(t, c, t.TempDir(), t.TempDir())
	server.enables(c)
	eventually(t, "noted", func() bool { return desk.unattendedDevice() == string(server.ownDevice()) })
	if err := desk.DisableUnattended(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "turned off here", func() bool { st, err := server.Status(t.Context()); return err == nil && !st.Unattended })
	if server.hasCredential(c) || server.vaultState() != StateUnlocked {
		t.Error("the credential is kept, or the vault was closed")
	}

	server.enables(c)
	eventually(t, "noted again", func() bool { return desk.unattendedDevice() == string(server.ownDevice()) })
	if err := server.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := desk.DisableUnattended(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the vault behind the locked API is closed", func() bool { return server.vaultState() == StateLocked })
	server.unlock()
	server.settled()

	server.enables(c)
	eventually(t, "noted once more", func() bool { return desk.unattendedDevice() == string(server.ownDevice()) })
	away := server.session.currentLink()
	away.stop() // away while both happens
	if err := desk.DisableUnattended(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	desk.changesPassword(testPassword, nextPassword)
	server.runLink(server.session, away.Link, c.url())
	server.becomes("login_needed") // its session was not kept
	if err := server.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Login(t.Context(), LoginRequest{URL: c.url(), Password: []byte("wrong")}); err == nil || !server.hasSession() {
		t.Errorf("after a wrong password it goes on behind the locked API: %v, %v", err, server.hasSession())
	}
	if err := server.Login(t.Context(), LoginRequest{URL: c.url(), Password: []byte(nextPassword)}); err != nil {
		t.Fatal(err)
	}
	server.writes("with the new password")
	if server.asksForPassword() || server.vault.Unattended() {
		t.Error("it is still unattended")
	}
}

// A machine that is removed loses the slot that opens the vault: nobody who changes the password fills it again.
func TestRemovedMachineLosesItsSlot(t *testing.T) {
	c := newCoordinator(t, state.Open)
	desk, server := deskAndLaptop(t, c, t.TempDir(), t.TempDir())
	server.enables(c)
	eventually(t, "noted", func() bool { return desk.unattendedDevice() == string(server.ownDevice()) })
	if err := desk.RemoveDevice(t.Context(), string(server.ownDevice()), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if _, there := desk.vault.UnattendedSlot(); there {
		t.Fatal("the slot is still there")
	}
	desk.changesPassword(testPassword, nextPassword)
	server.becomes("login_needed")
	if list, err := c.state.Sessions(t.Context(), state.UserID(desk.vault.UserID())); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}
