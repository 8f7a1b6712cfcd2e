package daemon

import (
	"sync"
	"time"
)

const (
	linkBurst = 8                // events of the link at once
	linkEvery = 10 * time.Minute // and then one in this time: at most 2 % of the log in a day
)

// linkLog decides which states of the link become events: those that differ from the last one, as often as the budget allows. What is
// over the budget is held back and may be overtaken.
type linkLog struct {
	mu      sync.Mutex
	budget  int
	filled  time.Duration // Monotonic up to which the budget was filled
	last    Event         // that was reported
	waiting *Event
}

// take returns the event if it is to be reported now.
func (l *linkLog) take(e Event, now time.Duration) (Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = nil
	if e == l.last {
		return e, false
	}
	if !l.spend(now) {
		l.waiting = &e
		return e, false
	}
	l.last = e
	return e, true
}

// held returns the event that was held back, if it may be reported now.
func (l *linkLog) held(now time.Duration) (Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil || !l.spend(now) {
		return Event{}, false
	}
	l.last, l.waiting = *l.waiting, nil
	return l.last, true
}

// forget makes the next state an event, whatever it is: another session, or another coordinator.
func (l *linkLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.waiting = Event{}, nil
}

func (l *linkLog) spend(now time.Duration) bool {
	if l.filled == 0 {
		l.budget, l.filled = linkBurst, now
	}
	for l.budget < linkBurst && now-l.filled >= linkEvery {
		l.budget++
		l.filled += linkEvery
	}
	if l.budget == linkBurst {
		l.filled = now
	}
	if l.budget == 0 {
		return false
	}
	l.budget--
	return true
}
