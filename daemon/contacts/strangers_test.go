package contacts_test

import (
	"fmt"
	"strings"
	"testing"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
)

// K06, of secrets: what a stranger sends correctly waits. Nothing but the sender's id shows, and nothing is fetched, before consent.
func TestK06_StrangersSecretWaits(t *testing.T) {
	w, eve := newWorld(t), newPerson(t)
	w.served[eve.User] = eve.publish(t, w.now)
	e, err := w.receive(eve.secret(t, 1, "CANARY-title", "CANARY-body"))
	wants(t, "receive", err, "")
	if e != (contacts.Event{Type: contacts.EventAsked, User: eve.User}) {
		t.Fatalf("%+v", e)
	}
	e, err = w.receive(eve.secret(t, 2, "CANARY-title", "CANARY-body"))
	if err != nil || e != (contacts.Event{Type: contacts.EventHeld, User: eve.User}) {
		t.Fatal(e, err)
	}
	all, err := w.book.List()
	if err != nil || len(all) != 1 || all[0].State != contacts.StateAsked || all[0].Name != "" || strings.Contains(fmt.Sprintf("%+v", all), "CANARY") {
		t.Fatal(all, err)
	}
	if len(w.secrets()) != 0 || len(w.asked) != 0 {
		t.Fatal("shown, or the coordinator was asked", w.asked)
	}
	wants(t, "bundle", second(w.book.Bundle(t.Context(), eve.User)), fault.Forbidden)
	wants(t, "send", second(w.book.Send(t.Context(), contacts.Draft{To: eve.User, Unverified: true})), fault.Forbidden)
	wants(t, "rename", w.book.Rename(t.Context(), eve.User, "eve"), fault.Forbidden)
	if len(w.asked) != 0 || len(w.outbox(eve.User)) != 0 {
		t.Fatal("written to")
	}
	wants(t, "accept", w.book.Accept(t.Context(), eve.User), "")
	if s := w.secrets(); len(s) != 2 || s[0].Title != "CANARY-title" || s[0].Verified {
		t.Fatalf("%v", s)
	}
	_, err = w.receive(eve.secret(t, 1, "CANARY-title", "CANARY-body"))
	wants(t, "the first again", err, "")
	if len(w.secrets()) != 2 {
		t.Fatal("twice")
	}
	wants(t, "still not verified", second(w.book.Send(t.Context(), w.draft(eve))), fault.UntrustedKey)
	wants(t, "bundle, whose signing key completes the pin", second(w.book.Bundle(t.Context(), eve.User)), "")
	if p := w.contact(eve).Pinned; p.Signing != [32]byte(eve.own().Signing) {
		t.Fatalf("%+v", p)
	}
}

// A stranger whom nobody wants.
func TestK06_Declined(t *testing.T) {
	w, eve := newWorld(t), newPerson(t)
	_, err := w.receive(eve.secret(t, 1, "a", "b"))
	wants(t, "receive", err, "")
	wants(t, "decline", w.book.Remove(t.Context(), eve.User), "")
	if w.snapshot() != "" {
		t.Fatal("something is left")
	}
	_, err = w.receive(eve.secret(t, 1, "a", "b"))
	wants(t, "receive", err, "")
	wants(t, "block", w.book.Block(t.Context(), eve.User), "")
	before := w.snapshot()
	e, err := w.receive(eve.secret(t, 2, "a", "b"))
	if wants(t, "receive", err, fault.Forbidden); !rejected(err) {
		t.Fatal(err)
	}
	if e.Type != "" || w.snapshot() != before {
		t.Fatal("who is blocked left something", e)
	}
	wants(t, "unblock", w.book.Accept(t.Context(), eve.User), "")
	if len(w.secrets()) != 0 {
		t.Fatal("what came before the block")
	}
}

// How much may wait: 16 of one, 256 KiB of one, 100 strangers.
func TestStrangersAreBounded(t *testing.T) {
	w := newWorld(t)
	many, large := newPerson(t), newPerson(t)
	for i := range contacts.MaxHeld {
		_, err := w.receive(many.secret(t, byte(i+1), "t", "b"))
		wants(t, "one of many", err, "")
	}
	_, err := w.receive(many.secret(t, 200, "t", "b"))
	if wants(t, "one too many", err, fault.TooLarge); !rejected(err) {
		t.Fatal(err)
	}
	_, err = w.receive(many.secret(t, 1, "t", "b"))
	wants(t, "the first again", err, "")
	body := strings.Repeat("x", contacts.MaxSecret)
	for i := range 3 {
		_, err := w.receive(large.secret(t, byte(i+1), "t", body))
		wants(t, "a large one", err, "")
	}
	_, err = w.receive(large.secret(t, 4, "t", body))
	wants(t, "beyond 256 KiB", err, fault.TooLarge)
	_, err = w.receive(large.secret(t, 4, "t", "small"))
	wants(t, "a small one", err, "")
	for range contacts.MaxStrangers - 2 {
		_, err := w.receive(newPerson(t).secret(t, 1, "t", "b"))
		wants(t, "another stranger", err, "")
	}
	before := w.snapshot()
	_, err = w.receive(newPerson(t).secret(t, 1, "t", "b"))
	if wants(t, "one stranger too many", err, fault.TooLarge); !rejected(err) {
		t.Fatal(err)
	}
	if w.snapshot() != before {
		t.Fatal("the vault has changed")
	}
	wants(t, "accept", w.book.Accept(t.Context(), large.User), "")
	_, err = w.receive(newPerson(t).secret(t, 1, "t", "b"))
	wants(t, "the next stranger", err, "")
	if n := len(w.secrets()); n != 4 {
		t.Fatal(n)
	}
}

// A stranger who is changed: what came under the identity that is not kept goes, and leaves its room.
func TestChangedStranger(t *testing.T) {
	w, eve := newWorld(t), newPerson(t)
	mallory := impostor(t, eve)
	_, err := w.receive(eve.secret(t, 1, "t", "of the first"))
	wants(t, "receive", err, "")
	for i := range contacts.MaxHeld - 1 {
		_, err := w.receive(mallory.secret(t, byte(i+1), "t", "of the second"))
		wants(t, "receive", err, "")
	}
	_, err = w.receive(eve.secret(t, 2, "t", "no room"))
	wants(t, "receive", err, fault.TooLarge)
	wants(t, "accept", w.book.Accept(t.Context(), eve.User), fault.KeyChanged)
	wants(t, "keep", w.book.KeepOld(t.Context(), eve.User), "")
	if c := w.contact(eve); c.State != contacts.StateAsked {
		t.Fatalf("%+v", c)
	}
	_, err = w.receive(eve.secret(t, 2, "t", "room again"))
	wants(t, "receive", err, "")
	wants(t, "accept", w.book.Accept(t.Context(), eve.User), "")
	if s := w.secrets(); len(s) != 2 {
		t.Fatalf("%v", s)
	}
}
