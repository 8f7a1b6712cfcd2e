package daemon

import (
	"net/http"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
)

// TestF13_ClockOfAPersonJumps sets the clock of an agent that talks to people, also back in the middle: secrets come and go all the time,
// what is queued leaves, an event tells of it, and once the clock is right again nothing has expired.
func TestF13_ClockOfAPersonJumps(t *testing.T) {
	const year = 8766 * time.Hour
	for name, by := range map[string]time.Duration{
		"an hour ahead": time.Hour, "an hour back": -time.Hour, "ten years ahead": 10 * year, "ten years back": -10 * year,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
			clock.set(time.Now().Truncate(time.Second)) // the coordinator's is that of the machine
			ada, grace := newPersonAt(t, c, "ada@example.org", clock), newPersonAt(t, c, "grace@example.org", nil)
			ada.add(grace)
			grace.add(ada)
			ada.mustTell(grace)
			grace.mustTell(ada)
			right := clock.Now()
			for _, wall := range []time.Time{right.Add(by), right.Add(2 * by), right} { // the third goes back, or ahead, in the middle
				events := ada.countEvents(EventClock)
				clock.set(wall)
				ada.kick()
				ada.awaitEvents(EventClock, events+1)
				ada.rounds(c)
				ada.mustTell(grace)
				grace.mustTell(ada)
			}
			if err := ada.Lock(t.Context()); err != nil {
				t.Fatal(err)
			}
			ada.unlock()
			ada.settled()
			grace.settled()
			late := newPersonAt(t, c, "late@example.org", nil) // begins a session with what was published meanwhile
			late.add(ada)
			ada.add(late)
			late.mustTell(ada)
			ada.mustTell(late)
		})
	}
}

// TestS08_FewPreKeysAreFilledUp has the coordinator say that few one-time prekeys are left: an event, and there are as many as before.
func TestS08_FewPreKeysAreFilledUp(t *testing.T) {
	c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
	ada := newPersonAt(t, c, "ada@example.org", clock)
	for i, left := range []int{oneTimeLow, oneTimeLow - 1} {
		clock.pass(refillEvery+time.Second, 0) // the stream of events outlives both: its end would break a round off
		uploads, events := ada.requests(c, "putPreKeys", ""), ada.countEvents(EventPreKeysLow)
		c.Hook(coordinatortest.Nth("getPreKeyStatus", 1, func(e *coordinatortest.Exchange) {
			e.Answer = coordinatortest.JSON(http.StatusOK, coordinator.PreKeyStatus{OneTimeLeft: left, Sequence: 1})
		}))
		ada.rounds(c)
		ada.settled()
		c.Hook(nil)
		if n := ada.requests(c, "putPreKeys", "") - uploads; n != i {
			t.Errorf("%d uploads with %d left, want %d", n, left, i)
		}
		if n := ada.countEvents(EventPreKeysLow) - events; n != i {
			t.Errorf("%d events with %d left, want %d", n, left, i)
		}
	}
	st, err := ada.session.sync.directory.Status(t.Context())
	if err != nil || st.Left <= oneTimes { // one or two were handed out to the agent, which looks at what is
		t.Errorf("%d one-time prekeys, %v", st.Left, err)
	}
}
