package ratchet_test

import (
	"errors"
	"testing"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// An old copy, of a record that is still in use or of one that was given up since, is told by the highest counter that was seen.
func TestS01_OldRecordIsRolledBack(t *testing.T) {
	alice, bob := meet(t)
	var old []copied
	used := map[ratchet.KeyName]bool{}
	send := func() {
		t.Helper()
		old = append(old, copied{stored(t, alice, bob), alice.PreKeys.Record()})
		alice.Bundle(oneTime)
		m := send(t, alice, bob, "text")
		if used[ratchet.KeyOf(m)] {
			t.Error("a message key was used twice")
		}
		used[ratchet.KeyOf(m)] = true
		read(t, alice, bob, m, "text")
	}
	alice.Bundle(oneTime)
	for range 5 {
		send()
	}
	for range 3 { // the record is given up, with the prekeys
		old = append(old, copied{stored(t, alice, bob), alice.PreKeys.Record()})
		seen, keys := alice.Store.Counter(bob.Address()), alice.PreKeys.Counter()
		alice.Drop(bob.Address())
		alice.PreKeys = ratchet.NewPreKeys(alice.Local, keys)
		if n := session(t, alice, bob).Info().Counter; n != seen {
			t.Fatalf("the counter was %d and is %d", seen, n)
		}
		start(t, alice, bob, oneTime)
		var first *ratchet.Change
		m, err := session(t, alice, bob).Encrypt([]byte("anew"), ratchettest.Day, func(c ratchet.Change) error {
			first = &c
			return alice.Store.Save(bob.Address())(c)
		})
		if err != nil || !first.Begins || first.Counter != seen+1 || used[ratchet.KeyOf(m)] {
			t.Fatalf("begins %v, at %d, after %d; key used before: %v; %v", first.Begins, first.Counter, seen, used[ratchet.KeyOf(m)], err)
		}
		used[ratchet.KeyOf(m)] = true
		read(t, alice, bob, m, "anew")
		alice.Bundle(oneTime)
		if n := alice.PreKeys.Counter(); n != keys+1 {
			t.Errorf("the prekeys were at %d and are at %d", keys, n)
		}
		for range 3 {
			send()
		}
		alice.Reload() // nothing of the old record is left in the store
		say(t, bob, alice, "an answer")
	}
	for i, c := range old {
		s, err := ratchet.OpenSession(alice.Local, bob.Address(), c.parts, alice.Store.Counter(bob.Address()))
		if s != nil || !errors.Is(err, fault.RolledBack) {
			t.Errorf("record %d of %d: %v", i, len(old), err)
		}
		p, err := ratchet.OpenPreKeys(alice.Local, c.preKeys, alice.PreKeys.Counter())
		if p != nil || !errors.Is(err, fault.RolledBack) {
			t.Errorf("prekeys %d of %d: %v", i, len(old), err)
		}
	}
	t.Logf("%d old records, %d keys, none twice", len(old), len(used))
}

type copied struct {
	parts   []ratchet.Part
	preKeys []byte
}

// Two agents read first messages with the same prekeys at once, of one peer or of two: the slower one stores nothing, neither the session
// nor the prekeys, and reads its message when it has opened the prekeys and the session again.
func TestS05_TwoFirstMessagesAtOnce(t *testing.T) {
	for _, samePeer := range []bool{true, false} {
		alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
		other := ratchettest.NewParty("carol")
		if samePeer {
			other = alice
		}
		list := bundles(t, bob, 2, oneTime, ratchettest.Day)
		second := bob.Again()
		if err := alice.Start(&list[0]); err != nil {
			t.Fatal(err)
		}
		m := send(t, alice, bob, "first")
		if err := other.Start(&list[1]); err != nil {
			t.Fatal(err)
		}
		late := send(t, other, bob, "second")
		session(t, second, other) // opened before the first message is read

		for i, c := range []struct {
			agent, from *ratchettest.Party
			m           ratchet.Message
			want        error
		}{{bob, alice, m, nil}, {second, other, late, fault.Conflict}} {
			before, counter := bob.Store.Copy(), c.agent.PreKeys.Counter()
			body, err := session(t, c.agent, c.from).Decrypt(c.m, c.agent.PreKeys, func(change ratchet.Change) error {
				if n, err := ratchet.PreKeysCounter(change.PreKeys); err != nil || n != change.PreKeysCounter || n != counter+1 {
					t.Errorf("prekeys %d, said to be %d; they were at %d; %v", n, change.PreKeysCounter, counter, err)
				}
				return bob.Store.Save(c.from.Address())(change)
			})
			if !errors.Is(err, c.want) || (body == nil) != (c.want != nil) {
				t.Fatalf("message %d: %q, %v", i, body, err)
			}
			if c.want != nil && !bob.Store.Same(before) {
				t.Error("what was refused changed the store")
			}
		}
		_, err := second.Receive(other.Address(), late)
		wantFault(t, "without opening again", err, fault.Conflict)
		_, err = second.PreKeys.Rotate(ratchettest.Day.Add(8*day), bob.Store.SavePreKeys)
		wantFault(t, "Rotate without opening the prekeys again", err, fault.Conflict)
		second.Reload()
		read(t, other, second, late, "second")
		bob.Reload()
		if n := bob.PreKeys.Remaining(); n != 0 {
			t.Errorf("%d prekeys remain", n)
		}
		say(t, bob, alice, "to the first")
		bob.Reload()
		say(t, bob, other, "to the second")
	}
}
