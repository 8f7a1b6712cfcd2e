package ratchet_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

const day = 24 * time.Hour

func bundles(t tester, p *ratchettest.Party, n int, o ratchet.BundleOptions, now time.Time) []ratchet.Bundle {
	t.Helper()
	list, err := p.PreKeys.Bundles(n, o, now, p.Store.SavePreKeys)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestBundles(t *testing.T) {
	bob := ratchettest.NewParty("bob")
	list := bundles(t, bob, 10, oneTime, ratchettest.Day)
	list = append(list, bundles(t, bob, 1, ratchet.BundleOptions{}, ratchettest.Day)...)
	list = append(list, bundles(t, bob, 2, lastResort, ratchettest.Day)...)
	ids := map[uint32]string{}
	once := func(id uint32, what string) {
		t.Helper()
		if id == 0 || id >= 1<<24 || ids[id] != "" {
			t.Errorf("%s has the id %d, of %q", what, id, ids[id])
		}
		ids[id] = what
	}
	once(list[0].SignedPreKey.ID, "the signed prekey")
	for i, b := range list {
		if err := b.Verify(ratchettest.Day); err != nil {
			t.Fatal(err)
		}
		if b.SignedPreKey != list[0].SignedPreKey || b.Address != bob.Address() || b.IdentityKey != bob.Local.Identity.Public() {
			t.Errorf("bundle %d is of another key, or party", i)
		}
		if i < 11 {
			once(b.KEMPreKey.ID, "a KEM prekey")
		}
		if (b.OneTimePreKey != nil) != (i < 10) {
			t.Errorf("bundle %d: one-time prekey %v", i, b.OneTimePreKey != nil)
		} else if i < 10 {
			once(b.OneTimePreKey.ID, "a one-time prekey")
		}
	}
	once(list[11].KEMPreKey.ID, "the last-resort prekey")
	if !bytes.Equal(list[11].KEMPreKey.Public, list[12].KEMPreKey.Public) {
		t.Error("there are two last-resort prekeys")
	}
	if n := bob.PreKeys.Remaining(); n != 10 {
		t.Errorf("%d remain, want 10", n)
	}
	for _, n := range []int{-1, 0, ratchet.MaxOneTimePreKeys + 1} {
		_, err := bob.PreKeys.Bundles(n, oneTime, ratchettest.Day, bob.Store.SavePreKeys)
		wantFault(t, "a number of bundles", err, fault.InvalidRequest)
	}
}

// Signed and last-resort prekeys are replaced after seven days, and serve for 30 days after that.
func TestRotation(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	at := func(days float64) time.Time { return ratchettest.Day.Add(time.Duration(days * float64(day))) }
	first := bundles(t, bob, 1, lastResort, at(0))[0]
	if b := bundles(t, bob, 1, lastResort, at(7))[0]; b.SignedPreKey != first.SignedPreKey || b.KEMPreKey.ID != first.KEMPreKey.ID {
		t.Error("the prekeys are replaced after seven days already")
	}
	second := bundles(t, bob, 1, lastResort, at(7.1))[0]
	if second.SignedPreKey == first.SignedPreKey || second.KEMPreKey.ID == first.KEMPreKey.ID || !second.SignedPreKey.Made.Equal(at(7.1)) {
		t.Error("the prekeys are not replaced after seven days")
	}
	if b := bundles(t, bob, 1, lastResort, at(2))[0]; b.SignedPreKey != second.SignedPreKey {
		t.Error("a clock that goes back replaces prekeys")
	}
	if err := alice.Start(&first); err != nil {
		t.Fatal(err)
	}
	m := send(t, alice, bob, "made of retired prekeys")
	bundles(t, bob, 1, lastResort, at(37))
	bob.Reload()
	kept := bob.Store.Copy()
	read(t, alice, bob, m, "made of retired prekeys")

	bob.Restore(kept)
	bob.Drop(alice.Address())
	bundles(t, bob, 1, lastResort, at(37.2))
	refuse(t, alice, bob, m, fault.Stale)
	for i := range 30 {
		bundles(t, bob, 1, lastResort, at(40+8*float64(i)))
	}
	if ids := bob.PreKeys.IDs(); len(ids.Signed) > 6 || len(ids.LastResort) > 6 {
		t.Errorf("%d signed and %d last-resort prekeys are kept", len(ids.Signed), len(ids.LastResort))
	}
}

// One-time prekeys serve once. The oldest go when there are too many.
func TestOneTimePreKeys(t *testing.T) {
	alice, bob, carol := ratchettest.NewParty("alice"), ratchettest.NewParty("bob"), ratchettest.NewParty("carol")
	b := bob.Bundle(oneTime)
	other := bob.Bundle(oneTime)
	for _, p := range []*ratchettest.Party{alice, carol} {
		if err := p.Start(b); err != nil {
			t.Fatal(err)
		}
	}
	late := send(t, carol, bob, "me too")
	say(t, alice, bob, "hello")
	ids := bob.PreKeys.IDs()
	if !slices.Equal(ids.OneTime, []uint32{other.OneTimePreKey.ID}) || !slices.Equal(ids.KEM, []uint32{other.KEMPreKey.ID}) {
		t.Errorf("after %d was used: %v", b.OneTimePreKey.ID, ids)
	}
	refuse(t, carol, bob, late, fault.Stale)
	bundles(t, bob, ratchet.MaxOneTimePreKeys, oneTime, ratchettest.Day)
	ids = bob.PreKeys.IDs()
	const most = ratchet.MaxOneTimePreKeys
	if len(ids.OneTime) != most || len(ids.KEM) != most || slices.Contains(ids.OneTime, other.OneTimePreKey.ID) {
		t.Errorf("%d and %d prekeys are kept", len(ids.OneTime), len(ids.KEM))
	}
	bob.Reload()
	t.Logf("the record of %d one-time prekeys of each kind has %d bytes", ratchet.MaxOneTimePreKeys, len(bob.PreKeys.Record()))
}

// A first message that is replayed after its session was lost: its one-time prekeys are gone, and a last-resort one remembers it.
func TestReplayedFirstMessages(t *testing.T) {
	for name, c := range map[string]struct {
		options ratchet.BundleOptions
		code    fault.Code
	}{
		"one-time prekeys":                     {oneTime, fault.Stale},
		"one-time KEM prekey":                  {ratchet.BundleOptions{}, fault.Stale},
		"last resort":                          {lastResort, fault.Replayed},
		"last resort with an X25519 prekey":    {ratchet.BundleOptions{OneTime: true, LastResort: true}, fault.Stale},
		"last resort, the one-time id removed": {ratchet.BundleOptions{OneTime: true, LastResort: true}, fault.Replayed},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
			start(t, alice, bob, c.options)
			m := send(t, alice, bob, "first")
			read(t, alice, bob, m, "first")
			refuse(t, alice, bob, m, fault.Replayed)
			bob.Reload()
			refuse(t, alice, bob, m, fault.Replayed)
			bob.Drop(alice.Address())
			if c.options == (ratchet.BundleOptions{OneTime: true, LastResort: true}) && c.code == fault.Replayed {
				m = ratchet.EditFirst(m, func(f *ratchet.First) { f.HasPreKey = false })
			}
			refuse(t, alice, bob, m, c.code)
			second := send(t, alice, bob, "second") // of the same handshake
			if _, err := bob.Receive(alice.Address(), second); err == nil {
				t.Error("a handshake was done twice")
			}
			// Another one is welcome.
			start(t, alice, bob, c.options)
			say(t, alice, bob, "anew")
		})
	}
}

// The record of prekeys has one form, is bound to its party, and says its version.
func TestPreKeysRecord(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	bundles(t, bob, 1, oneTime, ratchettest.Day)
	bundles(t, bob, 1, oneTime, ratchettest.Day.Add(9*day))
	start(t, alice, bob, lastResort)
	say(t, alice, bob, "hello")
	record := bob.PreKeys.Record()
	if n, err := ratchet.PreKeysCounter(record); err != nil || n != bob.PreKeys.Counter() || n != 4 {
		t.Errorf("counter %d, %v; want 4", n, err)
	}
	keys, err := ratchet.OpenPreKeys(bob.Local, record, 0)
	if err != nil || !bytes.Equal(keys.Record(), record) {
		t.Errorf("the record is another one when it is encoded again, %v", err)
	}
	_, err = ratchet.OpenPreKeys(alice.Local, record, 0)
	wantFault(t, "prekeys of another party", err, fault.NotAuthentic)
	other := *bob.Local
	other.RegistrationID++
	_, err = ratchet.OpenPreKeys(&other, record, 0)
	wantFault(t, "prekeys of another registration", err, fault.NotAuthentic)
	for _, v := range []byte{0, 2, 255} {
		c := slices.Clone(record)
		c[0] = v
		_, err = ratchet.OpenPreKeys(bob.Local, c, 0)
		wantFault(t, "another version", err, fault.Policy)
		_, err = ratchet.PreKeysCounter(c)
		wantFault(t, "another version's counter", err, fault.Policy)
	}
	altered(record, func(what string, c []byte) {
		if keys, err := ratchet.OpenPreKeys(bob.Local, c, 0); err == nil && !bytes.Equal(keys.Record(), c) {
			t.Fatalf("%s: opens, and is another record then", what)
		}
	})
	for n := range record {
		if _, err := ratchet.OpenPreKeys(bob.Local, record[:n], 0); !errors.Is(err, fault.NotAuthentic) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// Two agents of one party make bundles from one record: the slower one is refused, and hands out nothing.
func TestPreKeysConflict(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	bob.Bundle(oneTime)
	second := bob.Again()
	start(t, alice, bob, oneTime)
	list, err := second.PreKeys.Bundles(1, oneTime, ratchettest.Day, second.Store.SavePreKeys)
	if !errors.Is(err, fault.Conflict) || list != nil {
		t.Fatalf("%d bundles, %v", len(list), err)
	}
	m := send(t, alice, bob, "hello")
	session(t, bob, alice) // none yet, as far as he knows
	_, err = second.Receive(alice.Address(), m)
	wantFault(t, "prekeys that could not be saved", err, fault.Conflict)
	second.Reload()
	read(t, alice, second, m, "hello")
	_, err = bob.Receive(alice.Address(), m)
	wantFault(t, "prekeys that another agent has used", err, fault.Conflict)
	_, err = bob.PreKeys.Bundles(1, oneTime, ratchettest.Day, bob.Store.SavePreKeys)
	wantFault(t, "prekeys of an unknown state", err, fault.Conflict)
	bob.Reload()
	refuse(t, alice, bob, m, fault.Replayed)
	bob.Bundle(oneTime)
}
