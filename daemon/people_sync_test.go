package daemon

import (
	"errors"
	"slices"
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// person is an agent whose user joined a coordinator and is ready for messages.
func newPerson(t *testing.T, c *coordinatorRig, mail string) *running {
	t.Helper()
	a := startAgent(t, t.TempDir(), local)
	if _, err := a.Register(t.Context(), RegisterRequest{Email: mail, Password: []byte(testPassword)}); err != nil {
		t.Fatal(err)
	}
	a.connect(c)
	a.settled()
	return a
}

// settled waits until nothing is left to be done with the coordinator.
func (a *running) settled() {
	a.t.Helper()
	s := a.session
	var left error
	defer func() {
		if left != nil {
			a.t.Log(left)
		}
	}()
	eventually(a.t, "settled with the coordinator", func() bool { left = s.sync.idle(); return left == nil })
}

// idle is nil if nothing is left to be done, else why not.
func (y *syncer) idle() error {
	if _, err := y.client(); err != nil {
		return err
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	for t, code := range y.failures {
		if code != "" {
			return fault.New(code, "task %d", t)
		}
	}
	if y.due != 0 || len(y.failures) < len(taskNames) { // not after the first tasks of the first round
		return fault.New(fault.Busy, "tasks %b", y.due)
	}
	return nil
}

// TestSecretBetweenTwo sends a secret through the coordinator to somebody who is offline, and one back.
func TestSecretBetweenTwo(t *testing.T) {
	c := newCoordinator(t, state.Open)
	ada, grace := newPerson(t, c, "ada@example.org"), newPerson(t, c, "grace@example.org")
	toGrace, err := ada.AddContact(t.Context(), AddContactRequest{Email: "grace@example.org", Name: "Grace"})
	if err != nil {
		t.Fatal(err)
	}
	toAda, err := grace.AddContact(t.Context(), AddContactRequest{User: ada.vault.UserID(), Name: "Ada"})
	if err != nil {
		t.Fatal(err)
	}
	one, err := ada.SafetyNumbers(t.Context(), toGrace.User)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := grace.SafetyNumbers(t.Context(), toAda.User); err != nil || one.Digits != other.Digits {
		t.Fatalf("safety numbers %s and %s, %v", one.Digits, other.Digits, err)
	}
	if _, err := ada.VerifyContact(t.Context(), toGrace.User, Comparison{Number: one.Digits}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ada.SendSecret(t.Context(), SendSecretRequest{To: toGrace.User, Title: "t", Body: []byte("the secret")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "received", func() bool { list, err := grace.Secrets(t.Context()); return err == nil && len(list) == 1 })
	list, err := grace.Secrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := grace.Secret(t.Context(), list[0].Ref)
	if err != nil || string(got.Body) != "the secret" || got.From != ada.vault.UserID() {
		t.Fatalf("%q from %s, %v", got.Body, got.From, err)
	}
	eventually(t, "noted as sent", func() bool {
		list, err := ada.Secrets(t.Context())
		return err == nil && len(list) == 1 && list[0].State == "sent"
	})
}

// TestSecondMachine logs in on another machine, which only reads until the first one approved it, gets what is sent from then on, and
// nothing any more once it was removed.
func TestSecondMachine(t *testing.T) {
	c := newCoordinator(t, state.Open)
	desk := startAgent(t, t.TempDir(), local)
	res, err := desk.Register(t.Context(), RegisterRequest{Email: testMail, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	id := desk.create("made on the desk")
	desk.connect(c)
	desk.settled()
	grace := newPerson(t, c, "grace@example.org")
	if _, err := desk.AddContact(t.Context(), AddContactRequest{User: grace.vault.UserID()}); err != nil {
		t.Fatal(err)
	}
	if _, err := grace.AddContact(t.Context(), AddContactRequest{User: desk.vault.UserID()}); err != nil {
		t.Fatal(err)
	}

	laptop := startAgent(t, t.TempDir(), local)
	if err := laptop.Login(t.Context(), LoginRequest{URL: c.url(), Kit: res.Kit, Password: []byte(testPassword)}); err != nil {
		t.Fatal(err)
	}
	list, err := laptop.Datasets(t.Context(), user, "")
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].State != "elsewhere" {
		t.Errorf("datasets %+v, %v", list, err)
	}
	if _, err := laptop.AddContact(t.Context(), AddContactRequest{User: grace.vault.UserID()}); !errors.Is(err, fault.Stale) {
		t.Errorf("a machine that nobody vouched for changes the vault: %v", err)
	}
	code, err := laptop.AskToJoin(t.Context(), "laptop")
	if err != nil {
		t.Fatal(err)
	}
	asking, err := desk.DeviceRequests(t.Context())
	if err != nil || len(asking) != 1 {
		t.Fatal(asking, err)
	}
	device := asking[0].Device
	if err := desk.ApproveDevice(t.Context(), device, []byte("000000000000000000000000000000"), []byte(testPassword)); !errors.Is(err, fault.UntrustedKey) {
		t.Errorf("approved with another code: %v", err)
	}
	if err := desk.ApproveDevice(t.Context(), device, code, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	laptop.settled()
	for _, a := range []*running{desk, laptop} { // both may write, and both get what comes
		if _, err := a.RenameContact(t.Context(), grace.vault.UserID(), "Grace"); err != nil {
			t.Fatal(err)
		}
	}
	send := func(title string) {
		t.Helper()
		to := desk.vault.UserID()
		if _, _, err := grace.SendSecret(t.Context(), SendSecretRequest{To: to, Title: title, Body: []byte("x"), Unverified: true}); err != nil {
			t.Fatal(err)
		}
	}
	titles := func(a *running) (out []string) {
		list, err := a.Secrets(t.Context())
		if err != nil {
			return []string{err.Error()}
		}
		for _, s := range list {
			out = append(out, s.Title)
		}
		return out
	}
	send("for both")
	eventually(t, "both have it", func() bool {
		return slices.Contains(titles(desk), "for both") && slices.Contains(titles(laptop), "for both")
	})

	if err := desk.RemoveDevice(t.Context(), device, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	send("for the desk")
	eventually(t, "the desk has it", func() bool { return slices.Contains(titles(desk), "for the desk") })
	if got := titles(laptop); slices.Contains(got, "for the desk") {
		t.Errorf("the removed machine has %q", got)
	}
	if err := laptop.DeleteDataset(t.Context(), user, id); err == nil {
		t.Error("the removed machine changes the vault")
	}
}

// TestPasswordChangedOnAnotherMachine follows with the new password; the former one, and a kit of somebody else, open nothing.
func TestPasswordChangedOnAnotherMachine(t *testing.T) {
	c := newCoordinator(t, state.Open)
	desk, laptop := deskAndLaptop(t, c, t.TempDir(), t.TempDir())
	desk.changePasswordTo(testPassword, nextPassword)
	id := desk.create("made after the change")
	if err := laptop.Login(t.Context(), LoginRequest{URL: c.url(), Password: []byte(nextPassword)}); !errors.Is(err, fault.InvalidRequest) && !errors.Is(err, fault.Conflict) {
		t.Errorf("over an open account: %v", err)
	}
	if err := laptop.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := laptop.Login(t.Context(), LoginRequest{URL: c.url(), Password: []byte(testPassword)}); !errors.Is(err, fault.Forbidden) {
		t.Errorf("followed with the former password: %v", err)
	}
	if err := laptop.Login(t.Context(), LoginRequest{URL: c.url(), Password: []byte(nextPassword)}); err != nil {
		t.Fatal(err)
	}
	laptop.settled()
	if list, err := laptop.Datasets(t.Context(), user, ""); err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("%+v, %v", list, err)
	}
	laptop.opensWithNextOnly()
}

// opensWithNextOnly locks the account and wants the password of the tests to open nothing, and the next one to open it.
func (r *running) opensWithNextOnly() {
	r.t.Helper()
	if err := r.Lock(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if err := r.tryUnlock(testPassword); !errors.Is(err, fault.NotAuthentic) {
		r.t.Errorf("unlocked with the former password: %v", err)
	}
	if err := r.tryUnlock(nextPassword); err != nil {
		r.t.Error(err)
	}
}

// TestForgottenPassword sets another with the kit on the machine that has the account, here and at the coordinator.
func TestForgottenPassword(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	res, err := a.Register(t.Context(), RegisterRequest{Email: testMail, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	kit := func() []byte { return slices.Clone(res.Kit) }
	if _, err := a.ConnectCoordinator(t.Context(), CoordinatorRequest{URL: c.url(), Password: []byte(testPassword), Kit: kit()}); err != nil {
		t.Fatal(err)
	}
	a.settled()
	id := a.create("kept")
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Recover(t.Context(), RecoverRequest{Kit: kit(), Password: []byte(nextPassword)}); !errors.Is(err, fault.Unavailable) || a.state() != StateLocked {
		t.Errorf("recovered without the coordinator: %v, %s", err, a.state())
	}
	if err := a.Login(t.Context(), LoginRequest{URL: c.url(), Kit: kit(), NewPassword: []byte(nextPassword)}); err != nil {
		t.Fatal(err)
	}
	a.settled()
	if list, err := a.Datasets(t.Context(), user, ""); err != nil || len(list) != 1 || list[0].ID != id || list[0].State == "elsewhere" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := c.login(a.vault.UserID(), a.proofFor(c, nextPassword)); err != nil {
		t.Errorf("the new password at the coordinator: %v", err)
	}
	a.opensWithNextOnly()
}
