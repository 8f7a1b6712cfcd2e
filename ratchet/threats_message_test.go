package ratchet_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// Limits of the spec, section 10. They are written down here once more on purpose.
const (
	mostAhead   = 25_000
	mostSkipped = 2_000
	mostChains  = 5
)

// A message that is delivered three times is read once, whatever happened in between.
func TestS06_DeliveredThreeTimes(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	first := send(t, alice, bob, "first")
	read(t, alice, bob, first, "first")
	refuse(t, alice, bob, first, fault.Replayed)
	refuse(t, alice, bob, first, fault.Replayed)
	say(t, bob, alice, "answer")

	a, b, c := send(t, alice, bob, "a"), send(t, alice, bob, "b"), send(t, alice, bob, "c")
	for _, m := range []ratchet.Message{c, a, b} { // at the end of the chain, and out of a gap
		text := map[ratchet.KeyName]string{ratchet.KeyOf(a): "a", ratchet.KeyOf(b): "b", ratchet.KeyOf(c): "c"}[ratchet.KeyOf(m)]
		read(t, alice, bob, m, text)
		refuse(t, alice, bob, m, fault.Replayed)
		bob.Reload()
		refuse(t, alice, bob, m, fault.Replayed)
	}
	for range 3 { // new ratchet keys
		say(t, bob, alice, "ping")
		say(t, alice, bob, "pong")
	}
	for _, m := range []ratchet.Message{first, a, b, c} {
		refuse(t, alice, bob, m, fault.Replayed)
	}
	start(t, alice, bob, oneTime) // a new session
	say(t, alice, bob, "anew")
	for _, m := range []ratchet.Message{first, a, b, c} {
		refuse(t, alice, bob, m, fault.Replayed)
	}
}

// Everything within windows of 100 and 2,000 is read.
func TestS07_Shuffled(t *testing.T) {
	for _, window := range []int{100, mostSkipped} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			alice, bob := meet(t)
			random := rand.New(rand.NewPCG(7, uint64(window)))
			messages := make([]ratchet.Message, mostSkipped)
			for i := range messages {
				messages[i] = send(t, alice, bob, fmt.Sprint(i))
			}
			s, store := session(t, bob, alice), &plain{}
			for from := 0; from < len(messages); from += window {
				for _, i := range random.Perm(window) {
					b, err := s.Decrypt(messages[from+i], nil, store.save)
					if err != nil || string(b) != fmt.Sprint(from+i) {
						t.Fatalf("message %d: %q, %v", from+i, b, err)
					}
				}
			}
			if _, seeds := s.Kept(); seeds != 0 {
				t.Errorf("%d seeds are left", seeds)
			}
			for _, i := range random.Perm(len(messages))[:20] {
				_, err := s.Decrypt(messages[i], nil, store.save)
				wantFault(t, "a second time", err, fault.Replayed)
			}
		})
	}
}

// A gap of more than 2,000 loses its oldest messages, and only those.
func TestS07_OldestOfAGap(t *testing.T) {
	alice, bob := meet(t)
	messages := make([]ratchet.Message, mostSkipped+4)
	for i := range messages {
		messages[i] = send(t, alice, bob, fmt.Sprint(i))
	}
	last := len(messages) - 1
	read(t, alice, bob, messages[last], fmt.Sprint(last))
	for i := range last - mostSkipped {
		refuse(t, alice, bob, messages[i], fault.Replayed)
	}
	for i := last - mostSkipped; i < last; i += 400 {
		read(t, alice, bob, messages[i], fmt.Sprint(i))
	}
}

// An insider jumps ahead. What is allowed is 24,999 messages, for the post-quantum keys count from 1, and 25,000 without them: then the
// insider steps one ratchet alone.
func TestS07_JumpsAhead(t *testing.T) {
	alice, bob := meet(t)
	say(t, alice, bob, "the first of this chain")
	restart := alice.Store.Copy()
	for _, c := range []struct {
		skipped int
		both    bool
		code    fault.Code // "" is: read
	}{
		{mostAhead + 1, true, fault.TooLarge},
		{mostAhead, true, fault.TooLarge},
		{mostAhead + 1, false, fault.TooLarge},
		{mostAhead, false, ""},
		{mostAhead - 1, true, ""},
	} {
		alice.Restore(restart.Copy()) // the insider can do what it likes
		session(t, alice, bob).Skip(c.skipped, c.both)
		m := send(t, alice, bob, "far away")
		if c.code != "" {
			began := time.Now()
			refuse(t, alice, bob, m, c.code)
			t.Logf("a jump of %d is refused in %v", c.skipped, time.Since(began))
			continue
		}
		behind := bob.Store.Copy()
		read(t, alice, bob, m, "far away")
		if _, seeds := session(t, bob, alice).Kept(); seeds != mostSkipped {
			t.Errorf("%d seeds are kept", seeds)
		}
		bob.Restore(behind)
	}
}

func TestS11_Reflected(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	m := send(t, alice, bob, "first")
	refuse(t, bob, alice, m, fault.Policy) // a first message carries our own identity key
	read(t, alice, bob, m, "first")
	refuse(t, bob, alice, m, fault.Policy)
	say(t, bob, alice, "answer")
	for range 3 {
		m := send(t, alice, bob, "mine")
		refuse(t, bob, alice, m, fault.NotAuthentic)
		read(t, alice, bob, m, "mine")
		refuse(t, bob, alice, m, fault.NotAuthentic)
		say(t, bob, alice, "yours")
	}
	// The inner message of a first one, which has a MAC by our own key.
	start(t, alice, bob, oneTime)
	m = send(t, alice, bob, "again")
	ratchet.EditFirst(m, func(f *ratchet.First) {
		refuse(t, bob, alice, ratchet.Message{Type: ratchet.TypeMessage, Body: f.Message}, fault.NotAuthentic)
	})
}

// Our own bundle, served as that of somebody else.
func TestS11_OwnBundle(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	b := alice.Bundle(oneTime)
	b.Address = bob.Address()
	wantFault(t, "our own bundle", alice.Start(b), fault.Policy)
	if session(t, alice, bob).Info().Exists {
		t.Error("there is a session with ourselves")
	}
	introduce(t, alice, bob)
	before, keys := stored(t, alice, bob), alice.PreKeys.Record()
	wantFault(t, "our own bundle", alice.Start(b), fault.Policy)
	unchanged(t, alice, bob, before, keys)
}

// An insider fills one session with skipped keys: 2,000 of each kind stay, on five chains, and the newest are those.
func TestS12_OneSession(t *testing.T) {
	alice, bob := meet(t)
	var skipped []ratchet.Message
	for i := range 8 {
		for range 3 {
			skipped = append(skipped, send(t, alice, bob, fmt.Sprint(len(skipped))))
		}
		session(t, alice, bob).Skip(700, true)
		say(t, alice, bob, "far away")
		say(t, bob, alice, "answer")
		chains, seeds := session(t, bob, alice).Kept()
		if chains > mostChains || seeds > mostSkipped || i > 3 && (chains != mostChains || seeds != mostSkipped) {
			t.Fatalf("%d chains, %d seeds", chains, seeds)
		}
	}
	t.Logf("a session that is full of skipped keys has %d bytes, sealed", bob.Store.Size(alice.Address()))
	if n := bob.Store.Size(alice.Address()); n > 170_000 {
		t.Errorf("the record has %d bytes", n)
	}
	for i, m := range skipped { // each chain skipped 703 messages, its own first: of the last two all are there
		if i/3 >= 6 {
			read(t, alice, bob, m, fmt.Sprint(i))
		} else if _, err := bob.Receive(alice.Address(), m); err == nil {
			t.Errorf("message %d is read after 2,000 newer ones", i)
		}
	}
}

// And 100 sessions: 41 of them are kept, each within its limits.
func TestS12_HundredSessions(t *testing.T) {
	const skipped, most = 250, 41 * (250*(40+37) + 7_000)
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	s, store := ratchet.NewSession(bob.Local, alice.Address(), 0), &plain{}
	var largest int
	for range 100 {
		start(t, alice, bob, oneTime)
		session(t, alice, bob).Skip(skipped, true)
		if _, err := s.Decrypt(send(t, alice, bob, "far away"), bob.PreKeys, store.save); err != nil {
			t.Fatal(err)
		}
		if _, seeds := s.Kept(); seeds != skipped {
			t.Fatalf("%d seeds", seeds)
		}
		bob.PreKeys = ratchet.NewPreKeys(bob.Local, 0) // what was used is not stored here
		bob.Store = ratchettest.NewStore(bobID)
		largest = max(largest, store.size())
	}
	t.Logf("100 sessions with 250 skipped keys each: at most %d bytes", largest)
	if largest > most {
		t.Errorf("the record has up to %d bytes, more than %d", largest, most)
	}
	s, err := ratchet.OpenSession(bob.Local, alice.Address(), store.record(), 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Encrypt([]byte("still here"), ratchettest.Day, store.save)
	if err != nil {
		t.Fatal(err)
	}
	read(t, bob, alice, m, "still here")
}

// A message of one conversation, or of one sender, is not taken in another.
func TestS13_OtherConversation(t *testing.T) {
	alice, bob := meet(t)
	carol := ratchettest.NewParty("carol")
	introduce(t, alice, carol)
	introduce(t, carol, bob)
	m := send(t, alice, bob, "for Bob, from Alice")
	refuse(t, carol, bob, m, fault.NotAuthentic)
	refuse(t, alice, carol, m, fault.NotAuthentic)
	refuse(t, bob, alice, m, fault.NotAuthentic)
	read(t, alice, bob, m, "for Bob, from Alice")
	refuse(t, carol, bob, m, fault.NotAuthentic)
}

const (
	aliceID = "0e6c1f3a-5b0f-4c57-9d3e-000000000001"
	bobID   = "0e6c1f3a-5b0f-4c57-9d3e-000000000002"
	carolID = "PNI:0e6c1f3a-5b0f-4c57-9d3e-000000000001" // not Alice's, though it ends like it
)

// A first message says between whom it is, under its MAC. A sender that is not known is bound by that, one that is known by its identity.
func TestS13_FirstMessageOfAnother(t *testing.T) {
	alice, bob, carol := ratchettest.NewParty(aliceID), ratchettest.NewParty(bobID), ratchettest.NewParty(carolID)
	start(t, alice, bob, oneTime)
	m := send(t, alice, bob, "for Bob, from Alice")
	refuse(t, carol, bob, m, fault.NotAuthentic)
	refuse(t, alice, carol, m, fault.Stale) // names prekeys that Carol never had
	carol.Bundle(oneTime)
	refuse(t, alice, carol, m, fault.NotAuthentic) // and now does have, with other keys
	introduce(t, carol, bob)
	refuse(t, carol, bob, m, fault.KeyChanged)
	read(t, alice, bob, m, "for Bob, from Alice")
}

// An insider that writes other addresses under the MAC.
func TestS13_AddressesOfOthers(t *testing.T) {
	honest, bob := ratchettest.NewParty(aliceID), ratchettest.NewParty(bobID)
	for name, forge := range map[string]func(l *ratchet.Local, b *ratchet.Bundle){
		"sender's id":       func(l *ratchet.Local, _ *ratchet.Bundle) { l.Address.Name = carolID },
		"sender's device":   func(l *ratchet.Local, _ *ratchet.Bundle) { l.Address.Device = 2 },
		"receiver's id":     func(_ *ratchet.Local, b *ratchet.Bundle) { b.Address.Name = carolID },
		"receiver's device": func(_ *ratchet.Local, b *ratchet.Bundle) { b.Address.Device = 2 },
		"both swapped": func(l *ratchet.Local, b *ratchet.Bundle) {
			l.Address, b.Address = b.Address, l.Address
		},
	} {
		local, b := *honest.Local, bob.Bundle(oneTime)
		forge(&local, b)
		s := ratchet.NewSession(&local, b.Address, 0)
		if err := s.Start(b, ratchettest.Day); err != nil {
			t.Fatal(err)
		}
		m, err := s.Encrypt([]byte("text"), ratchettest.Day, func(ratchet.Change) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { refuse(t, honest, bob, m, fault.NotAuthentic) })
	}
	introduce(t, honest, bob)
}
