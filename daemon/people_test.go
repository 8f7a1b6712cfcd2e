package daemon

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// delivery is the other side of an agent's contacts: a book over the agent's vault, as the code that opens messages has one.
type delivery struct {
	*running
	book *contacts.Book
	sent []contacts.Outgoing
}

func newDelivery(t *testing.T, change func(*Config, *Options)) *delivery {
	t.Helper()
	a := startAgent(t, t.TempDir(), change)
	a.register()
	return deliveryTo(t, a)
}

// deliveryTo is newDelivery for an agent that has an account.
func deliveryTo(t *testing.T, a *running) *delivery {
	t.Helper()
	d := &delivery{running: a}
	s := d.session
	var err error
	d.book, err = contacts.New(contacts.Options{
		Own:   contacts.Own{User: s.user, Identity: s.identity, Signing: s.signer.Public()},
		Vault: d.vault, Sender: d, EmailHash: keystore.EmailHash, Clock: d.clock.Now, Notify: d.contactEvent,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Queue takes a message and keeps it.
func (d *delivery) Queue(_ *keystore.Tx, m contacts.Outgoing) (contacts.MessageID, error) {
	d.sent = append(d.sent, m)
	return contacts.MessageID(uuid.New()), nil
}

// Cancel is too late: the message was taken.
func (d *delivery) Cancel(_ *keystore.Tx, _ contacts.MessageID, tell func(left bool)) { tell(true) }

// receive brings a secret from a user under an identity. Each has an id of its own.
func (d *delivery) receive(from string, identity byte, id byte, title, body string, written int64) {
	d.t.Helper()
	payload, err := signed.Marshal(struct {
		Version uint64   `cbor:"1,keyasint"`
		ID      [16]byte `cbor:"2,keyasint"`
		Title   string   `cbor:"3,keyasint"`
		Body    []byte   `cbor:"4,keyasint"`
		Written int64    `cbor:"5,keyasint"`
	}{1, [16]byte{id}, title, []byte(body), written})
	if err != nil {
		d.t.Fatal(err)
	}
	var e contacts.Event
	err = d.vault.Update(func(tx *keystore.Tx) (err error) {
		e, err = d.book.Receive(tx, contacts.Incoming{From: from, Identity: contacts.Key{identity}, Payload: payload})
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.contactEvent(e)
}

func (d *delivery) contact(user string) Contact {
	d.t.Helper()
	c, err := d.Contact(d.t.Context(), user)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (d *delivery) number(user string) SafetyNumbers {
	d.t.Helper()
	n, err := d.SafetyNumbers(d.t.Context(), user)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

func (d *delivery) secrets() []Secret {
	d.t.Helper()
	list, err := d.Secrets(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

// eventsOf returns types and codes of the logged events about a contact.
func (d *delivery) eventsOf(user string) string {
	d.t.Helper()
	all, err := d.events.after(0)
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		if e.Contact == user {
			out = append(out, strings.TrimSuffix(e.Type+" "+string(e.Code), " "))
		}
	}
	return strings.Join(out, ", ")
}

// A stranger's secret waits for consent; their number is compared; their keys change, and a person resolves it; all of it from vault to
// agent, with the events that tell of it.
func TestContactFromStrangerToVerified(t *testing.T) {
	d, ctx, bob := newDelivery(t, nil), t.Context(), uuid.NewString()
	d.receive(bob, 1, 1, "wifi", "hunter2", 1000)
	c := d.contact(bob)
	if c.State != ContactAsked || c.Name != "" || !c.Verified.IsZero() || c.Former != nil || c.Added.IsZero() || len(d.secrets()) != 0 {
		t.Fatalf("%+v", c)
	}
	wantCode(t, "a name for a stranger", second(d.RenameContact(ctx, bob, "Bob")), fault.Forbidden)
	c, err := d.AcceptContact(ctx, bob)
	if err != nil || c.State != ContactAccepted {
		t.Fatalf("%+v, %v", c, err)
	}
	if c, err = d.RenameContact(ctx, bob, "Bob"); err != nil || c.Name != "Bob" {
		t.Fatalf("%+v, %v", c, err)
	}
	got := d.secrets()
	if len(got) != 1 || got[0].Title != "wifi" || got[0].From != bob || got[0].Body != nil || got[0].State != "received" || got[0].Verified {
		t.Fatalf("%v", got)
	}
	n := d.number(bob)
	if len(n.Digits) != 60 || len(n.Groups) != 12 || len(n.Code) == 0 || n.New != nil {
		t.Fatalf("%+v", n)
	}
	wantCode(t, "another number", second(d.VerifyContact(ctx, bob, Comparison{Number: strings.Repeat("1", 60)})), fault.KeyChanged)
	wantCode(t, "nothing given", second(d.VerifyContact(ctx, bob, Comparison{})), fault.InvalidRequest)
	if c, err = d.VerifyContact(ctx, bob, Comparison{Number: strings.Join(n.Groups, " ")}); err != nil || c.Verified.IsZero() {
		t.Fatalf("%+v, %v", c, err)
	}
	if c, err = d.UnverifyContact(ctx, bob); err != nil || !c.Verified.IsZero() {
		t.Fatalf("%+v, %v", c, err)
	}
	d.resolves(bob)
	want := "contact.asked, contact.key_changed key_changed, contact.change_resolved, contact.key_changed key_changed, contact.change_resolved, secret.received"
	if got := d.eventsOf(bob); got != want {
		t.Errorf("events: %s", got)
	}
}

// resolves changes a contact's keys twice: once the old ones are kept, once the new ones are taken.
func (d *delivery) resolves(bob string) {
	t, ctx := d.t, d.t.Context()
	t.Helper()
	wantCode(t, "nothing to resolve", second(d.ResolveContact(ctx, bob, ResolveRequest{})), fault.Conflict)
	d.receive(bob, 2, 2, "new", "from elsewhere", 2000)
	c := d.contact(bob)
	if c.State != ContactChanged || c.Changed == nil || c.Changed.Reason != fault.KeyChanged || c.Changed.Seen.IsZero() || len(d.secrets()) != 1 {
		t.Fatalf("%+v", c)
	}
	wantCode(t, "consent instead", second(d.AcceptContact(ctx, bob)), fault.KeyChanged)
	n := d.number(bob)
	wantCode(t, "the new ones by the old number",
		second(d.ResolveContact(ctx, bob, ResolveRequest{TakeNew: true, Given: Comparison{Code: n.Code}})), fault.KeyChanged)
	wantCode(t, "the old ones by a number",
		second(d.ResolveContact(ctx, bob, ResolveRequest{Given: Comparison{Number: n.Digits}})), fault.InvalidRequest)
	if c, err := d.ResolveContact(ctx, bob, ResolveRequest{}); err != nil || c.State != ContactAccepted || c.Changed != nil || c.Former != nil {
		t.Fatalf("%+v, %v", c, err)
	}
	d.receive(bob, 2, 3, "new", "from elsewhere", 2000)
	digits := d.number(bob).New.Digits
	c, err := d.ResolveContact(ctx, bob, ResolveRequest{TakeNew: true, Given: Comparison{Number: digits}})
	if err != nil || c.State != ContactAccepted || c.Verified.IsZero() || len(c.Former) != 1 || c.Former[0].Verified {
		t.Fatalf("%+v, %v", c, err)
	}
	if got := d.number(bob); got.Digits != digits || got.New != nil || len(d.secrets()) != 2 {
		t.Fatalf("%+v, %v", got, d.secrets())
	}
	d.receive(bob, 2, 4, "more", "", 3000)
}

func TestContactsAreBlockedAndRemoved(t *testing.T) {
	d, ctx, bob := newDelivery(t, nil), t.Context(), uuid.NewString()
	wantCode(t, "nobody", second(d.Contact(ctx, bob)), fault.NotFound)
	wantCode(t, "nobody's number", second(d.SafetyNumbers(ctx, bob)), fault.NotFound)
	wantCode(t, "no id", second(d.AcceptContact(ctx, "bob")), fault.InvalidRequest)
	wantCode(t, "nobody to remove", d.RemoveContact(ctx, bob), fault.NotFound)
	wantCode(t, "without a coordinator", second(d.AddContact(ctx, AddContactRequest{Email: "bob@example.org"})), fault.Unavailable)
	wantCode(t, "both", second(d.AddContact(ctx, AddContactRequest{User: bob, Email: "bob@example.org"})), fault.InvalidRequest)
	d.receive(bob, 1, 1, "wifi", "hunter2", 1000)
	if c, err := d.BlockContact(ctx, bob); err != nil || c.State != ContactBlocked {
		t.Fatalf("%+v, %v", c, err)
	}
	if c, err := d.AcceptContact(ctx, bob); err != nil || c.State != ContactAccepted || len(d.secrets()) != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := d.RemoveContact(ctx, bob); err != nil {
		t.Fatal(err)
	}
	if list, err := d.Contacts(ctx); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	d.receive(bob, 1, 2, "wifi", "hunter2", 1000) // who was removed is a stranger
	if list, err := d.Contacts(ctx); err != nil || len(list) != 1 || list[0].State != ContactAsked {
		t.Fatalf("%v, %v", list, err)
	}
	if err := d.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "locked", second(d.Contacts(ctx)), fault.Locked)
	wantCode(t, "locked", second(d.Secrets(ctx)), fault.Locked)
}

// Secrets go to whom a person compared, once per id; they are wiped where they came from, and nothing of them is in the log.
func TestSecretsOfTheAgent(t *testing.T) {
	var log lockedBuffer
	d := newDelivery(t, func(_ *Config, o *Options) { o.Logger = debugLog(&log) })
	ctx, bob := t.Context(), uuid.NewString()
	d.receive(bob, 1, 1, "canary title", "canary body", 1<<62) // the sender's clock is what they like
	send := func(r SendSecretRequest) error {
		body := r.Body
		_, _, err := d.SendSecret(ctx, r)
		if strings.Trim(string(body), "\x00") != "" {
			t.Errorf("%v: the body was not wiped", r)
		}
		return err
	}
	draft := func() SendSecretRequest {
		return SendSecretRequest{ID: strings.Repeat("07", 16), To: bob, Title: "canary out", Body: []byte("canary sent")}
	}
	wantCode(t, "to a stranger", send(draft()), fault.Forbidden)
	if _, err := d.AcceptContact(ctx, bob); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "to who was not compared", send(draft()), fault.UntrustedKey)
	if _, err := d.VerifyContact(ctx, bob, Comparison{Number: d.number(bob).Digits}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "too long", send(SendSecretRequest{To: bob, Body: make([]byte, MaxSecret+1)}), fault.TooLarge)
	for _, id := range []string{"07", strings.Repeat("0", 32), strings.Repeat("x", 32)} {
		wantCode(t, "the id "+id, send(SendSecretRequest{ID: id, To: bob, Body: []byte("x")}), fault.InvalidRequest)
	}
	wantCode(t, "to nobody", send(SendSecretRequest{To: uuid.NewString(), Body: []byte("x")}), fault.NotFound)
	made, err := d.book.Send(t.Context(), contacts.Draft{ID: [16]byte([]byte(strings.Repeat("\x07", 16))), To: bob, Title: "canary out", Body: []byte("canary sent")})
	if err != nil || made.Repeated {
		t.Fatal(made.Repeated, err)
	}
	again, repeated, err := d.SendSecret(ctx, draft())
	if err != nil || !repeated || again.Ref != made.Ref() || again.State != "queued" || len(d.sent) != 1 {
		t.Fatalf("%v, %v, %v", again, repeated, err)
	}
	other := draft()
	other.Title = "another"
	wantCode(t, "another under this id", send(other), fault.Conflict)
	d.reads(made.Ref(), bob)
	if strings.Contains(log.String(), "canary") || !strings.Contains(log.String(), "vault open") {
		t.Errorf("the log:\n%s", log.String())
	}
}

// reads reads what TestSecretsOfTheAgent put into the vault, and removes it.
func (d *delivery) reads(sent, bob string) {
	t, ctx := d.t, d.t.Context()
	t.Helper()
	list := d.secrets()
	if len(list) != 2 || list[0].Body != nil || list[1].Body != nil {
		t.Fatalf("%v", list)
	}
	for _, s := range list {
		if s.Written.Year() > 9999 || s.Since.Before(time.Unix(0, 0)) {
			t.Errorf("%v: written %v, since %v", s, s.Written, s.Since)
		}
		if text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s.LogValue()); strings.Contains(text, "canary") {
			t.Errorf("it prints %s", text)
		}
		whole, err := d.Secret(ctx, s.Ref)
		want := map[bool]string{true: "canary sent", false: "canary body"}[s.Ref == sent]
		if err != nil || string(whole.Body) != want || whole.Verified != (s.Ref == sent) {
			t.Errorf("%v: %q, %v", whole, whole.Body, err)
		}
		if _, err := d.RemoveSecret(ctx, s.Ref); err != nil {
			t.Error(err)
		}
		wantCode(t, "removed", second(d.Secret(ctx, s.Ref)), fault.NotFound)
	}
	wantCode(t, "no reference", second(d.Secret(ctx, "../contact")), fault.InvalidRequest)
	wantCode(t, "removed", second(d.RemoveSecret(ctx, sent)), fault.NotFound)
	if d.contact(bob).State != ContactAccepted {
		t.Error("the contact is gone with the secrets")
	}
}

// A token for named datasets has nothing to do with contacts, and who may not share hears nothing of them.
func TestEventsOfContactsAreForSharers(t *testing.T) {
	d, bob := newDelivery(t, nil), uuid.NewString()
	d.receive(bob, 1, 1, "wifi", "hunter2", 1000)
	for _, c := range []struct {
		caller Caller
		hears  bool
	}{
		{user, true},
		{Caller{ID: "app", Scopes: []Scope{ScopeRead, ScopeShare}}, true},
		{Caller{ID: "app", Scopes: []Scope{ScopeRead}}, false},
		{Caller{ID: "app", Scopes: []Scope{ScopeRead, ScopeShare}, Datasets: []string{"x"}}, false},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := d.Subscribe(ctx, c.caller, 0)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		heard := false
		for e := range s.C {
			heard = heard || e.Type == EventContactAsked && e.Contact == bob
		}
		if heard != c.hears || (c.caller.May(ScopeShare, "") == nil) != c.hears {
			t.Errorf("%+v hears: %v", c.caller, heard)
		}
	}
}

func second[A any](_ A, err error) error { return err }
