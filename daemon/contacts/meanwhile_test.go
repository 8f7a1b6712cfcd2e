package contacts_test

import (
	"context"
	"errors"
	"testing"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/ratchet"
)

// What a person decides while a bundle is fetched counts.
func TestBlockedMeanwhile(t *testing.T) {
	w, bob, eve := newWorld(t), newPerson(t), newPerson(t)
	w.befriend(bob)
	w.served[bob.User] = bob.publish(t, w.now)
	w.during = func() { wants(t, "block", w.book.Block(t.Context(), bob.User), "") }
	_, err := w.book.Bundle(t.Context(), bob.User)
	wants(t, "bundle", err, fault.Forbidden)
	if c := w.contact(bob); c.Mark.Sequence != 1 || c.State != contacts.StateBlocked {
		t.Fatalf("%+v", c)
	}
	w.served[eve.User] = eve.publish(t, w.now)
	w.during = func() {
		_, err := w.receive(eve.secret(t, 1, "t", "b"))
		wants(t, "receive", err, "")
		wants(t, "block", w.book.Block(t.Context(), eve.User), "")
	}
	_, err = w.book.Add(t.Context(), contacts.Addition{User: eve.User})
	wants(t, "add", err, fault.Conflict)
}

// retrying is a vault that loses its first try of every change, as one that is replicated may: between the two tries, meanwhile happens.
type retrying struct {
	*keystore.Vault
	meanwhile func()
}

var errLost = errors.New("another device was faster")

func (v *retrying) UpdateContext(ctx context.Context, fn func(tx *keystore.Tx) error) error {
	err := v.Vault.UpdateContext(ctx, func(tx *keystore.Tx) error { return errors.Join(fn(tx), errLost) })
	if !errors.Is(err, errLost) {
		return err
	}
	if m := v.meanwhile; m != nil {
		v.meanwhile = nil
		m()
	}
	return v.Vault.UpdateContext(ctx, fn)
}

// What the first try of a change thought counts for nothing.
func TestChangesMayRunAgain(t *testing.T) {
	w, bob := newWorld(t), newPerson(t)
	v := &retrying{Vault: w.vault}
	direct := w.book
	w.book = w.bookOver(v)
	w.befriend(bob)
	s, err := w.book.Send(t.Context(), w.draft(bob))
	if err != nil || len(w.outbox(bob.User)) != 1 || s.State != contacts.SecretQueued {
		t.Fatal(s, err)
	}
	w.lastEvent()
	// Another device takes over the new identity while this one finds that it has changed.
	fresh := impostor(t, bob)
	w.served[bob.User] = fresh.publish(t, w.now)
	v.meanwhile = func() {
		_, err := direct.Bundle(t.Context(), bob.User)
		wants(t, "changed", err, fault.KeyChanged)
		wants(t, "accept", direct.AcceptNew(t.Context(), bob.User, contacts.Comparison{Number: fresh.fingerprint(w.me).Digits()}), "")
	}
	_, err = w.book.Bundle(t.Context(), bob.User)
	wants(t, "bundle", err, "")
	if c := w.contact(bob); c.State != contacts.StateAccepted || c.Pinned.Identity != fresh.Identity.Public() {
		t.Fatalf("%+v", c)
	}
	u, err := w.book.Publish(t.Context(), w.me.Keys, w.me.bundle(t, w.now, ratchet.BundleOptions{LastResort: true}), nil)
	if err != nil || u.Sequence != 1 {
		t.Fatal(u.Sequence, err)
	}
}
