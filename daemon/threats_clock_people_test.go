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

// TestS08_SessionWithoutOneTimeIsWeak has somebody use up all one-time prekeys of a user whose machine is off: the session that begins then is shown to be
// weak, also after the agent was locked, until the first answer. One that begins with a one-time prekey never is.
func TestS08_SessionWithoutOneTimeIsWeak(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	ada, grace := newPersonAt(t, c, "ada@example.org", nil), newPersonAt(t, c, "grace@example.org", nil)
	carol := newPersonAt(t, c, "carol@example.org", nil)
	ada.add(grace)
	carol.add(grace)
	grace.add(carol)
	carol.mustTell(grace)
	if carol.weak(grace) {
		t.Error("a session with a one-time prekey is weak")
	}
	if err := grace.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	drained := func() bool {
		p, err := carol.session.sync.directory.FetchBundle(t.Context(), grace.vault.UserID())
		return err == nil && len(p.OneTime) == 0
	}
	for n := 0; !drained(); n++ {
		if n > 2*oneTimes {
			t.Fatal("there are still one-time prekeys")
		}
	}
	if ada.weak(grace) {
		t.Error("weak before there is a session")
	}
	if err := ada.tell(grace, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a weak session", func() bool { return ada.weak(grace) })
	if err := ada.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	ada.unlock()
	if !ada.weak(grace) || carol.weak(grace) {
		t.Errorf("weak after a restart: %v; of another contact: %v", ada.weak(grace), carol.weak(grace))
	}
	if all, err := ada.Contacts(t.Context()); err != nil || len(all) != 1 || !all[0].Weak {
		t.Errorf("the list has %+v, %v", all, err)
	}
	grace.unlock()
	eventually(t, "a stranger who asks", func() bool {
		_, err := grace.AcceptContact(t.Context(), ada.vault.UserID())
		return err == nil
	})
	eventually(t, "the secret", func() bool { return grace.secretCount() == 2 })
	grace.mustTell(ada)
	if ada.weak(grace) || grace.weak(ada) {
		t.Errorf("weak after the answer: %v; the other side: %v", ada.weak(grace), grace.weak(ada))
	}
}

// weak reports whether the agent shows its session with another one to be weak.
func (r *running) weak(other *running) bool {
	r.t.Helper()
	c, err := r.Contact(r.t.Context(), other.vault.UserID())
	if err != nil {
		r.t.Fatal(err)
	}
	return c.Weak
}
