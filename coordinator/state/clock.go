package state

import (
	"context"
	"sync"
	"time"
)

// maxLeap is how far a machine's clock may be ahead of what was seen of it and be believed at once, after a stop or a sleep of the machine.
const maxLeap = 3 * 24 * time.Hour

const clockKey = "meta/clock"

// clock tells the time by which records get their ends and go. A machine's clock may be years off for an hour, and what is removed then does not come back. So this
// clock goes on from where it was, which each sweep stores, and follows the machine's between seven eighths and twice the speed of real time: one that is ahead by more
// than maxLeap is not believed before that much time went by, and one that is behind does not stop it.
type clock struct {
	machine func() time.Time
	elapsed func() time.Duration // real time since some moment; never goes back

	mu   sync.Mutex
	last time.Time
	at   time.Duration // elapsed at last
}

func newClock(o Options) *clock {
	return &clock{machine: o.Now, elapsed: o.Elapsed, last: o.Now(), at: o.Elapsed()}
}

// begin goes on from a stored time.
func (c *clock) begin(stored time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = stored
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	machine, at := c.machine(), c.elapsed()
	passed := max(0, at-c.at)
	if machine.Sub(c.last.Add(passed)) <= maxLeap {
		c.last = later(machine, c.last.Add(passed-passed/8))
	} else {
		c.last = c.last.Add(2 * passed)
	}
	c.at = at
	return c.last
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// storedClock is the clock's time in the store.
type storedClock struct {
	Time time.Time `cbor:"1,keyasint"`
}

// loadClock takes up the stored time, if there is one.
func (t *tx) loadClock() error {
	c, there, err := loadOr[storedClock](t, clockKey)
	if err == nil && there {
		t.s.clock.begin(c.Time)
	}
	return err
}

// saveClock stores the time if it went on by a minute or more since it was stored.
func (s *State) saveClock(ctx context.Context) error {
	var c storedClock
	err := s.view(ctx, func(t *tx) (err error) {
		c, _, err = loadOr[storedClock](t, clockKey)
		return err
	})
	if err != nil || s.clock.now().Sub(c.Time) < time.Minute {
		return err
	}
	return s.urgent(ctx, func(t *tx) error { return save(t, clockKey, storedClock{t.now}) })
}

// ClockOff is how far the machine's clock is ahead of the one that records go by; negative: behind. Beyond an hour or so something is wrong with it.
func (s *State) ClockOff() time.Duration { return s.o.Now().Sub(s.clock.now()) }
