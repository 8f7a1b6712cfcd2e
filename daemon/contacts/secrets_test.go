package contacts_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/keystore"
)

func TestSendAndReceive(t *testing.T) {
	ada, bob := newWorld(t), newWorld(t)
	ada.befriend(bob.me)
	bob.befriend(ada.me)
	d := contacts.Draft{ID: contacts.SecretID{7}, To: bob.me.User, Title: "bucket", Body: []byte("hunter2")}
	sent, err := ada.book.Send(t.Context(), d)
	wants(t, "send", err, "")
	if sent.State != contacts.SecretQueued || !sent.Verified || len(sent.Body) != 0 {
		t.Fatalf("%v", sent)
	}
	// Again, because the answer was lost; and another one under the same id.
	again, err := ada.book.Send(t.Context(), d)
	if err != nil || again.Ref() != sent.Ref() || len(ada.outbox(bob.me.User)) != 1 {
		t.Fatal(err)
	}
	d.Body = []byte("hunter3")
	wants(t, "another", second(ada.book.Send(t.Context(), d)), fault.Conflict)
	for _, id := range []contacts.MessageID{ada.queued, ada.queued, {8}} { // posted, told twice, and of no secret
		wants(t, "posted", ada.vault.Update(func(tx *keystore.Tx) error { return ada.book.Sent(tx, id) }), "")
	}
	if s := ada.secrets(); len(s) != 1 || s[0].State != contacts.SecretSent {
		t.Fatalf("%v", s)
	}
	in := contacts.Incoming{From: ada.me.User, Identity: ada.me.Identity.Public(), Payload: ada.outbox(bob.me.User)[0]}
	for range 3 { // delivered at least once
		_, err := bob.receive(in)
		wants(t, "receive", err, "")
	}
	got := bob.secrets()
	if len(got) != 1 || got[0].Ref() != sent.Ref() || got[0].State != contacts.SecretReceived || got[0].Body != nil || got[0].From != ada.me.User {
		t.Fatalf("%v", got)
	}
	whole, err := bob.book.Secret(sent.Ref())
	if err != nil || string(whole.Body) != "hunter2" || whole.Title != "bucket" || !whole.WrittenAt().Equal(noon) || !whole.Verified {
		t.Fatal(whole, err)
	}
	wantFate(t, bob, sent.Ref(), contacts.MessageReceived)
	d = contacts.Draft{To: bob.me.User}
	gone, err := ada.book.Send(t.Context(), d)
	wants(t, "send", err, "")
	wantFate(t, ada, gone.Ref(), contacts.MessageCancelled)
	wants(t, "posted", ada.vault.Update(func(tx *keystore.Tx) error { return ada.book.Sent(tx, ada.queued) }), "")
	wants(t, "remove again", second(bob.book.RemoveSecret(t.Context(), sent.Ref())), fault.NotFound)
	wants(t, "no reference", second(bob.book.Secret("../contact")), fault.InvalidRequest)
}

// The secret and its message are there together or not at all.
func TestSendIsOneTransaction(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	w.broken = fault.New(fault.StorageFull, "no room")
	wants(t, "send", second(w.book.Send(t.Context(), w.draft(bob))), fault.StorageFull)
	if len(w.secrets()) != 0 || len(w.outbox(bob.User)) != 0 {
		t.Fatal("half of it is there")
	}
}

func TestDrafts(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	for what, c := range map[string]struct {
		draft contacts.Draft
		want  fault.Code
	}{
		"largest":       {contacts.Draft{To: bob.User, Body: make([]byte, contacts.MaxSecret), Title: strings.Repeat("t", contacts.MaxName)}, ""},
		"empty":         {contacts.Draft{To: bob.User}, ""},
		"too large":     {contacts.Draft{To: bob.User, Body: make([]byte, contacts.MaxSecret+1)}, fault.TooLarge},
		"long title":    {contacts.Draft{To: bob.User, Title: strings.Repeat("t", contacts.MaxName+1)}, fault.InvalidRequest},
		"control title": {contacts.Draft{To: bob.User, Title: "a\x07"}, fault.InvalidRequest},
		"direction":     {contacts.Draft{To: bob.User, Title: "a\u202ebc"}, fault.InvalidRequest},
		"joiner":        {contacts.Draft{To: bob.User, Title: "می\u200cخواهم 👩\u200d🔬"}, ""},
		"not UTF-8":     {contacts.Draft{To: bob.User, Title: "\xff"}, fault.InvalidRequest},
		"nobody":        {contacts.Draft{To: uuid.NewString()}, fault.NotFound},
		"no id":         {contacts.Draft{To: "bob"}, fault.InvalidRequest},
	} {
		wants(t, what, second(w.book.Send(t.Context(), c.draft)), c.want)
	}
	for _, p := range w.outbox(bob.User) {
		if len(p) > contacts.MaxPayload {
			t.Fatalf("%d bytes", len(p))
		}
		if _, err := contacts.ParsePayload(p); err != nil {
			t.Fatal(err)
		}
	}
}

// The same id with other content is set aside; the id of another sender is another one; our own ids are ours.
func TestSecretsAreNotOverwritten(t *testing.T) {
	w, bob, eve := newWorld(t), newPerson(t), newPerson(t)
	w.befriend(bob)
	w.befriend(eve)
	d := w.draft(bob)
	d.ID = contacts.SecretID{5}
	mine, err := w.book.Send(t.Context(), d)
	wants(t, "send", err, "")
	for _, p := range []*person{bob, eve} {
		_, err := w.receive(p.secret(t, 5, "title of "+p.User, "first"))
		wants(t, "receive", err, "")
	}
	before := w.snapshot()
	for what, in := range map[string]contacts.Incoming{"body": bob.secret(t, 5, "title of "+bob.User, "second"), "title": bob.secret(t, 5, "other", "first")} {
		e, err := w.receive(in)
		if wants(t, what, err, fault.Conflict); !rejected(err) {
			t.Fatal(err)
		}
		if e.Type != contacts.EventConflict || e.User != bob.User {
			t.Fatalf("%+v", e)
		}
	}
	if w.snapshot() != before || len(w.secrets()) != 3 {
		t.Fatal("something was overwritten")
	}
	if s, err := w.book.Secret(mine.Ref()); err != nil || string(s.Body) != "hunter2" {
		t.Fatal(s, err)
	}
	stranger := newPerson(t)
	_, err = w.receive(stranger.secret(t, 1, "t", "first"))
	wants(t, "waits", err, "")
	e, err := w.receive(stranger.secret(t, 1, "t", "second"))
	wants(t, "other content while it waits", err, fault.Conflict)
	if e.Type != contacts.EventConflict {
		t.Fatalf("%+v", e)
	}
}

// K02: what comes while a contact is changed waits, and what is shown afterwards depends on whom the person believed.
func TestK02_MessagesWhileChanged(t *testing.T) {
	for _, takeNew := range []bool{true, false} {
		w, bob := newWorld(t), newPerson(t)
		w.befriend(bob)
		mallory := impostor(t, bob)
		e, err := w.receive(mallory.secret(t, 1, "t", "of the new one"))
		wants(t, "receive", err, "")
		if e.Type != contacts.EventChanged || e.Code != fault.KeyChanged {
			t.Fatalf("%+v", e)
		}
		e, err = w.receive(bob.secret(t, 1, "t", "of the old one"))
		if err != nil || e.Type != contacts.EventHeld {
			t.Fatal(e, err)
		}
		_, err = w.receive(impostor(t, bob).secret(t, 1, "t", "of a third"))
		wants(t, "receive", err, "")
		if len(w.secrets()) != 0 {
			t.Fatal("shown")
		}
		want := "of the old one"
		if takeNew {
			want = "of the new one"
			wants(t, "accept", w.book.AcceptNew(t.Context(), bob.User, contacts.Comparison{Number: mallory.fingerprint(w.me).Digits()}), "")
		} else {
			wants(t, "keep", w.book.KeepOld(t.Context(), bob.User), "")
		}
		s := w.secrets()
		if len(s) != 1 {
			t.Fatalf("%v", s)
		}
		if got, err := w.book.Secret(s[0].Ref()); err != nil || string(got.Body) != want {
			t.Fatal(string(got.Body), err)
		}
		wants(t, "nothing is to be resolved", w.book.KeepOld(t.Context(), bob.User), fault.Conflict)
	}
}

// rejected reports whether an error sets the message aside.
func rejected(err error) bool {
	_, ok := errors.AsType[*contacts.Rejection](err)
	return ok
}

// crowded is a vault that lists more items of a kind than there are.
type crowded struct {
	*keystore.Vault
	kind string
	n    int
}

func (c crowded) List(kind string) ([]string, error) {
	if kind == c.kind {
		return make([]string, c.n), nil
	}
	return c.Vault.List(kind)
}

// No more contacts and secrets than are kept.
func TestKeptAreBounded(t *testing.T) {
	w, bob, eve := newWorld(t), newPerson(t), newPerson(t)
	w.befriend(bob)
	w.served[eve.User] = eve.publish(t, w.now)
	w.book = w.bookOver(crowded{w.vault, "secret", contacts.MaxSecrets})
	wants(t, "send", second(w.book.Send(t.Context(), w.draft(bob))), fault.StorageFull)
	_, err := w.receive(bob.secret(t, 1, "t", "b"))
	if wants(t, "receive", err, fault.StorageFull); rejected(err) {
		t.Fatal("set aside for want of room")
	}
	w.book = w.bookOver(crowded{w.vault, "secret", contacts.MaxSecrets - 1})
	wants(t, "the last", second(w.book.Send(t.Context(), w.draft(bob))), "")
	w.book = w.bookOver(crowded{w.vault, "contact", contacts.MaxContacts})
	wants(t, "add", second(w.book.Add(t.Context(), contacts.Addition{User: eve.User})), fault.TooLarge)
	w.book = w.bookOver(crowded{w.vault, "contact", contacts.MaxContacts - 1})
	wants(t, "the last", second(w.book.Add(t.Context(), contacts.Addition{User: eve.User})), "")
}

func TestHostileMessages(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	before := w.snapshot()
	good := bob.secret(t, 1, "t", "b").Payload
	for what, c := range map[string]struct {
		payload []byte
		want    fault.Code
	}{
		"nothing":         {nil, fault.NotAuthentic},
		"too large":       {make([]byte, contacts.MaxPayload+1), fault.TooLarge},
		"deep":            {bytes.Repeat([]byte{0x81}, contacts.MaxPayload), fault.TooLarge},
		"cut":             {good[:len(good)-1], fault.NotAuthentic},
		"longer":          {append(bytes.Clone(good), 0), fault.NotAuthentic},
		"other version":   {bytes.Replace(good, []byte{1, 1}, []byte{1, 2}, 1), fault.Policy},
		"body of numbers": {bytes.Replace(good, []byte{0x41, 'b'}, []byte{0x81, 7}, 1), fault.NotAuthentic},
		"control title":   {bytes.Replace(good, []byte{0x61, 't'}, []byte{0x61, 7}, 1), fault.NotAuthentic},
		"no body":         {bytes.Replace(good, []byte{0x41, 'b'}, []byte{0xf6}, 1), fault.NotAuthentic},
	} {
		_, err := w.receive(contacts.Incoming{From: bob.User, Identity: bob.Identity.Public(), Payload: c.payload})
		if wants(t, what, err, c.want); !rejected(err) {
			t.Errorf("%s: %v is no rejection", what, err)
		}
	}
	_, err := w.receive(contacts.Incoming{From: w.me.User, Identity: w.me.Identity.Public(), Payload: good})
	wants(t, "from oneself", err, fault.NotAuthentic)
	_, err = w.receive(contacts.Incoming{From: "bob", Identity: bob.Identity.Public(), Payload: good})
	wants(t, "from nobody", err, fault.NotAuthentic)
	if w.snapshot() != before {
		t.Fatal("the vault has changed")
	}
}

// A secret prints nothing of itself.
func TestSecretsDoNotPrint(t *testing.T) {
	s := contacts.Secret{From: uuid.NewString(), Title: "CANARY", Body: []byte("CANARY"), State: contacts.SecretReceived}
	body := []byte("CANARY")
	draft, out, in := contacts.Draft{Title: "CANARY", Body: body}, contacts.Outgoing{Payload: body}, contacts.Incoming{Payload: body}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "secret", s, "draft", draft, "out", out, "in", in)
	if strings.Contains(logged.String(), "CANARY") || strings.Contains(logged.String(), base64.StdEncoding.EncodeToString(body)) {
		t.Error(logged.String())
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, v := range []any{s, &s, []contacts.Secret{s}, contacts.Secret{Body: body}, draft, &draft, out, in, struct{ V any }{in}} {
			if out := fmt.Sprintf(form, v); strings.Contains(out, "CANARY") || strings.Contains(out, "434e") {
				t.Errorf("%s prints %s", form, out)
			}
		}
	}
}

// A broken item of the vault is an error, never nobody: R10.
func TestDamagedContact(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	ids, err := w.vault.List("contact")
	wants(t, "list", err, "")
	wants(t, "damage", w.vault.Update(func(tx *keystore.Tx) error {
		return tx.Put(keystore.Item{ID: ids[0], Kind: "contact", Body: []byte{0xa0}})
	}), "")
	if _, err := w.book.Get(bob.User); !errors.Is(err, fault.NotAuthentic) {
		t.Fatal(err)
	}
	_, err = w.receive(bob.secret(t, 1, "t", "b"))
	wants(t, "receive", err, fault.NotAuthentic)
	if rejected(err) {
		t.Fatal("the message would be set aside for the vault's fault")
	}
	wants(t, "send", second(w.book.Send(t.Context(), w.draft(bob))), fault.NotAuthentic)
}
