package messages

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"coldframe/internal/fault"
)

// A message that comes three times, under its own id or others, is read once.
func TestS06_DeliveredThreeTimes(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, bob, alice, "hello")
	alice.enqueue(bob.p, "once")
	alice.send()
	list, _, err := bob.remote.Remote.Inbox(t.Context(), 0)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	e := list[0]
	for i, id := range []string{e.ID, e.ID, "10000000-0000-4000-8000-000000000000"} {
		bob.remote.inbox = func(uint64) ([]Envelope, bool, error) {
			return []Envelope{{Sequence: e.Sequence + uint64(i), ID: id, Sender: e.Sender, Body: e.Body}}, false, nil
		}
		bob.receive()
		bob.restart()
	}
	if got := bob.p.texts(); !slices.Equal(got, []string{"once"}) {
		t.Errorf("bob has %q", got)
	}
	want := Event{What: Dropped, Peer: alice.p.id, Code: fault.Replayed}
	if n := len(bob.events); n != 2 || bob.events[0] != want || bob.events[1] != want {
		t.Error(bob.events)
	}
}

// Our own message is not the peer's, whoever the coordinator says it is from.
func TestS11_OwnMessageReflected(t *testing.T) {
	_, alice, bob := pair(t)
	say(t, alice, bob, "one")
	say(t, bob, alice, "two")
	var own []byte
	alice.remote.post = func(_, _ string, body []byte) error { own = body; return nil }
	alice.enqueue(bob.p, "mine")
	alice.send()
	sequence := uint64(1000)
	alice.remote.inbox = func(uint64) (list []Envelope, _ bool, _ error) {
		for _, sender := range []string{alice.p.id, bob.p.id} {
			sequence++
			list = append(list, Envelope{Sequence: sequence, ID: ID{1}.String(), Sender: sender, Body: own})
		}
		return list, false, nil
	}
	if n := alice.receive(); n != 0 || alice.remote.acks != 3 { // with "two"
		t.Errorf("%d were delivered, %d acknowledged", n, alice.remote.acks)
	}
	alice.remote.inbox = nil
	alice.Rescan() // those sequence numbers were not the mailbox's
	say(t, bob, alice, "and on")
}

// A message that the coordinator hands out as another sender's, or to another receiver, does not open, and does not hold up what is right.
func TestS13_EnvelopeOfAnother(t *testing.T) {
	w, alice, bob := pair(t)
	mallory := w.person().device()
	mallory.offer(5)
	for _, d := range []*device{alice, mallory} {
		say(t, d, bob, "hello")
		say(t, bob, d, "hello")
	}
	for _, d := range []*device{alice, mallory} {
		d.enqueue(bob.p, "from "+d.p.id)
		d.send()
	}
	list, _, err := bob.remote.Remote.Inbox(t.Context(), 0)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	wrong := slices.Clone(list)
	wrong[0].Sender, wrong[1].Sender = wrong[1].Sender, wrong[0].Sender
	bob.remote.inbox = func(uint64) ([]Envelope, bool, error) { return wrong, false, nil }
	before := len(bob.p.texts())
	if n := bob.receive(); n != 0 {
		t.Errorf("%d were delivered", n)
	}
	aside, err := bob.Asides()
	if err != nil || len(aside) != 2 || aside[0].Code != fault.NotAuthentic || aside[1].Code != fault.NotAuthentic {
		t.Fatalf("%+v, %v", aside, err)
	}
	carol := w.person().device()
	carol.remote.inbox = func(uint64) ([]Envelope, bool, error) { return list, false, nil }
	if n := carol.receive(); n != 0 {
		t.Errorf("carol read %d that were for bob", n)
	}
	bob.remote.inbox = func(uint64) ([]Envelope, bool, error) { return list, false, nil }
	if n := bob.receive(); n != 2 || len(bob.p.texts()) != before+2 {
		t.Errorf("%d of what was right", n)
	}
}

// 2,000 messages, each delivered one to three times, shuffled in windows of 100: every effect once.
func TestF15_ShuffledAndRepeated(t *testing.T) {
	const messages, window = 2000 / slower / 100 * 100, 100
	_, alice, bob := pair(t)
	say(t, bob, alice, "hello")
	random := rand.New(rand.NewPCG(15, 15)) //nolint:gosec // a schedule
	var want []string
	for len(want) < messages {
		for range window {
			want = append(want, fmt.Sprintf("text %d", len(want)))
			alice.enqueue(bob.p, want[len(want)-1])
		}
		alice.send()
		var page []Envelope
		for after, more := uint64(0), true; more; {
			var list []Envelope
			var err error
			if list, more, err = bob.remote.Remote.Inbox(t.Context(), after); err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				after = e.Sequence
				for range 1 + random.IntN(3) {
					page = append(page, e)
				}
			}
		}
		random.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
		bob.remote.inbox = func(uint64) ([]Envelope, bool, error) { return page, false, nil }
		if n := bob.receive(); n != window {
			t.Fatalf("%d effects of %d messages that came %d times", n, window, len(page))
		}
	}
	got := bob.p.texts()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d effects, want %d", len(got), len(want))
	}
	if list, err := bob.Asides(); err != nil || len(list) > 0 {
		t.Error(len(list), err)
	}
}

// What waits because the coordinator went away leaves as soon as it is back; what waits for a person goes on waiting.
func TestReconnected(t *testing.T) {
	_, alice, bob := pair(t)
	carol := bob.p.w.person().device()
	carol.offer(5)
	alice.p.wrong[carol.p.id] = fault.KeyChanged
	alice.enqueue(bob.p, "to bob")
	alice.enqueue(carol.p, "to carol")
	alice.remote.post = func(string, string, []byte) error { return fault.New(fault.Unavailable, "no answer") }
	for bobs, carols := false, false; !bobs || !carols; { // receivers are tried in the order of their random ids, up to the first failure
		alice.Send(t.Context()) //nolint:errcheck // that there is no answer
		list, err := alice.Outbox()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			bobs, carols = bobs || o.Code == fault.Unavailable, carols || o.Code == fault.KeyChanged
		}
	}
	alice.remote.post = nil
	delete(alice.p.wrong, carol.p.id)
	if alice.send(); bob.receive() != 0 {
		t.Fatal("it does not wait")
	}
	if err := alice.Reconnected(); err != nil {
		t.Fatal(err)
	}
	if alice.send(); bob.receive() != 1 {
		t.Error("it waits still")
	}
	if carol.receive() != 0 {
		t.Error("what waited for a person left too")
	}
}
