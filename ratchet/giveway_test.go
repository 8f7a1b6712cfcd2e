package ratchet_test

import (
	"slices"
	"testing"

	"coldframe/ratchet"
)

// A session that was started, and no message made with, gives way to the old one: it is not archived and takes no slot.
func TestStartGivesWay(t *testing.T) {
	alice, bob := meet(t)
	old := session(t, alice, bob).BaseKey()
	for range 3 {
		m := send(t, bob, alice, "of the old session")
		start(t, alice, bob, oneTime)
		if info := session(t, alice, bob).Info(); info.Archived != 1 || !info.Unacknowledged {
			t.Errorf("after Start: %+v", info)
		}
		read(t, bob, alice, m, "of the old session")
		if s := session(t, alice, bob); s.BaseKey() != old || s.Info().Archived != 0 || s.Info().Unacknowledged {
			t.Errorf("the old session is not the current one: %+v", s.Info())
		}
		if ids := partIDs(stored(t, alice, bob)); slices.Max(ids) >= 8 {
			t.Errorf("parts %d: another slot than the first is taken", ids)
		}
		sameParts(t, "the session in memory", session(t, alice, bob).Record(), stored(t, alice, bob))
		say(t, alice, bob, "as before")
	}
	// The same where it is the peer who starts one.
	start(t, alice, bob, oneTime)
	start(t, bob, alice, oneTime)
	say(t, bob, alice, "a new one")
	if n := session(t, alice, bob).Info().Archived; n != 1 {
		t.Errorf("%d archived sessions, want the old one alone", n)
	}
	say(t, alice, bob, "in the new one")
}

func partIDs(parts []ratchet.Part) (ids []ratchet.PartID) {
	for _, p := range parts {
		ids = append(ids, p.ID)
	}
	return ids
}

// However often one starts, what is kept is pushed out by the message of a new session at the earliest.
func TestStartsPushOutNothing(t *testing.T) {
	alice, bob := crowd(t)
	before := session(t, alice, bob).BaseKeys()
	m := send(t, bob, alice, "of the current session")
	b := bob.Bundle(lastResort)
	for range 50 {
		if err := alice.Start(b); err != nil {
			t.Fatal(err)
		}
	}
	read(t, bob, alice, m, "of the current session")
	if got := session(t, alice, bob).BaseKeys(); !slices.Equal(got, before) {
		t.Errorf("%d sessions, there were %d, or in another order", len(got), len(before))
	}
	alice.Reload()
	if got := session(t, alice, bob).BaseKeys(); !slices.Equal(got, before) {
		t.Error("other sessions are stored")
	}

	// The message of a new one does push out the oldest, and nothing else.
	for range 50 {
		if err := alice.Start(b); err != nil {
			t.Fatal(err)
		}
	}
	say(t, alice, bob, "a new one")
	for range 2 {
		if got := session(t, alice, bob).BaseKeys(); len(got) != 1+mostArchived || !slices.Equal(got[1:], before[:mostArchived]) {
			t.Errorf("%d sessions, or not those that were there", len(got))
		}
		alice.Reload()
	}
	say(t, bob, alice, "fine")
}
