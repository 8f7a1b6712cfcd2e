package daemon

import (
	"sync"
	"time"

	"coldframe/internal/fault"
)

// rareEvents holds back events that somebody outside can cause as often as they like: a minute passes between two of one type and code,
// so that a flood must take a week to wash the log out. The next one counts those that were held back.
type rareEvents struct {
	mu   sync.Mutex
	seen map[rareEvent]*rareCount
}

type rareEvent struct {
	typ  string
	code fault.Code
}

type rareCount struct {
	n  int64         // since the last event
	at time.Duration // Monotonic of that event
}

// take returns the event to be logged, if it is time for one.
func (r *rareEvents) take(e Event, now time.Duration) (Event, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := rareEvent{e.Type, e.Code}
	c, known := r.seen[key]
	if !known {
		if r.seen == nil {
			r.seen = map[rareEvent]*rareCount{}
		}
		c = &rareCount{}
		r.seen[key] = c
	}
	c.n++
	if known && now-c.at < refusedEvery {
		return e, false
	}
	e.Count = c.n
	c.n, c.at = 0, now
	return e, true
}

// rarely is event for what somebody outside can cause as often as they like.
func (a *Agent) rarely(e Event) {
	if e, due := a.rare.take(e, a.clock.Monotonic()); due {
		a.event(e)
	}
}
