package daemon

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

func (r *running) deleteAccount(url, password string) error {
	return r.DeleteCoordinatorAccount(r.t.Context(), DeletionRequest{URL: url, Password: []byte(password)})
}

func (r *running) deleteGone(url string) error {
	return r.DeleteCoordinatorAccount(r.t.Context(), DeletionRequest{URL: url, Password: []byte(testPassword), Gone: true})
}

// loseDeletion has the answer to the next deletion lost, made or not, and everything after it.
func loseDeletion(c *coordinatortest.Coordinator, made bool) {
	c.Hook(coordinatortest.Nth("deleteAccount", 1, func(e *coordinatortest.Exchange) {
		if made {
			e.Forward()
		}
		c.Hook(func(e *coordinatortest.Exchange) { e.Drop() })
		e.Drop()
	}))
}

func (r *running) hasDataset(id string) bool {
	r.t.Helper()
	list, err := r.Datasets(r.t.Context(), user, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(d Dataset) bool { return d.ID == id })
}

// isLocal wants an account without a coordinator, whose data is all there and can be changed.
func (f *firstMachine) isLocal(dataset, contact string) {
	f.t.Helper()
	ctx := f.t.Context()
	if _, err := f.Coordinator(ctx); !errors.Is(err, fault.NotFound) {
		f.t.Errorf("a coordinator is set: %v", err)
	}
	if joined, err := f.vault.Joined(); err != nil || joined {
		f.t.Error("the vault is at the coordinator:", err)
	}
	if got := f.mustRead(ReadRequest{Dataset: dataset}); got != "x\n1\n" {
		f.t.Error(got)
	}
	f.create("made after it")
	list, err := f.Contacts(ctx)
	if err != nil || !slices.ContainsFunc(list, func(c Contact) bool { return c.User == contact }) {
		f.t.Error("the contact is gone:", list, err)
	}
	for _, prefix := range append([]string{messagesPrefix, linkPrefix}, ofCoordinator...) {
		if n := countPrefix(f.t, f.running, prefix); n != 0 && prefix != loginDeviceKey { // of the new device key
			f.t.Errorf("%d records under %s", n, prefix)
		}
	}
	if n := f.countEvents(EventCoordinatorDeleted); n != 1 {
		f.t.Error(n, "events")
	}
}

// deletable is a user with a table and a contact, and what is to be found of both afterwards.
func deletable(t *testing.T, c *coordinatortest.Coordinator) (f, grace *firstMachine, dataset string) {
	t.Helper()
	f, grace = newFirstMachine(t, c, testMail), newFirstMachine(t, c, "canary.two@example.org")
	dataset = f.create("kept")
	f.mustWrite(WriteRequest{Dataset: dataset}, "x\n1\n")
	if _, err := f.AddContact(t.Context(), AddContactRequest{User: grace.user}); err != nil {
		t.Fatal(err)
	}
	f.settled()
	return f, grace, dataset
}

// gone reports whether the coordinator has neither account nor blobs of a user.
func (f *firstMachine) gone(c *coordinatortest.Coordinator) bool {
	f.t.Helper()
	users, err := c.Main.State().Users(f.t.Context(), "")
	if err != nil {
		f.t.Fatal(err)
	}
	return !slices.ContainsFunc(users, func(u state.User) bool { return string(u.ID) == f.user })
}

// The account at the coordinator goes, with all that is there; here everything stays, also what the user's other machine had changed, and another
// coordinator may be joined.
func TestDeleteCoordinatorAccount(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace, dataset := deletable(t, c)
	laptop := f.approvedMachine(c)
	late := laptop.create("of the laptop")
	if err := f.deleteAccount(c.URL+"/", testPassword); err != nil {
		t.Fatal(err)
	}
	if !f.gone(c) || lookup(t, c, testMail) != "" {
		t.Error("the account is there")
	}
	f.isLocal(dataset, grace.user)
	if !f.hasDataset(late) {
		t.Error("what the other machine had changed is lost")
	}
	laptop.becomes("login_needed")
	if err := laptop.DisconnectCoordinator(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal("the other machine:", err)
	}
	laptop.create("made after it")

	if err := f.tryConnect(c.URL, testPassword); !errors.Is(err, fault.Conflict) {
		t.Errorf("the id had an account there: %v", err)
	}
	next := coordinatortest.New(t, coordinatortest.Options{})
	if err := f.tryConnect(next.URL, testPassword); err != nil {
		t.Fatal(err)
	}
	f.settled()
	ada := newFirstMachine(t, next, "canary.three@example.org")
	for from, to := range map[*firstMachine]*firstMachine{f: ada, ada: f} {
		if _, err := from.AddContact(t.Context(), AddContactRequest{User: to.user}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := f.SendSecret(t.Context(), SendSecretRequest{To: ada.user, Title: "t", Body: []byte("x"), Unverified: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "received", func() bool { list, err := ada.Secrets(t.Context()); return err == nil && len(list) == 1 })
}

// What is refused, here or there, leaves account, session and data.
func TestDeleteCoordinatorAccountRefused(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, _, dataset := deletable(t, c)
	for name, try := range map[string]struct {
		url, password string
		want          fault.Code
	}{
		"no password":         {c.URL, "", fault.Forbidden},
		"a wrong password":    {c.URL, otherPassword, fault.NotAuthentic},
		"another coordinator": {"http://127.0.0.1:1", testPassword, fault.InvalidRequest},
		"no address":          {"", testPassword, fault.Policy},
	} {
		wantCode(t, name, f.deleteAccount(try.url, try.password), try.want)
	}
	c.Hook(coordinatortest.Nth("deleteAccount", 0, func(e *coordinatortest.Exchange) {
		p := coordinator.Problem{Type: "x", Title: "x", Status: http.StatusForbidden, Code: string(fault.Forbidden), RequestId: "x"}
		e.Answer = coordinatortest.JSON(http.StatusForbidden, p)
		e.Answer.Header.Set("Content-Type", coordinator.ProblemType)
	}))
	wantCode(t, "the coordinator says no", f.deleteAccount(c.URL, testPassword), fault.Forbidden)
	c.Hook(nil)
	f.becomes("online")
	f.settled()
	if f.gone(c) || countPrefix(t, f.running, deletionKey) != 0 {
		t.Error("the account is gone, or to go")
	}
	if got := f.mustRead(ReadRequest{Dataset: dataset}); got != "x\n1\n" {
		t.Error(got)
	}
	f.create("goes on")
	if err := f.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "locked", f.deleteAccount(c.URL, testPassword), fault.Locked)
}

// The answer is lost, and with it the connection: the same again does what was not done, and finishes what was on the word of a person alone.
func TestDeleteCoordinatorAccountWithLostAnswer(t *testing.T) {
	for _, made := range []bool{true, false} {
		c := coordinatortest.New(t, coordinatortest.Options{})
		f, grace, dataset := deletable(t, c)
		loseDeletion(c, made)
		wantCode(t, "lost", f.deleteAccount(c.URL, testPassword), fault.Unavailable)
		if f.gone(c) != made || countPrefix(t, f.running, deletionKey) != 1 {
			t.Error("made", made, "and gone", f.gone(c))
		}
		c.Hook(nil)
		if made {
			f.becomes("refused") // it has logged in with the proof
		} else {
			f.settled()
			eventually(t, "it is known not to be done", func() bool { return countPrefix(t, f.running, deletionKey) == 0 })
		}
		again := func() error { return f.deleteAccount(c.URL, testPassword) }
		if made {
			wantCode(t, "refused", again(), fault.Forbidden)
			again = func() error { return f.deleteGone(c.URL) }
		}
		if err := again(); err != nil || !f.gone(c) {
			t.Fatal(made, err)
		}
		f.isLocal(dataset, grace.user)
	}
}

// The answer alone is lost: a login that is refused says nothing for certain, so the person does.
func TestDeleteCoordinatorAccountAnswerAlone(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace, dataset := deletable(t, c)
	c.Hook(coordinatortest.Nth("deleteAccount", 1, func(e *coordinatortest.Exchange) { e.Forward(); e.Drop() }))
	wantCode(t, "lost", f.deleteAccount(c.URL, testPassword), fault.Forbidden)
	if err := f.deleteGone(c.URL); err != nil {
		t.Fatal(err)
	}
	f.isLocal(dataset, grace.user)
}

// The deletion was not made, and before the same again another machine changed the password: that the coordinator refuses the former one is no
// proof that the account is gone.
func TestDeleteCoordinatorAccountPasswordChangedElsewhere(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, _, _ := deletable(t, c)
	laptop := f.approvedMachine(c)
	loseDeletion(c, false)
	wantCode(t, "lost", f.deleteAccount(c.URL, testPassword), fault.Unavailable)
	f.session.currentLink().stop()
	c.Hook(nil)
	laptop.becomes("online")
	eventually(t, "the password is changed", func() bool {
		return laptop.ChangePassword(t.Context(), []byte(testPassword), []byte(otherPassword)) == nil
	})
	wantCode(t, "the same again", f.deleteAccount(c.URL, testPassword), fault.Forbidden)
	if joined, err := f.vault.Joined(); err != nil || !joined || f.gone(c) || countPrefix(t, f.running, deletionKey) != 1 {
		t.Fatal("something was dropped:", joined, err)
	}
	if _, err := f.Coordinator(t.Context()); err != nil {
		t.Error(err)
	}
}

// Without a word on a deletion of before, a person's word that the account is gone counts for nothing.
func TestDeleteCoordinatorAccountGoneWithoutDeletion(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, _, _ := deletable(t, c)
	if err := c.Main.State().Delete(t.Context(), state.Caller{User: state.UserID(f.user)}, f.proofAt(c)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "gone", f.deleteGone(c.URL), fault.Forbidden)
	if joined, err := f.vault.Joined(); err != nil || !joined || countPrefix(t, f.running, deletionKey) != 0 {
		t.Error("something was dropped:", joined, err)
	}
}

// What another machine changed is taken over before the account goes, also where the deletion was asked for before, and where the link is not up.
func TestDeleteCoordinatorAccountSyncsFirst(t *testing.T) {
	for _, again := range []bool{false, true} {
		c := coordinatortest.New(t, coordinatortest.Options{})
		f, grace, dataset := deletable(t, c)
		laptop := f.approvedMachine(c)
		f.session.currentLink().stop()
		if again {
			if err := f.setDeletion(deletionAsked); err != nil {
				t.Fatal(err)
			}
		}
		late := laptop.create("of the laptop")
		if err := f.deleteAccount(c.URL, testPassword); err != nil || !f.gone(c) {
			t.Fatal(again, err)
		}
		f.isLocal(dataset, grace.user)
		if !f.hasDataset(late) {
			t.Error(again, "what the other machine had changed is lost")
		}
	}
}

// The process dies once the coordinator said that the account is gone: the next unlock finishes it, however far that had come.
func TestDeleteCoordinatorAccountFinishedLater(t *testing.T) {
	for _, left := range []bool{false, true} {
		c := coordinatortest.New(t, coordinatortest.Options{})
		f, grace, dataset := deletable(t, c)
		if err := c.Main.State().Delete(t.Context(), state.Caller{User: state.UserID(f.user)}, f.proofAt(c)); err != nil {
			t.Fatal(err)
		}
		if err := f.db.Update(func(tx *kv.Tx) error { return tx.Set(deletionKey, deletionDone) }); err != nil {
			t.Fatal(err)
		}
		if left {
			if err := f.vault.Leave(); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		f.running = startAgent(t, f.dir, local)
		if err := f.tryUnlock(testPassword); err != nil {
			t.Fatal(err)
		}
		f.isLocal(dataset, grace.user)
	}
}

// While the coordinator has deleted the account and finishing here failed, the status says so, and the same again finishes it, whatever the coordinator says.
func TestDeleteCoordinatorAccountNotFinished(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace, dataset := deletable(t, c)
	warned := func() bool {
		st, err := f.Status(t.Context())
		return err == nil && slices.Contains(st.Warnings, notYetLocal)
	}
	if warned() {
		t.Fatal("nothing is deleted")
	}
	if err := c.Main.State().Delete(t.Context(), state.Caller{User: state.UserID(f.user)}, f.proofAt(c)); err != nil {
		t.Fatal(err)
	}
	if err := f.setDeletion(deletionDone); err != nil {
		t.Fatal(err)
	}
	if !warned() {
		t.Error("no warning")
	}
	if err := f.deleteAccount(c.URL, testPassword); err != nil || warned() {
		t.Fatal("the same again:", err)
	}
	f.isLocal(dataset, grace.user)
}

func (f *firstMachine) proofAt(c *coordinatortest.Coordinator) []byte {
	f.t.Helper()
	proof, err := f.vault.LoginProof(f.t.Context(), []byte(testPassword))
	if err != nil {
		f.t.Fatal(err)
	}
	return slices.Clone(proof.For(c.URL).Bytes())
}
