package messages

import (
	"fmt"
	"slices"
	"testing"
)

// Two people exchange texts; each arrives once, in order, and nothing is left behind.
func TestTwoPeople(t *testing.T) {
	_, alice, bob := pair(t)
	var want []string
	for i := range 5 {
		text := fmt.Sprintf("to bob %d", i)
		alice.enqueue(bob.p, text)
		want = append(want, text)
	}
	alice.send()
	if n := bob.receive(); n != 5 || !slices.Equal(bob.p.texts(), want) {
		t.Fatalf("%d arrived, %v; %v", n, bob.p.texts(), bob.events)
	}
	for i := range 10 {
		say(t, bob, alice, fmt.Sprintf("to alice %d", i))
		say(t, alice, bob, fmt.Sprintf("and back %d", i))
	}
	for _, d := range []*device{alice, bob} {
		if out, err := d.Outbox(); err != nil || len(out) > 0 {
			t.Error(out, err)
		}
		list, err := d.remote.List(t.Context(), receivedPrefix)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range list {
			if left, err := d.readReceived(t.Context(), b.Name); err != nil || left != nil {
				t.Error("a body is left at the coordinator", left, err)
			}
		}
		if d.receive() != 0 || len(d.events) > 0 {
			t.Error("more came", d.events)
		}
	}
}

// A session that begins after the last one-time prekey is weak until its first answer. Another device that opened the answer knows it at once, this one when
// it uses the session again.
func TestS08_WeakUntilTheAnswer(t *testing.T) {
	w, alice, bob := pair(t)
	other := w.person().device()
	wantWeak := func(when string, d *device, peer *device, want bool) {
		t.Helper()
		if weak, err := d.Weak(peer.p.id); err != nil || weak != want {
			t.Errorf("%s: weak %v, %v", when, weak, err)
		}
	}
	bob.offer(1)
	say(t, other, bob, "with the last one-time prekey")
	wantWeak("with a one-time prekey", other, bob, false)
	say(t, alice, bob, "without")
	wantWeak("without one", alice, bob, true)
	alice.restart()
	say(t, alice, bob, "and again")
	wantWeak("after the second message", alice, bob, true)
	alice.p.nextEpoch()
	if err := alice.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantWeak("under another state key", alice, bob, true)
	laptop := alice.p.device()
	say(t, bob, laptop, "the answer")
	wantWeak("on the device that opened the answer", laptop, bob, false)
	wantWeak("the receiver's side", bob, alice, false)
	say(t, alice, bob, "to the answer")
	wantWeak("after the answer", alice, bob, false)
}
