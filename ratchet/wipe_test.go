package ratchet_test

import (
	"fmt"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// Wipe leaves no private key in anything that the objects held, however they came by it.
func TestWipeLeavesNothing(t *testing.T) {
	alice, bob := meet(t)
	for i := range 5 {
		send(t, alice, bob, "does not come")
		say(t, alice, bob, fmt.Sprint(i))
		say(t, bob, alice, fmt.Sprint(i))
		introduce(t, alice, bob)
	}
	start(t, bob, alice, oneTime)
	for _, p := range [][2]*ratchettest.Party{{alice, bob}, {bob, alice}} {
		for _, reload := range []bool{false, true} {
			if reload {
				p[0].Reload()
			}
			s := session(t, p[0], p[1])
			held := s.Secrets()
			before := count(held)
			s.Wipe()
			t.Logf("%s: %d keys, reloaded: %v", p[0].Address().Name, before, reload)
			if before < 60 || count(held) != 0 {
				t.Errorf("%s, reloaded: %v: %d keys before, after Wipe still %d: %v", p[0].Address().Name, reload, before, count(held), names(held))
			}
			if n := count(s.Secrets()); n != 0 {
				t.Errorf("%d keys can still be reached", n)
			}
			p[0].Reload()
		}
	}
}

func TestWipeOfPreKeysLeavesNothing(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	bundles(t, bob, ratchet.MaxOneTimePreKeys, oneTime, ratchettest.Day)
	for i := range 12 { // more than are kept of each kind
		bundles(t, bob, 3, oneTime, ratchettest.Day.Add(time.Duration(i)*8*day))
	}
	start(t, alice, bob, oneTime)
	held := bob.PreKeys.Secrets()
	say(t, alice, bob, "uses some")
	if n := count(held); n != 0 {
		t.Errorf("%d keys of the set before are left: %v", n, names(held))
	}
	for range 2 {
		held = bob.PreKeys.Secrets()
		before := count(held)
		bob.PreKeys.Wipe()
		if before < 2*ratchet.MaxOneTimePreKeys || count(held) != 0 {
			t.Errorf("%d keys before, after Wipe still %d: %v", before, count(held), names(held))
		}
		if n := bob.PreKeys.Remaining(); n == 0 {
			t.Error("how many there were is forgotten")
		}
		_, err := bob.PreKeys.Bundles(1, oneTime, ratchettest.Day, bob.Store.SavePreKeys)
		wantFault(t, "Bundles after Wipe", err, fault.Conflict)
		_, err = bob.PreKeys.Rotate(ratchettest.Day, bob.Store.SavePreKeys)
		wantFault(t, "Rotate after Wipe", err, fault.Conflict)
		m := send(t, alice, bob, "a first message")
		_, err = ratchet.NewSession(bob.Local, alice.Address(), 0).Decrypt(m, bob.PreKeys, bob.Store.Save(alice.Address()))
		wantFault(t, "a first message after Wipe", err, fault.Conflict)
		bob.Reload()
	}
}

// count returns how many keys are not wiped.
func count(held []ratchet.Secret) (n int) {
	for _, s := range held {
		if s.Left() {
			n++
		}
	}
	return n
}

func names(held []ratchet.Secret) map[string]int {
	list := map[string]int{}
	for _, s := range held {
		if s.Left() {
			list[s.Name]++
		}
	}
	return list
}
