package messages

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// agents are two devices of one user, of which one acts in the middle of what the other does.
type agents struct {
	t        *testing.T
	w        *world
	devices  [2]*device
	bob      *device
	random   *rand.Rand
	nested   bool
	overlaps int
	most     int // swaps of one message
}

// between lets the other device act right before or right after a swap of this one.
func (a *agents) between(n int, act func(n int)) {
	d, tries := a.devices[n], 0
	d.remote.swap = func(ctx context.Context, changes []BlobChange) error {
		if tries++; tries > a.most {
			a.most = tries
		}
		if a.nested {
			return d.remote.Remote.Swap(ctx, changes)
		}
		when := a.random.IntN(4)
		if when == 0 {
			a.inside(1-n, act)
		}
		err := d.remote.Remote.Swap(ctx, changes)
		if when == 1 {
			a.inside(1-n, act)
		}
		return err
	}
	act(n)
	d.remote.swap = nil
}

func (a *agents) inside(n int, act func(n int)) {
	a.nested = true
	act(n)
	a.nested = false
	a.overlaps++
}

// settle repeats what lost against the other device more often than it tries.
func (a *agents) settle(what func() error) {
	for range 10 {
		err := what()
		if err == nil {
			return
		}
		if !errors.Is(err, fault.Conflict) {
			a.t.Fatal(err)
		}
	}
	a.t.Fatal("the other device is always faster")
}

// Two agents of one user on one record: at every swap of one the other may send or receive, whole, before it or after it. 2,000 times. No
// message key is used twice, and every text arrives once, both ways.
func TestS05_TwoAgentsOneRecord(t *testing.T) { twoAgents(t, 2000, false) }

// As above, with agents that are stopped and begin anew all the time, so that what they know is what is stored.
func TestF16_TwoAgentsOneRecord(t *testing.T) { twoAgents(t, 2000, true) }

func twoAgents(t *testing.T, rounds int, restarts bool) {
	const worlds = 4
	rounds /= slower
	overlaps, most := 0, 0
	for seed := range uint64(worlds) {
		t.Run("", func(t *testing.T) {
			w, alice, bob := pair(t)
			random := rand.New(rand.NewPCG(seed, 5)) //nolint:gosec // a schedule
			a := &agents{t: t, w: w, devices: [2]*device{alice, alice.p.device()}, bob: bob, random: random}
			a.run(rounds/worlds, restarts)
			overlaps, most = overlaps+a.overlaps, max(most, a.most)
			if w.reuse > 0 {
				t.Errorf("%d message keys were used twice", w.reuse)
			}
		})
	}
	t.Logf("%d rounds, in %d of the swaps the other device acted; %d swaps in one round at most", rounds, overlaps, most)
	if overlaps < rounds/2 {
		t.Errorf("the devices met %d times", overlaps)
	}
}

func (a *agents) run(rounds int, restarts bool) {
	t := a.t
	var toBob, toAlice []string
	for i := range rounds {
		send := func(n int) {
			text := fmt.Sprintf("to bob %d %d %t", i, n, a.nested)
			toBob = append(toBob, text)
			a.devices[n].enqueue(a.bob.p, text)
			a.settle(func() error { return a.sendAll(n) })
		}
		receive := func(n int) {
			a.settle(func() error { _, err := a.devices[n].Receive(t.Context()); return err })
		}
		if a.random.IntN(2) == 0 {
			a.between(a.random.IntN(2), send)
		} else {
			text := fmt.Sprintf("to alice %d", i)
			toAlice = append(toAlice, text)
			a.bob.enqueue(a.devices[0].p, text)
			a.bob.send()
			a.between(a.random.IntN(2), receive)
		}
		a.bob.receive()
		if restarts && a.random.IntN(3) == 0 {
			a.devices[a.random.IntN(2)].restart()
		}
	}
	for _, d := range a.devices {
		a.settle(func() error { _, err := d.Receive(t.Context()); return err })
	}
	a.same("bob", a.bob.p.texts(), toBob)
	a.same("alice", a.devices[0].p.texts(), toAlice)
	for _, d := range []*device{a.devices[0], a.devices[1], a.bob} {
		if list, err := d.Asides(); err != nil || len(list) > 0 {
			t.Error("set aside:", list, err)
		}
	}
}

// sendAll sends until nothing waits, past every back-off.
func (a *agents) sendAll(n int) error {
	next, err := a.devices[n].Send(a.t.Context())
	if err == nil && !next.IsZero() {
		a.w.later(next.Sub(a.w.clock()) + time.Second)
		err = fault.Conflict
	}
	return err
}

func (a *agents) same(who string, got, want []string) {
	a.t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		a.t.Errorf("%s has %d texts, want %d once each", who, len(got), len(want))
	}
}
