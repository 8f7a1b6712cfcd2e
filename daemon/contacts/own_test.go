package contacts_test

import (
	"testing"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
	"coldframe/ratchet"
)

// K03: another key under the user's own id. An event; nothing is overwritten.
func TestK03_OwnKeyServedDifferently(t *testing.T) {
	w := newWorld(t)
	once := w.me.bundle(t, w.now, ratchet.BundleOptions{OneTime: true})
	u, err := w.book.Publish(t.Context(), w.me.Keys, w.me.bundle(t, w.now, ratchet.BundleOptions{LastResort: true}), []ratchet.Bundle{once})
	wants(t, "publish", err, "")
	wants(t, "uploaded", w.book.Uploaded(t.Context(), u), "")
	if _, err := contacts.Verify(w.me.User, contacts.Published{Bundle: u.Bundle, OneTime: u.OneTime[0]}, w.now); err != nil || u.Sequence != 1 {
		t.Fatal(u.Sequence, err)
	}
	wants(t, "own", w.book.CheckOwn(t.Context(), contacts.Published{Bundle: u.Bundle}), "")
	if len(w.events) != 0 {
		t.Fatalf("%+v", w.events)
	}
	before := w.snapshot()
	mallory := impostor(t, w.me)
	wants(t, "other", w.book.CheckOwn(t.Context(), mallory.publish(t, w.now)), fault.KeyChanged)
	if e := w.lastEvent(); e.Type != contacts.EventOwnChanged || e.Code != fault.KeyChanged {
		t.Fatalf("%+v", e)
	}
	wants(t, "another user's", w.book.CheckOwn(t.Context(), newPerson(t).publish(t, w.now)), fault.NotAuthentic)
	w.me.mark = contacts.Mark{}
	wants(t, "a second first", w.book.CheckOwn(t.Context(), w.me.publish(t, w.now)), fault.Forked)
	if after := w.snapshot(); after != before {
		t.Fatal("the vault has changed")
	}
	wants(t, "other keys", second(w.book.Publish(t.Context(), mallory.Keys, ratchet.Bundle{}, nil)), fault.InvalidRequest)
}

// The chain of the user's own bundles across a bundle that never arrived, a rollback, and a vault that forgot.
func TestOwnChain(t *testing.T) {
	w := newWorld(t)
	publish := func() contacts.Upload {
		u, err := w.book.Publish(t.Context(), w.me.Keys, w.me.bundle(t, w.now, ratchet.BundleOptions{LastResort: true}), nil)
		wants(t, "publish", err, "")
		return u
	}
	first := publish()
	wants(t, "uploaded", w.book.Uploaded(t.Context(), first), "")
	second := publish() // never arrives
	wants(t, "the first is still served", w.book.CheckOwn(t.Context(), contacts.Published{Bundle: first.Bundle}), "")
	fork, _, err := contacts.SignBundle(w.me.Keys, w.me.bundle(t, w.now, ratchet.BundleOptions{LastResort: true}), contacts.Mark{}, w.now)
	wants(t, "sign", err, "")
	wants(t, "another first", w.book.CheckOwn(t.Context(), contacts.Published{Bundle: fork}), fault.Forked)
	third := publish()
	wants(t, "uploaded", w.book.Uploaded(t.Context(), third), "")
	wants(t, "an answer that came late", w.book.Uploaded(t.Context(), first), "")
	if second.Sequence != 2 || third.Sequence != 3 {
		t.Fatal(second.Sequence, third.Sequence)
	}
	wants(t, "the first again", w.book.CheckOwn(t.Context(), contacts.Published{Bundle: first.Bundle}), fault.RolledBack)
	w.me.mark = contacts.Mark{Sequence: 7, Hash: contacts.Hash{1}}
	wants(t, "one that another device published", w.book.CheckOwn(t.Context(), w.me.publish(t, w.now)), "")
	if u := publish(); u.Sequence != 9 {
		t.Fatal(u.Sequence)
	}
}
