package daemon

import (
	"testing"

	"coldframe/coordinator/state"
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
	eventually(a.t, "settled with the coordinator", func() bool { return s.sync.idle() == nil })
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
