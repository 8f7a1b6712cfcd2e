package ratchet_test

import (
	"fmt"
	"testing"

	"coldframe/internal/fault"
	"coldframe/ratchet"
)

// What was retired sends nothing, in whichever of its sessions, opens what comes for them, and sends again after a new session began, or
// after the peer answered with a new ratchet key.
func TestRetire(t *testing.T) {
	alice, bob := meet(t)
	none := ratchet.NewSession(alice.Local, bob.Address(), 0)
	wantFault(t, "retired before it began", none.Retire(40, alice.Store.Save(bob.Address())), fault.NotFound)
	start(t, alice, bob, oneTime)
	for range 3 {
		say(t, alice, bob, "there")
		say(t, bob, alice, "and back")
		start(t, alice, bob, oneTime)
		say(t, alice, bob, "in a newer session")
	}
	late := send(t, bob, alice, "on its way")
	older := send(t, alice, bob, "made before")
	if err := session(t, alice, bob).Retire(2, alice.Store.Save(bob.Address())); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		_, err := alice.Send(bob.Address(), "x")
		wantFault(t, fmt.Sprint("sent, reloaded: ", i > 0), err, fault.Stale)
		alice.Reload()
	}
	if n := session(t, alice, bob).Info().Archived; n != 2 {
		t.Errorf("%d archived sessions, want 2", n)
	}
	read(t, alice, bob, older, "made before")
	start(t, alice, bob, oneTime)
	say(t, alice, bob, "begun anew")
	read(t, bob, alice, late, "on its way") // its ratchet key is new, and makes no chain
	_, err := alice.Send(bob.Address(), "x")
	wantFault(t, "sent in the session that came back", err, fault.Stale)
	start(t, alice, bob, oneTime)
	say(t, alice, bob, "begun once more")
	say(t, bob, alice, "fine")
}

// A message in a chain that was known brings its session back, but no key of the retired one.
func TestRetiredSessionComesBack(t *testing.T) {
	alice, bob := meet(t)
	start(t, alice, bob, oneTime)
	say(t, alice, bob, "a")
	say(t, bob, alice, "b")
	late := send(t, bob, alice, "in the same chain")
	if err := session(t, alice, bob).Retire(40, alice.Store.Save(bob.Address())); err != nil {
		t.Fatal(err)
	}
	start(t, alice, bob, oneTime)
	say(t, alice, bob, "in a new session")
	read(t, bob, alice, late, "in the same chain")
	_, err := alice.Send(bob.Address(), "x")
	wantFault(t, "sent in the retired session", err, fault.Stale)
	start(t, alice, bob, oneTime)
	say(t, alice, bob, "another one")
	say(t, bob, alice, "fine")
}
