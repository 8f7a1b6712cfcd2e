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

// until runs the scenario with a device killed wherever dies says so, by the number of the step.
func until(t *testing.T, dies func(step int) bool) (kills int, steps map[string]int) {
	t.Run("", func(t *testing.T) { // so that the coordinator and its store end with it
		s := newScenario(t)
		count := 0
		s.w.step = func(step string) {
			if count++; dies(count) {
				panic(killed{step})
			}
		}
		s.run()
		kills, steps = s.kills, s.steps
	})
	return kills, steps
}

// A device that is killed at any durable step, sender or receiver, loses no text, brings none twice and uses no message key twice.
func TestF03_KilledAtEveryStep(t *testing.T) {
	total := 0
	for at := 1; ; at += slower {
		kills, steps := until(t, func(step int) bool { return step == at })
		if t.Failed() {
			t.Fatalf("killed at step %d: %v", at, steps)
		}
		if kills == 0 {
			break
		}
		total++
	}
	t.Logf("%d runs, one kill each", total)
	if total < 60/slower {
		t.Errorf("only %d steps", total)
	}
}

// Devices that are killed again and again: each time after so many steps that it comes a little further.
func TestF03_KilledAgainAndAgain(t *testing.T) {
	total, where := 0, map[string]int{}
	for every := 7; every < 27; every += slower {
		kills, steps := until(t, func(step int) bool { return step%every == 0 })
		for k, n := range steps {
			where[k] += n
		}
		total += kills
	}
	t.Logf("%d kills: %v", total, where)
	if total < 100/slower {
		t.Errorf("only %d kills", total)
	}
}
