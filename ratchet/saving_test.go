package ratchet_test

import (
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// recovered calls do and wants it to panic with what.
func recovered(t *testing.T, what string, do func()) {
	t.Helper()
	defer func() {
		if r := recover(); r != what {
			t.Errorf("recovered %v, want %s", r, what)
		}
	}()
	do()
}

// A save that panics leaves nobody knowing what is stored: session and prekeys refuse everything until they are opened again.
func TestPanicInSaveOfAFirstMessage(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	m := send(t, alice, bob, "hello")
	s := session(t, bob, alice)
	recovered(t, "gone", func() { _, _ = s.Decrypt(m, bob.PreKeys, func(ratchet.Change) error { panic("gone") }) })
	refusesEverything(t, s, m, bob, alice)
	preKeysRefuse(t, bob)
	if n := bob.PreKeys.Remaining(); n != 1 { // nothing waits for a lock that nobody holds any more
		t.Errorf("%d remain", n)
	}
	bob.Reload()
	read(t, alice, bob, m, "hello")

	s = session(t, bob, alice)
	reply := send(t, alice, bob, "on its way")
	recovered(t, "gone", func() { _, _ = s.Encrypt(nil, ratchettest.Day, func(ratchet.Change) error { panic("gone") }) })
	refusesEverything(t, s, reply, bob, alice)
	bob.Reload()
	s = session(t, bob, alice)
	recovered(t, "gone", func() { _, _ = s.Decrypt(reply, nil, func(ratchet.Change) error { panic("gone") }) })
	refusesEverything(t, s, reply, bob, alice)
	bob.Reload()
	read(t, alice, bob, reply, "on its way")

	never := func([]byte) error { panic("gone") }
	recovered(t, "gone", func() { _, _ = bob.PreKeys.Bundles(1, oneTime, ratchettest.Day, never) })
	preKeysRefuse(t, bob)
	bob.Reload()
	recovered(t, "gone", func() { _, _ = bob.PreKeys.Rotate(ratchettest.Day.Add(8*day), never) })
	preKeysRefuse(t, bob)
	bob.Reload()
	bob.Bundle(oneTime)
}

func refusesEverything(t *testing.T, s *ratchet.Session, m ratchet.Message, p, peer *ratchettest.Party) {
	t.Helper()
	never := func(ratchet.Change) error { t.Error("saved"); return nil }
	_, err := s.Encrypt(nil, ratchettest.Day, never)
	wantFault(t, "Encrypt", err, fault.Conflict)
	_, err = s.Decrypt(m, p.PreKeys, never)
	wantFault(t, "Decrypt", err, fault.Conflict)
	wantFault(t, "Start", s.Start(peer.Bundle(oneTime), ratchettest.Day), fault.Conflict)
}

func preKeysRefuse(t *testing.T, p *ratchettest.Party) {
	t.Helper()
	never := func([]byte) error { t.Error("saved"); return nil }
	for _, now := range []time.Time{ratchettest.Day, ratchettest.Day.Add(8 * day)} {
		_, err := p.PreKeys.Bundles(1, oneTime, now, never)
		wantFault(t, "Bundles", err, fault.Conflict)
		_, err = p.PreKeys.Rotate(now, never)
		wantFault(t, "Rotate", err, fault.Conflict)
	}
	carol := ratchettest.NewParty("carol")
	first := ratchettest.NewParty("bob")
	first.Local = p.Local
	start(t, carol, first, oneTime) // a bundle of prekeys that p does not have
	_, err := ratchet.NewSession(p.Local, carol.Address(), 0).Decrypt(send(t, carol, first, "hello"), p.PreKeys, nil)
	wantFault(t, "a first message", err, fault.Conflict)
}

// What is called while a record is being saved is refused, or returns: it neither waits nor makes a second message of one key.
func TestCallsWhileSaving(t *testing.T) {
	alice, bob := meet(t)
	s, calls := session(t, alice, bob), 0
	inside := func(c ratchet.Change) error {
		calls++
		refusesEverything(t, s, ratchet.Message{Type: ratchet.TypeMessage}, alice, bob)
		if info := s.Info(); info.Counter != c.Counter-1 {
			t.Errorf("the counter is %d before %d is stored", info.Counter, c.Counter)
		}
		return alice.Store.Save(bob.Address())(c)
	}
	m, err := s.Encrypt([]byte("once"), ratchettest.Day, inside)
	if err != nil {
		t.Fatal(err)
	}
	read(t, alice, bob, m, "once")
	if _, err = s.Decrypt(send(t, bob, alice, "text"), nil, inside); err != nil {
		t.Fatal(err)
	}
	say(t, alice, bob, "and on")

	start(t, alice, bob, oneTime)
	counter, remaining := bob.PreKeys.Counter(), bob.PreKeys.Remaining()
	asks := func() {
		t.Helper()
		calls++
		if c, r := bob.PreKeys.Counter(), bob.PreKeys.Remaining(); c != counter || r != remaining {
			t.Errorf("at %d with %d, before the change is stored; were at %d with %d", c, r, counter, remaining)
		}
	}
	if _, err = session(t, bob, alice).Decrypt(send(t, alice, bob, "first"), bob.PreKeys, func(c ratchet.Change) error {
		asks()
		return bob.Store.Save(alice.Address())(c)
	}); err != nil {
		t.Fatal(err)
	}
	counter, remaining = counter+1, remaining-1
	save := func(record []byte) error {
		asks()
		return bob.Store.SavePreKeys(record)
	}
	if _, err = bob.PreKeys.Bundles(3, oneTime, ratchettest.Day, save); err != nil {
		t.Fatal(err)
	}
	counter, remaining = counter+1, remaining+3
	if _, err = bob.PreKeys.Rotate(ratchettest.Day.Add(8*day), save); err != nil {
		t.Fatal(err)
	}
	if calls != 5 {
		t.Errorf("%d calls", calls)
	}
}
