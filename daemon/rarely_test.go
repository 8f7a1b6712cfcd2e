package daemon

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"coldframe/internal/fault"
)

func held(contact string) Event { return Event{Type: EventMessageHeld, Contact: contact} }

// tell takes an event, and wants it to come now, with a count, or to be held back: 0.
func (r *rareEvents) tell(t *testing.T, e Event, now time.Duration, contact string, count int64) {
	t.Helper()
	got, due := r.take(e, now)
	if due != (count > 0) || due && (got.Contact != contact || got.Count != count) {
		t.Errorf("%s at %v: %v, %+v", e.Contact, now, due, got)
	}
}

// A noisy contact hides nobody else, and each one is heard at once.
func TestRareEventsByContact(t *testing.T) {
	var r rareEvents
	r.tell(t, held("noisy"), 0, "noisy", 1)
	for i := range time.Duration(1000) {
		r.tell(t, held("noisy"), i*time.Second, "", 0)
	}
	r.tell(t, held("quiet"), 1000*time.Second, "quiet", 1)
	r.tell(t, Event{Type: EventMessageHeld, Contact: "noisy", Code: fault.Replayed}, 1000*time.Second, "noisy", 1)
	r.tell(t, held("noisy"), time.Hour, "noisy", 1001)
	if list := r.held(time.Hour+999*time.Second, false); len(list) != 0 {
		t.Errorf("nothing was held back: %+v", list)
	}
}

// What was held back comes when its time has come, by itself; and then nothing is remembered any more.
func TestRareEventsHeldBack(t *testing.T) {
	var r rareEvents
	for range 5 {
		r.take(held("noisy"), 0)
		r.take(Event{Type: EventRefused, Code: fault.Forked}, 0)
	}
	if list := r.held(time.Minute-1, false); len(list) != 0 {
		t.Errorf("before its time: %+v", list)
	}
	if list := r.held(time.Minute, false); len(list) != 1 || list[0] != (Event{Type: EventRefused, Code: fault.Forked, Count: 4}) {
		t.Errorf("after a minute: %+v", list)
	}
	if list := r.held(time.Hour, false); len(list) != 1 || list[0] != (Event{Type: EventMessageHeld, Contact: "noisy", Count: 4}) {
		t.Errorf("after an hour: %+v", list)
	}
	if list := r.held(2*time.Hour, false); len(list) != 0 || len(r.seen) != 0 {
		t.Errorf("after two: %+v, %v", list, r.seen)
	}
	r.tell(t, held("noisy"), 2*time.Hour, "noisy", 1)
}

// Who has many ids makes neither memory nor the log grow.
func TestRareEventsOfManyContacts(t *testing.T) {
	var r rareEvents
	events := 0
	now := time.Duration(0)
	for i := range 24 * 3600 {
		now = time.Duration(i) * time.Second
		if _, due := r.take(held("stranger "+strconv.Itoa(i)), now); due {
			events++
		}
		events += len(r.held(now, false))
		if len(r.seen) > rareContacts+1 || len(r.contacts) != 1 {
			t.Fatal(len(r.seen), len(r.contacts))
		}
	}
	if most := 24*(60+rareContacts) + rareContacts + 1; events > most || MaxEvents/events < 5 {
		t.Errorf("%d events in a day, want %d at most", events, most)
	}
	r.held(now+2*time.Hour, true)
	if r.held(now+4*time.Hour, false); len(r.seen) != 0 || r.contacts[held("").key()] != 0 {
		t.Error(r.seen, r.contacts)
	}
}

func (e Event) key() rareEvent { return rareEvent{e.Type, e.Code, e.Contact} }

// TestHeldBackEventsAreLogged as their time comes, and as the agent stops.
func TestHeldBackEventsAreLogged(t *testing.T) {
	clock := newFakeClock()
	dir := t.TempDir()
	a := startAgent(t, dir, func(_ *Config, o *Options) { o.Clock = clock })
	counts := func(a *running) (n int64) {
		for _, e := range a.logged(t) {
			if e.Type == EventRefused {
				n += e.Count
			}
		}
		return n
	}
	for range 1000 {
		a.Refused(fault.Unauthorized)
	}
	if n := counts(a); n != 1 {
		t.Errorf("%d are told of at once", n)
	}
	clock.pass(refusedEvery, 0)
	eventually(t, "the others", func() bool { return counts(a) == 1000 })
	for range 3 {
		a.Refused(fault.Unauthorized)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a = startAgent(t, filepath.Clean(dir), nil)
	if n := counts(a); n != 1003 || a.countEvents(EventRefused) != 3 {
		t.Errorf("%d refusals in %d events", n, a.countEvents(EventRefused))
	}
}
