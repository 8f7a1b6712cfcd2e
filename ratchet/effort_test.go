package ratchet_test

import (
	"encoding/binary"
	"runtime"
	"testing"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

const mostArchived = 40

// crowd returns two parties that have 41 sessions with one another, of which all have been used by both.
func crowd(t tester) (alice, bob *ratchettest.Party) {
	t.Helper()
	alice, bob = meet(t)
	for range mostArchived {
		introduce(t, alice, bob)
	}
	if a, b := session(t, alice, bob).Info().Archived, session(t, bob, alice).Info().Archived; a != mostArchived || b != mostArchived {
		t.Fatalf("%d and %d archived sessions", a, b)
	}
	return alice, bob
}

// forged is a message that anyone can make who has seen one: of this ratchet key, or a random one, as far ahead as is allowed.
func forged(key [32]byte) ratchet.Message {
	header := append(binary.AppendUvarint([]byte{1, 1}, mostAhead-1), 0) // version, epoch, number, no chunk
	body := append([]byte{0x44, 1<<3 | 2, 33, 5}, key[:]...)
	body = binary.AppendUvarint(append(body, 2<<3), mostAhead)
	body = append(append(body, 4<<3|2, 16), make([]byte, 16)...)
	body = append(append(body, 5<<3|2, byte(len(header))), header...)
	return ratchet.Message{Type: ratchet.TypeMessage, Body: append(body, make([]byte, 8)...)}
}

func randomPublic() [32]byte { return ratchet.NewIdentity().Public() }

// A message that nobody authenticated has keys passed over in 41 sessions, and in all no more than in two.
func TestS07_ForgedForManySessions(t *testing.T) {
	alice, bob := crowd(t)
	seen := send(t, alice, bob, "an honest one")
	read(t, alice, bob, seen, "an honest one")
	for name, forgery := range map[string]ratchet.Message{
		"a new ratchet key":   forged(randomPublic()),
		"a known ratchet key": forged(ratchet.KeyOf(seen).RatchetKey),
		"a signed prekey":     forged(bob.Bundle(oneTime).SignedPreKey.Public),
	} {
		for _, p := range [][2]*ratchettest.Party{{alice, bob}, {bob, alice}} {
			if _, err := p[1].Receive(p[0].Address(), forgery); err == nil {
				t.Fatal("read")
			}
			seeds, keys := session(t, p[1], p[0]).Passed(forgery)
			if name == "a new ratchet key" && (seeds != 2*mostAhead || keys == 0) {
				t.Errorf("%s: %d seeds and %d keys are passed over: not the sessions' own count, or another message", name, seeds, keys)
			}
			if seeds > 2*mostAhead || keys > 2*mostAhead {
				t.Errorf("%s: %d seeds and %d keys are passed over", name, seeds, keys)
			}
			// What is passed over is kept till the MAC is known to be wrong: 2,000 of each take some 200 KB a session.
			if n := allocated(func() { _, _ = p[1].Receive(p[0].Address(), forgery) }); n > 2_000_000 {
				t.Errorf("%s: %d bytes are allocated", name, n)
			} else {
				t.Logf("%s: %d seeds, %d keys, %d bytes", name, seeds, keys, n)
			}
		}
	}
	refuse(t, alice, bob, forged(randomPublic()), fault.NotAuthentic)
	say(t, alice, bob, "another honest one")
}

func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A true message far ahead in an archived session is read, whatever the other archived ones would have spent on it.
func TestFarAheadInAnArchivedSession(t *testing.T) {
	for name, c := range map[string]struct {
		answered bool // the message brings a new ratchet key
		archived int  // sessions begun since; the message is of the oldest
	}{
		"known ratchet key":                   {false, 5},
		"known ratchet key, as many as there": {false, mostArchived},
		"new ratchet key":                     {true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := meet(t)
			say(t, alice, bob, "the first of this chain")
			if c.answered {
				say(t, bob, alice, "an answer")
			}
			session(t, alice, bob).Skip(mostAhead-100, true)
			m := send(t, alice, bob, "far ahead")
			for range c.archived {
				introduce(t, alice, bob)
			}
			read(t, alice, bob, m, "far ahead")
			refuse(t, alice, bob, m, fault.Replayed)
			say(t, bob, alice, "settled in the old one")
		})
	}
}
