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
