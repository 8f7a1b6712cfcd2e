package ratchet_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// rotate calls Rotate and wants it to say whether something changed, and to save if so.
func rotate(t *testing.T, p *ratchettest.Party, now time.Time, want bool) {
	t.Helper()
	before, saved := p.PreKeys.Record(), 0
	changed, err := p.PreKeys.Rotate(now, func(record []byte) error {
		saved++
		return p.Store.SavePreKeys(record)
	})
	if err != nil || changed != want || (saved == 1) != want {
		t.Errorf("Rotate on %v: %v, %v, saved %d times; want %v", now, changed, err, saved, want)
	}
	if bytes.Equal(p.PreKeys.Record(), before) == want {
		t.Errorf("Rotate on %v: the record changed: %v", now, !want)
	}
}

func TestRotateSaysWhatItDid(t *testing.T) {
	bob := ratchettest.NewParty("bob")
	at := func(days float64) time.Time { return ratchettest.Day.Add(time.Duration(days * float64(day))) }
	rotate(t, bob, at(0), true) // there were none
	rotate(t, bob, at(0), false)
	rotate(t, bob, at(7), false)
	rotate(t, bob, at(7.1), true)
	bob.Reload()
	rotate(t, bob, at(7.1), false)
	rotate(t, bob, at(14.2), true)
	if ids := bob.PreKeys.IDs(); len(ids.Signed) != 3 || len(ids.LastResort) != 3 {
		t.Errorf("%v", ids)
	}
	bundles(t, bob, 1, lastResort, at(14.3)) // the same keys
	rotate(t, bob, at(14.3), false)
	bob.PreKeys.FillFirsts(4_096 / 2)
	rotate(t, bob, at(14.3), true) // the last-resort prekey alone
	if ids := bob.PreKeys.IDs(); len(ids.Signed) != 3 || len(ids.LastResort) != 4 {
		t.Errorf("%v", ids)
	}
	rotate(t, bob, at(200), true)
	rotate(t, bob, at(400), true) // as many come as go
	if ids := bob.PreKeys.IDs(); len(ids.Signed) != 2 || len(ids.LastResort) != 2 {
		t.Errorf("all but the newest two were retired long ago: %v", ids)
	}
}

// A clock that is far off, once, and then is right again: prekeys are replaced as before, and those of before serve on.
func TestClockThatWasWrongOnce(t *testing.T) {
	for _, off := range []time.Duration{10 * 365 * day, -10 * 365 * day, 31 * day, -31 * day} {
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			now := ratchettest.Day
			bob := ratchettest.NewParty("bob")
			rotate(t, bob, now.Add(-day), true)
			first := bundles(t, bob, 1, lastResort, now)[0]
			rotate(t, bob, now.Add(off), true)
			wrong := bundles(t, bob, 1, lastResort, now.Add(off))[0]
			if first.SignedPreKey.ID == wrong.SignedPreKey.ID {
				t.Fatal("the clock makes no difference")
			}
			var last *ratchet.Bundle
			replaced := 0
			for i := range 29 { // once a day, with the right clock again
				at := now.Add(time.Duration(i) * day)
				if _, err := bob.PreKeys.Rotate(at, bob.Store.SavePreKeys); err != nil {
					t.Fatal(err)
				}
				b := bundles(t, bob, 1, lastResort, at)[0]
				if age := at.Sub(b.SignedPreKey.Made); age < 0 || age > ratchet.PreKeyRotation {
					t.Fatalf("on day %d the signed prekey is %v old", i, age)
				}
				if last == nil || last.SignedPreKey.ID != b.SignedPreKey.ID {
					if replaced++; last != nil && last.KEMPreKey.ID == b.KEMPreKey.ID {
						t.Error("the last-resort prekey is not replaced with the signed one")
					}
				}
				last = &b
				// Messages that were on their way while the clock was wrong, and those of its own time, are read.
				for _, old := range []ratchet.Bundle{first, wrong} {
					alice, kept := ratchettest.NewParty("alice"), bob.Store.Copy()
					s := session(t, alice, bob)
					if err := s.Start(&old, old.SignedPreKey.Made); err != nil {
						t.Fatal(err)
					}
					m, err := s.Encrypt([]byte("on its way"), old.SignedPreKey.Made, alice.Store.Save(bob.Address()))
					if err != nil {
						t.Fatal(err)
					}
					read(t, alice, bob, m, "on its way")
					bob.Restore(kept)
				}
			}
			if replaced != 4 {
				t.Errorf("replaced %d times in 29 days", replaced)
			}
		})
	}
}

// Without the identity key, as when the vault is locked, nothing is made, nothing is used up, and what needs no identity goes on.
func TestLockedIdentityUsesNothingUp(t *testing.T) {
	alice, bob := meet(t)
	carol := ratchettest.NewParty("carol")
	start(t, alice, carol, oneTime)
	start(t, carol, bob, lastResort)
	first := send(t, carol, bob, "a first message")
	key := bob.Local.Identity.Key()
	b := carol.Bundle(oneTime)
	bob.Local.Identity.Wipe()

	before, keys := stored(t, bob, alice), bob.PreKeys.Record()
	never := func([]byte) error { t.Error("saved"); return nil }
	wantFault(t, "Start", bob.Start(b), fault.Locked)
	wantFault(t, "Start where there is a session", bob.Start(alice.Bundle(oneTime)), fault.Locked)
	for _, o := range []ratchet.BundleOptions{oneTime, {}} {
		list, err := bob.PreKeys.Bundles(1, o, ratchettest.Day, never)
		wantFault(t, "Bundles", err, fault.Locked)
		if list != nil {
			t.Error("bundles and an error")
		}
	}
	changed, err := bob.PreKeys.Rotate(ratchettest.Day.Add(8*day), never)
	wantFault(t, "Rotate", err, fault.Locked)
	if changed {
		t.Error("Rotate without a key changed something")
	}
	changed, err = bob.PreKeys.Rotate(ratchettest.Day, never)
	if changed || err != nil {
		t.Errorf("Rotate with nothing to do: %v, %v", changed, err)
	}
	refuse(t, carol, bob, first, fault.Locked)
	unchanged(t, bob, alice, before, keys)
	for range 3 { // sessions that there are go on
		say(t, alice, bob, "text")
		say(t, bob, alice, "text")
	}

	if bob.Local.Identity, err = ratchet.IdentityFromKey(key); err != nil {
		t.Fatal(err)
	}
	read(t, carol, bob, first, "a first message")
	bundles(t, bob, 1, oneTime, ratchettest.Day)
	rotate(t, bob, ratchettest.Day.Add(8*day), true)
}
