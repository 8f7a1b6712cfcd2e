package messages

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"coldframe/internal/fault"
)

// killed is what ends a device.
type killed struct{ step string }

// alive runs fn and reports whether the device was killed in it.
func alive(fn func()) (dead bool, step string) {
	defer func() {
		if r := recover(); r != nil {
			k, ok := r.(killed)
			if !ok {
				panic(r)
			}
			dead, step = true, k.step
		}
	}()
	fn()
	return false, ""
}

// scenario is what people do to one another in the tests of kills: each task is done by one device, and again after it was killed.
type scenario struct {
	t       *testing.T
	w       *world
	devices []*device
	kills   int
	steps   map[string]int
}

// do runs a task of a device until it ends. Whoever is killed begins with nothing in memory.
func (s *scenario) do(d *device, task func() error) {
	s.t.Helper()
	for range 20 {
		var err error
		dead, step := alive(func() { err = task() })
		switch {
		case dead:
			s.kills++
			s.steps[step]++
			d.restart()
		case err == nil:
			return
		case !errors.Is(err, fault.Conflict):
			s.t.Fatal(err)
		}
	}
	s.t.Fatal("the task does not end")
}

// run sends texts both ways, first ones and later ones, and wants each where it belongs, once.
func (s *scenario) run() {
	t, alice, bob := s.t, s.devices[0], s.devices[1]
	t.Helper()
	send := func(d *device) {
		s.do(d, func() error { _, err := d.Send(t.Context()); return err })
	}
	receive := func(d *device) {
		s.do(d, func() error { _, err := d.Receive(t.Context()); return err })
	}
	var toAlice, toBob []string
	for i := range 2 {
		for j := range 2 {
			toBob = append(toBob, fmt.Sprintf("to bob %d %d", i, j))
			alice.enqueue(bob.p, toBob[len(toBob)-1])
		}
		send(alice)
		receive(bob)
		toAlice = append(toAlice, fmt.Sprintf("to alice %d", i))
		bob.enqueue(alice.p, toAlice[len(toAlice)-1])
		send(bob)
		receive(alice)
	}
	if got := bob.p.texts(); !slices.Equal(got, toBob) {
		t.Errorf("bob has %q, want %q", got, toBob)
	}
	if got := alice.p.texts(); !slices.Equal(got, toAlice) {
		t.Errorf("alice has %q, want %q", got, toAlice)
	}
	for _, d := range s.devices {
		if out, err := d.Outbox(); err != nil || len(out) > 0 {
			t.Error("left in the outbox:", out, err)
		}
		if list, err := d.Asides(); err != nil || len(list) > 0 {
			t.Error("set aside:", list, err)
		}
	}
}

func newScenario(t *testing.T) *scenario {
	w, alice, bob := pair(t)
	return &scenario{t: t, w: w, devices: []*device{alice, bob}, steps: map[string]int{}}
}

// A device that is killed at any durable step, sender or receiver, loses no text, brings none twice and uses no message key twice.
func TestF03_KilledAtEveryStep(t *testing.T) {
	total := 0
	for at := 1; ; at++ {
		s := newScenario(t)
		count := 0
		s.w.step = func(step string) {
			if count++; count == at {
				panic(killed{step})
			}
		}
		s.run()
		if s.kills == 0 {
			t.Logf("%d runs, one kill each", total)
			break
		}
		total++
		if s.w.reuse > 0 || t.Failed() {
			t.Fatalf("killed at step %d: %v", at, s.steps)
		}
	}
	if total < 60 {
		t.Errorf("only %d steps", total)
	}
}

// Devices that are killed again and again: each time after so many steps that it comes a little further.
func TestF03_KilledAgainAndAgain(t *testing.T) {
	steps := map[string]int{}
	kills := 0
	for every := 7; every < 27; every++ {
		s := newScenario(t)
		count := 0
		s.w.step = func(step string) {
			if count++; count%every == 0 {
				panic(killed{step})
			}
		}
		s.run()
		for k, n := range s.steps {
			steps[k] += n
		}
		kills += s.kills
	}
	t.Logf("%d kills: %v", kills, steps)
	if kills < 100 {
		t.Errorf("only %d kills", kills)
	}
}
