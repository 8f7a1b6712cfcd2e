package ratchet_test

import (
	"errors"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// A record whose counter is below the highest that was seen is not opened; nor are such prekeys.
func TestS01_RolledBack(t *testing.T) {
	alice, bob := meet(t)
	old, oldKeys := stored(t, alice, bob), bob.PreKeys.Record()
	say(t, alice, bob, "newer")
	bob.Bundle(oneTime)
	seen, seenKeys := alice.Store.Counter(bob.Address()), bob.PreKeys.Counter()
	s, err := ratchet.OpenSession(alice.Local, bob.Address(), old, seen)
	wantFault(t, "an old record", err, fault.RolledBack)
	p, err := ratchet.OpenPreKeys(bob.Local, oldKeys, seenKeys)
	wantFault(t, "old prekeys", err, fault.RolledBack)
	if s != nil || p != nil {
		t.Error("something beside the error")
	}
	for _, before := range []uint64{0, seen - 1, seen} {
		if _, err := ratchet.OpenSession(alice.Local, bob.Address(), stored(t, alice, bob), before); err != nil {
			t.Error(err)
		}
	}
	if _, err := ratchet.OpenPreKeys(bob.Local, bob.PreKeys.Record(), seenKeys); err != nil {
		t.Error(err)
	}
}

// A record that was given up is followed by one whose counter goes on, so that the old one is not taken for it.
func TestS04_CounterOutlivesTheRecord(t *testing.T) {
	alice, bob := meet(t)
	old, seen := stored(t, alice, bob), alice.Store.Counter(bob.Address())
	s := ratchet.NewSession(alice.Local, bob.Address(), seen)
	if err := s.Start(bob.Bundle(oneTime), ratchettest.Day); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		m, err := s.Encrypt([]byte("text"), ratchettest.Day, func(c ratchet.Change) error {
			if c.Counter != seen+1+uint64(i) || c.Begins != (i == 0) {
				t.Errorf("change %d: counter %d, begins %v; %d was seen", i, c.Counter, c.Begins, seen)
			}
			return alice.Store.Save(bob.Address())(c)
		})
		if err != nil {
			t.Fatal(err)
		}
		read(t, alice, bob, m, "text")
	}
	_, err := ratchet.OpenSession(alice.Local, bob.Address(), old, alice.Store.Counter(bob.Address()))
	wantFault(t, "the record that was given up", err, fault.RolledBack)
	alice.Reload()
	say(t, alice, bob, "opened anew")
	say(t, bob, alice, "and answered")
}

// A Save that panics leaves a session, and prekeys, that are to be opened again.
func TestPanickingSave(t *testing.T) {
	alice, bob := meet(t)
	gone := errors.New("gone")
	panics := func(do func()) {
		t.Helper()
		defer func() {
			if r := recover(); r != gone { //nolint:errorlint // the very value
				t.Errorf("recovered %v", r)
			}
		}()
		do()
	}
	s := session(t, alice, bob)
	panics(func() { _, _ = s.Encrypt(nil, ratchettest.Day, func(ratchet.Change) error { panic(gone) }) })
	_, err := s.Encrypt(nil, ratchettest.Day, alice.Store.Save(bob.Address()))
	wantFault(t, "after a panic", err, fault.Conflict)
	panics(func() {
		_, _ = bob.PreKeys.Bundles(1, oneTime, ratchettest.Day, func([]byte) error { panic(gone) })
	})
	_, err = bob.PreKeys.Bundles(1, oneTime, ratchettest.Day, bob.Store.SavePreKeys)
	wantFault(t, "after a panic", err, fault.Conflict)
	alice.Reload()
	bob.Reload()
	say(t, alice, bob, "again")
	bob.Bundle(oneTime)
}

// While a first message is being saved the prekeys answer what is asked for the event log, and nothing deadlocks.
func TestPreKeysAnswerWhileSaving(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	m := send(t, alice, bob, "hello")
	_, err := session(t, bob, alice).Decrypt(m, bob.PreKeys, func(c ratchet.Change) error {
		if n := bob.PreKeys.Remaining(); n != 1 {
			t.Errorf("%d remain before the change is stored", n)
		}
		if c.PreKeysCounter != bob.PreKeys.Counter()+1 {
			t.Errorf("counter %d, after %d", c.PreKeysCounter, bob.PreKeys.Counter())
		}
		return bob.Store.Save(alice.Address())(c)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := bob.PreKeys.Remaining(); n != 0 {
		t.Errorf("%d remain", n)
	}
}

// Without the identity key, as after the vault was locked, what needs it says so and changes nothing; what does not goes on.
func TestLockedIdentity(t *testing.T) {
	k := secret.Random()
	id, err := ratchet.IdentityFromKey(k)
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	bob.Local.Identity = id
	introduce(t, alice, bob)
	carol := ratchettest.NewParty("carol")
	start(t, carol, bob, oneTime)
	first := send(t, carol, bob, "hello")
	before, keys := stored(t, bob, alice), bob.PreKeys.Record()
	id.Wipe()

	wantFault(t, "Start", bob.Start(alice.Bundle(oneTime)), fault.Locked)
	_, err = bob.PreKeys.Bundles(1, oneTime, ratchettest.Day, bob.Store.SavePreKeys)
	wantFault(t, "Bundles", err, fault.Locked)
	_, err = bob.PreKeys.Rotate(ratchettest.Day.Add(9*day), bob.Store.SavePreKeys)
	wantFault(t, "Rotate", err, fault.Locked)
	_, err = bob.Receive(carol.Address(), first)
	wantFault(t, "a first message", err, fault.Locked)
	unchanged(t, bob, alice, before, keys)
	say(t, alice, bob, "a session needs the public key only")
	say(t, bob, alice, "in both directions")
}

// Rotate changes something when it is due, and says so.
func TestRotate(t *testing.T) {
	bob := ratchettest.NewParty("bob")
	for _, c := range []struct {
		days    int
		changed bool
	}{{0, true}, {0, false}, {6, false}, {8, true}, {8, false}, {16, true}, {45, true}, {90, true}} {
		before := bob.PreKeys.Counter()
		changed, err := bob.PreKeys.Rotate(ratchettest.Day.Add(time.Duration(c.days)*day), bob.Store.SavePreKeys)
		if err != nil || changed != c.changed || (bob.PreKeys.Counter() != before) != changed {
			t.Errorf("day %d: %v, %v; the counter was %d and is %d", c.days, changed, err, before, bob.PreKeys.Counter())
		}
		bob.Reload()
	}
	if ids := bob.PreKeys.IDs(); len(ids.Signed) != 2 || len(ids.LastResort) != 2 {
		t.Errorf("after three months: %v", ids)
	}
	bob.PreKeys.Wipe()
	_, err := bob.PreKeys.Rotate(ratchettest.Day, bob.Store.SavePreKeys)
	wantFault(t, "after Wipe", err, fault.Conflict)
}

// A forged message costs one effort over all archived sessions: a gap that each of them alone would bear is too much for two.
func TestS07_OneEffortForAllArchivedSessions(t *testing.T) {
	const gap = mostAhead/2 + 500
	alice, bob := meet(t)
	session(t, alice, bob).Skip(gap, true)
	far := send(t, alice, bob, "far away")
	started := bob.Store.Copy()
	for _, c := range []struct {
		newer int
		lost  bool
	}{{1, false}, {2, true}} { // it is the last of so many sessions that are archived
		bob.Restore(started.Copy())
		other := ratchettest.NewParty("alice")
		other.Local = alice.Local
		for range c.newer {
			other.Drop(bob.Address())
			if err := other.Start(bob.Bundle(oneTime)); err != nil {
				t.Fatal(err)
			}
			m := send(t, other, bob, "newer")
			read(t, other, bob, m, "newer")
		}
		if c.lost {
			refuse(t, alice, bob, far, fault.NotAuthentic)
		} else {
			read(t, alice, bob, far, "far away")
		}
	}
}
