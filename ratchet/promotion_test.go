package ratchet_test

import (
	"fmt"
	"slices"
	"testing"

	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// slotsPut returns the slots of the parts that a change puts or drops, but for the head and the archive, and how many bytes it puts.
func slotsPut(c ratchet.Change) (slots []int, size int) {
	const head, archive = 0, 7
	var ids []ratchet.PartID
	for _, p := range c.Put {
		ids = append(ids, p.ID)
		size += len(p.Body)
	}
	for _, id := range append(ids, c.Drop...) {
		if id != head && id != archive {
			slots = append(slots, int(id)/8)
		}
	}
	slices.Sort(slots)
	return slices.Compact(slots), size
}

// A message of an archived session makes it the current one. That rewrites what these two have, and nothing of the others, of which each
// has thousands of bytes of seeds here.
func TestPromotionRewritesTwoSessions(t *testing.T) {
	const skipped = 300
	alice, bob := meet(t)
	var late []ratchet.Message
	for i := range 1 + mostArchived {
		if i > 0 {
			introduce(t, alice, bob)
		}
		late = append(late, send(t, alice, bob, fmt.Sprint(i)))
		session(t, alice, bob).Skip(skipped, true)
		say(t, alice, bob, "far away")
	}
	s := session(t, bob, alice)
	if n := s.Info().Archived; n != mostArchived {
		t.Fatalf("%d archived sessions", n)
	}
	whole := 0
	for _, p := range stored(t, bob, alice) {
		whole += len(p.Body)
	}
	largest := 0
	for at, i := range []int{0, mostArchived / 2, mostArchived, 1, mostArchived - 1} {
		if at == 2 {
			bob.Reload()
			s = session(t, bob, alice)
		}
		var change []int
		var body []byte
		var err error
		n := allocated(func() {
			body, err = s.Decrypt(late[i], bob.PreKeys, func(c ratchet.Change) error {
				slots, size := slotsPut(c)
				change, largest = slots, max(largest, size)
				return bob.Store.Save(alice.Address())(c)
			})
		})
		if n > uint64(whole)/2 {
			t.Errorf("%d bytes are allocated: are all sessions encoded?", n)
		}
		if err != nil || string(body) != fmt.Sprint(i) {
			t.Fatalf("%q, %v", body, err)
		}
		if len(change) != 2 {
			t.Errorf("a message of session %d rewrites slots %d", i, change)
		}
		same(t, bob, alice)
		m, err := s.Encrypt([]byte("back"), ratchettest.Day, func(c ratchet.Change) error {
			if slots, _ := slotsPut(c); len(slots) > 1 || slices.ContainsFunc(c.Put, func(p ratchet.Part) bool { return p.ID == 7 }) {
				t.Errorf("a message of the current session rewrites slots %d", slots)
			}
			return bob.Store.Save(alice.Address())(c)
		})
		if err != nil {
			t.Fatal(err)
		}
		if at%2 == 0 { // the initiator follows
			read(t, bob, alice, m, "back")
			same(t, alice, bob)
		}
	}
	t.Logf("the record has %d bytes, a promotion puts at most %d", whole, largest)
	if largest > 2*skipped*(40+37)+14_000 {
		t.Errorf("a promotion puts %d bytes", largest)
	}
	// A new session: one that is archived, one that is gone, and the new one in its place.
	if err := alice.Start(bob.Bundle(oneTime)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Decrypt(send(t, alice, bob, "new"), bob.PreKeys, func(c ratchet.Change) error {
		if slots, size := slotsPut(c); len(slots) != 2 || size > skipped*(40+37)+16_000 {
			t.Errorf("a new session rewrites slots %d, %d bytes", slots, size)
		}
		return bob.Store.Save(alice.Address())(c)
	}); err != nil {
		t.Fatal(err)
	}
	same(t, bob, alice)
}

// same wants the record that is stored to be the one in memory, and the one that is made when it is opened.
func same(t *testing.T, p, peer *ratchettest.Party) {
	t.Helper()
	parts := stored(t, p, peer)
	sameParts(t, "the session in memory", session(t, p, peer).Record(), parts)
	s, err := ratchet.OpenSession(p.Local, peer.Address(), parts, p.Store.Counter(peer.Address()))
	if err != nil {
		t.Fatal(err)
	}
	sameParts(t, "the opened record", s.Record(), parts)
}
