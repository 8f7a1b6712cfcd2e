package daemon

import (
	"errors"
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// Another coordinator than the one that keeps the account is refused, also after that was left, and changes nothing.
func TestAnotherCoordinator(t *testing.T) {
	c, other := newCoordinator(t, state.Open), newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	a.connect(c)
	a.settled()
	before, link := a.coordinatorNow(), a.session.currentLink()
	if err := a.tryConnect(other.url(), testPassword); !errors.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	if link.stopped() || a.session.currentLink().done != link.done {
		t.Error("the link was stopped")
	}
	if after := a.coordinatorNow(); after != before {
		t.Errorf("%+v became %+v", before, after)
	}
	if err := a.DisconnectCoordinator(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if err := a.tryConnect(other.url(), testPassword); !errors.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	if conns, _ := other.traffic(); conns != 0 {
		t.Errorf("%d connections to the other", conns)
	}
	a.create("made while there was none")
	a.connect(c)
	a.settled()
}

// coordinatorNow is the status's.
func (r *running) coordinatorNow() CoordinatorStatus {
	r.t.Helper()
	st, err := r.Status(r.t.Context())
	if err != nil || st.Coordinator == nil {
		r.t.Fatal(st.Coordinator, err)
	}
	return *st.Coordinator
}

// A coordinator that was left and joined again is another link: it is an event when it is online. No session of before is kept, worked its link
// or not.
func TestJoinedAgain(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	a.connect(c)
	a.awaitEvents(EventCoordinatorOnline, 1)
	if err := a.DisconnectCoordinator(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	if n := countPrefix(t, a, linkPrefix); n != 0 {
		t.Errorf("%d records of links", n)
	}
	a.connect(c)
	a.awaitEvents(EventCoordinatorOnline, 2)
	s := a.session
	s.currentLink().stop()
	s.mu.Lock()
	s.link, s.linkURL, s.linkErr = runningLink{}, c.url(), fault.Policy // as after a start under another configuration
	s.mu.Unlock()
	if st := a.coordinatorNow(); st.URL != c.url() || st.Error != fault.Policy {
		t.Errorf("%+v", st)
	}
	a.connect(c)
	a.becomes("online")
	if st := a.coordinatorNow(); st.URL != c.url() || st.Error != "" {
		t.Errorf("%+v", st)
	}
	a.awaitEvents(EventCoordinatorOnline, 3)
}

// A call that outlived its session, because it did not end in time, must not work on in the next one: its keys are gone.
func TestLinkOfAClosedSession(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	a.connect(c)
	a.becomes("online")
	old := a.session
	stale := old.currentLink()
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.unlock()
	a.becomes("online")
	a.runLink(old, stale.Link, c.url())
	if !old.currentLink().stopped() {
		t.Error("it works")
	}
}
