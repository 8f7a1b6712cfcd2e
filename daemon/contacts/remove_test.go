package contacts_test

import (
	"encoding/binary"
	"testing"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// wantFate removes a secret and wants its message to have had this fate.
func wantFate(t *testing.T, w *world, ref string, want contacts.MessageFate) {
	t.Helper()
	if got, err := w.book.RemoveSecret(t.Context(), ref); err != nil || got != want {
		t.Errorf("removed: message %s, %v, want %s", got, err, want)
	}
}

// What is removed before it left is not sent; what left is told to have; what another machine queued is left to that one.
func TestRemovedSecretIsNotSent(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	w.befriend(bob)
	send := func() contacts.Secret {
		t.Helper()
		s, err := w.book.Send(t.Context(), w.draft(bob))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := send()
	wantFate(t, w, s.Ref(), contacts.MessageCancelled)
	if n := len(w.outbox(bob.User)); n != 0 {
		t.Errorf("%d messages are in the outbox", n)
	}

	s = send()
	key := "outbox/" + bob.User + "/" + contacts.KindSecret
	w.forget(t, key) // posted, and not noted yet
	wantFate(t, w, s.Ref(), contacts.MessageLeft)

	s = send()
	w.forget(t, key)
	wants(t, "sent", w.vault.Update(func(tx *keystore.Tx) error { return w.book.Sent(tx, w.queued) }), "")
	wantFate(t, w, s.Ref(), contacts.MessageLeft)

	s = send()
	w.killed = true // the vault has it removed, and that was all: it is known what is still to be cancelled
	wantFate(t, w, s.Ref(), contacts.MessageElsewhere)
	w.killed = false
	record := contacts.QueuedRecord(w.queued)
	if ref, err := w.record(record); err != nil || ref != s.Ref() {
		t.Errorf("a message that was not cancelled is of %q, %v", ref, err)
	}
	w.forget(t, record)

	s = send()
	queued := map[contacts.MessageID]string{w.queued: s.Ref()}
	if gone, err := w.book.Gone(queued); err != nil || len(gone) > 0 {
		t.Error(gone, err)
	}
	w.forget(t, contacts.QueuedPrefix) // as on another machine
	wantFate(t, w, s.Ref(), contacts.MessageElsewhere)
	if gone, err := w.book.Gone(queued); err != nil || len(gone) != 1 || gone[0] != w.queued {
		t.Error(gone, err)
	}
	wants(t, "no reference", second(w.book.RemoveSecret(t.Context(), "../contact")), fault.InvalidRequest)
}

// One contact cannot use up the room of all: what is more than their share is set aside, with an event, and others are not concerned.
func TestShareOfAContact(t *testing.T) {
	w, bob, eve := newWorld(t), newPerson(t), newPerson(t)
	w.befriend(bob)
	w.befriend(eve)
	n := uint32(0)
	next := func(p *person) contacts.Incoming {
		t.Helper()
		n++
		id := contacts.SecretID{}
		binary.BigEndian.PutUint32(id[:], n)
		payload, err := contacts.SecretPayload(id, "t", []byte("b"), noon.UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		return contacts.Incoming{From: p.User, Identity: p.Identity.Public(), Payload: payload}
	}
	err := w.vault.Update(func(tx *keystore.Tx) error {
		for range contacts.MaxFromOne - 1 {
			if _, err := w.book.Receive(tx, next(bob)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "the last", second(w.receive(next(bob))), "")
	for range 2 {
		e, err := w.receive(next(bob))
		if wants(t, "one more", err, fault.TooLarge); !rejected(err) || e.Type != contacts.EventTooMany || e.User != bob.User {
			t.Fatal(e, err)
		}
		wants(t, "of another", second(w.receive(next(eve))), "")
	}
	for _, s := range w.secrets() {
		if s.From == bob.User {
			wantFate(t, w, s.Ref(), contacts.MessageReceived)
			break
		}
	}
	wants(t, "after one was removed", second(w.receive(next(bob))), "")
	wants(t, "and one more", second(w.receive(next(bob))), fault.TooLarge)
}

// record is one of this device's.
func (w *world) record(name string) (value string, err error) {
	err = w.db.View(func(tx *kv.Tx) error {
		b, err := tx.Get(name)
		value = string(b)
		return err
	})
	return value, err
}
