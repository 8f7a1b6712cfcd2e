package ratchet_test

import (
	"errors"
	"testing"

	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// The change that consumes a message's key holds its body, whatever opened it, and who it is from: a store that keeps both together loses none to a crash. The
// change of a message that is made holds none.
func TestChangeCarriesTheBody(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	opens := func(from, to *ratchettest.Party, m ratchet.Message, want string) {
		t.Helper()
		var stored string
		body, err := session(t, to, from).Decrypt(m, to.PreKeys, func(c ratchet.Change) error {
			if stored = string(c.Body); c.Identity != from.Local.Identity.Public() {
				t.Error("the change has the identity of somebody else")
			}
			return to.Store.Save(from.Address())(c)
		})
		if err != nil || stored != want || string(body) != want {
			t.Errorf("stored %q, returned %q, %v; want %q", stored, body, err, want)
		}
	}
	start(t, alice, bob, oneTime)
	opens(alice, bob, send(t, alice, bob, "first"), "first")
	opens(bob, alice, send(t, bob, alice, "answer"), "answer")
	late := send(t, alice, bob, "of an archived session")
	start(t, alice, bob, oneTime)
	opens(alice, bob, send(t, alice, bob, "first of another"), "first of another")
	opens(alice, bob, late, "of an archived session")

	_, err := session(t, alice, bob).Encrypt([]byte("out"), ratchettest.Day, func(c ratchet.Change) error {
		if c.Body != nil {
			t.Errorf("the change of a message that is made holds %q", c.Body)
		}
		return alice.Store.Save(bob.Address())(c)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A body that was stored while the answer of the store was lost is there, and the message is not opened a second time.
func TestBodyOutlivesALostAnswer(t *testing.T) {
	alice, bob := meet(t)
	m, lost := send(t, alice, bob, "kept"), errors.New("lost")
	stored := ""
	_, err := session(t, bob, alice).Decrypt(m, nil, func(c ratchet.Change) error {
		stored = string(c.Body)
		return errors.Join(bob.Store.Save(alice.Address())(c), lost)
	})
	if !errors.Is(err, lost) || stored != "kept" {
		t.Fatalf("stored %q, %v", stored, err)
	}
	bob.Reload()
	if body, err := bob.Receive(alice.Address(), m); err == nil {
		t.Errorf("opened again: %q", body)
	}
}
