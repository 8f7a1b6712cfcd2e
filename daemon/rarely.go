package daemon

import (
	"sync"
	"time"

	"coldframe/internal/fault"
)

const (
	rareContacts = 16        // of one type and code that have events of their own at a time; all others share one
	rareHour     = time.Hour // between two events of one contact
)

// rareEvents holds back events that somebody outside can cause as often as they like, so that a flood must take days to wash the log out: of one
// type and code a minute passes between two, and an hour where they are of one contact. So a noisy contact does not hide another one. Who has
// many ids gains nothing by it: those over rareContacts are told of together, without a contact. What was held back is counted in the next
// event, which comes when its time has come, whether or not there is another reason for it.
type rareEvents struct {
	mu       sync.Mutex
	seen     map[rareEvent]*rareCount
	contacts map[rareEvent]int // in seen, by type and code
}

type rareEvent struct {
	typ     string
	code    fault.Code
	contact string // empty: none, or all that have no entry of their own
}

func (k rareEvent) every() time.Duration {
	if k.contact == "" {
		return refusedEvery
	}
	return rareHour
}

// kind is the key of all contacts together.
func (k rareEvent) kind() rareEvent { return rareEvent{typ: k.typ, code: k.code} }

type rareCount struct {
	n  int64         // since the last event
	at time.Duration // Monotonic of that event
}

// take returns the event to be logged, if it is time for one.
func (r *rareEvents) take(e Event, now time.Duration) (Event, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := rareEvent{e.Type, e.Code, e.Contact}
	if _, known := r.seen[key]; !known && r.contacts[key.kind()] >= rareContacts {
		key = key.kind()
	}
	c, known := r.seen[key]
	if !known {
		c = r.add(key)
	}
	c.n++
	if known && now-c.at < key.every() {
		return e, false
	}
	e.Contact, e.Count = key.contact, c.n
	c.n, c.at = 0, now
	return e, true
}

func (r *rareEvents) add(key rareEvent) *rareCount {
	if r.seen == nil {
		r.seen, r.contacts = map[rareEvent]*rareCount{}, map[rareEvent]int{}
	}
	c := &rareCount{}
	r.seen[key] = c
	if key.contact != "" {
		r.contacts[key.kind()]++
	}
	return c
}

// held returns the events for what was held back and whose time has come, or all, and forgets who was silent for long enough.
func (r *rareEvents) held(now time.Duration, all bool) (list []Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, c := range r.seen {
		over := now-c.at >= key.every()
		switch {
		case c.n > 0 && (over || all):
			list = append(list, Event{Type: key.typ, Code: key.code, Contact: key.contact, Count: c.n})
			c.n, c.at = 0, now
		case c.n == 0 && over:
			delete(r.seen, key)
			if key.contact != "" {
				r.contacts[key.kind()]--
			}
		}
	}
	return list
}

// rarely is event for what somebody outside can cause as often as they like.
func (a *Agent) rarely(e Event) {
	if e, due := a.rare.take(e, a.clock.Monotonic()); due {
		a.event(e)
	}
}

// reportRare makes the events for what rarely held back: at its time, or all of it as the agent stops.
func (a *Agent) reportRare(all bool) {
	for _, e := range a.rare.held(a.clock.Monotonic(), all) {
		a.event(e)
	}
}
