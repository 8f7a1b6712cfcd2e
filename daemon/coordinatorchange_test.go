package daemon

import (
	"errors"
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// A coordinator that cannot be joined changes nothing about the one that is set: its link goes on as it is.
func TestFailedJoinChangesNothing(t *testing.T) {
	c, away := newCoordinator(t, state.Open), newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	a.connect(c)
	a.becomes("online")
	away.down()
	before, link := a.coordinatorNow(), a.session.currentLink()
	if err := a.tryConnect(away.url(), testPassword); !errors.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	if link.stopped() || a.session.currentLink().done != link.done {
		t.Error("the link was stopped")
	}
	if after := a.coordinatorNow(); after != before {
		t.Errorf("%+v became %+v", before, after)
	}
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

// Another coordinator is another link: it is an event when it is online, and none of the former's sessions is kept, worked its link or not.
func TestAnotherCoordinator(t *testing.T) {
	c, other := newCoordinator(t, state.Open), newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	a.connect(c)
	a.awaitEvents(EventCoordinatorOnline, 1)
	a.connect(other)
	a.awaitEvents(EventCoordinatorOnline, 2)
	if st := a.coordinatorNow(); st.URL != other.url() {
		t.Errorf("%+v", st)
	}
	s := a.session
	s.currentLink().stop()
	s.mu.Lock()
	s.link, s.linkURL, s.linkErr = runningLink{}, other.url(), fault.Policy // as after a start under another configuration
	s.mu.Unlock()
	a.connect(c)
	a.becomes("online")
	if n := countPrefix(t, a, linkPrefix); n != 1 {
		t.Errorf("%d records of links", n)
	}
	if st := a.coordinatorNow(); st.URL != c.url() || st.Error != "" {
		t.Errorf("%+v", st)
	}
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
