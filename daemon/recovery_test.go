package daemon

import (
	"strings"
	"sync"
	"testing"

	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
)

const restartMarks = "messages/restart/"

// newDeviceOf is another machine of the user, and what tells its exchanges from those of the first one.
func (f *firstMachine) newDeviceOf(c *coordinatortest.Coordinator) (b *running, isOfB func(e *coordinatortest.Exchange) bool) {
	f.t.Helper()
	var mu sync.Mutex
	others := map[string]bool{}
	f.settled()
	c.Hook(func(e *coordinatortest.Exchange) {
		mu.Lock()
		defer mu.Unlock()
		others[e.Header.Get("Authorization")] = true
	})
	f.session.sync.poke(allTasks)
	f.rounds(c)
	c.Hook(nil)
	return f.secondMachine(c), func(e *coordinatortest.Exchange) bool {
		mu.Lock()
		defer mu.Unlock()
		return e.Caller == f.user && !others[e.Header.Get("Authorization")]
	}
}

// friends are two people who have written to each other.
func friends(t *testing.T, c *coordinatortest.Coordinator) (*firstMachine, *running) {
	t.Helper()
	f, grace := newFirstMachine(t, c, testMail), newPersonAt(t, c, "grace@example.org", nil)
	f.add(grace)
	grace.add(f.running)
	f.mustTell(grace)
	grace.mustTell(f.running)
	return f, grace
}

// A machine that was approved, and does not know yet, is told to begin the list again: it is refused, and nothing is given up.
func TestRecoverWhenListed(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace := friends(t, c)
	b, isOfB := f.newDeviceOf(c)
	code := b.ask("cellar")
	b.isDevice(DeviceAsking)
	c.Hook(coordinatortest.Nth("listDeviceLinks", 0, func(e *coordinatortest.Exchange) {
		if isOfB(e) {
			e.Answer = coordinatortest.Problem(503, "unavailable")
		}
	}))
	if err := f.ApproveDevice(t.Context(), b.keyFileID(), code, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it does not hear of it", func() bool { return b.session.sync.failure(taskDevices) == fault.Unavailable })
	c.Hook(nil)
	wantCode(t, "recover", b.RecoverDevices(t.Context(), "cellar", []byte(testPassword)), fault.Conflict)
	b.isDevice(DeviceListed)
	eventually(t, "the vault is known to be the newest", func() bool { return b.session.writable() == nil })
	b.settled()
	if n := countPrefix(t, b, restartMarks); n != 0 {
		t.Errorf("%d records are given up", n)
	}
	if n := countPrefix(t, b, recoveryKey); n != 0 || b.countEvents(EventDeviceAlone) != 0 {
		t.Errorf("%d recoveries are intended, or one is said to be made", n)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	had := b.secretCount()
	if err := grace.tell(b, true); err != nil { // in the session that was there
		t.Fatal(err)
	}
	eventually(t, "a secret", func() bool { return b.secretCount() > had })
}

// The coordinator refuses the recovery; later the machine is approved after all. Nothing is given up, then or before.
func TestRecoverIsRefused(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace := friends(t, c)
	b, isOfB := f.newDeviceOf(c)
	c.Hook(coordinatortest.Nth("addDeviceLink", 0, func(e *coordinatortest.Exchange) {
		if isOfB(e) {
			e.Answer = coordinatortest.Problem(403, "forbidden")
		}
	}))
	wantCode(t, "recover", b.RecoverDevices(t.Context(), "cellar", []byte(testPassword)), fault.Forbidden)
	c.Hook(nil)
	if n := countPrefix(t, b, restartMarks); n != 0 {
		t.Errorf("%d records are given up", n)
	}
	if err := f.ApproveDevice(t.Context(), b.keyFileID(), b.ask("cellar"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	eventually(t, "the vault is known to be the newest", func() bool { return b.session.writable() == nil })
	b.settled()
	if n, m := countPrefix(t, b, restartMarks), countPrefix(t, b, recoveryKey); n != 0 || m != 0 {
		t.Errorf("%d records are given up, %d recoveries intended", n, m)
	}
	had := b.secretCount()
	if err := grace.tell(b, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a secret", func() bool { return b.secretCount() > had })
}

// The machine dies when the recovery is on the list, and knows nothing of it: what follows is done when it comes again.
func TestRecoverDiesBetween(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace := friends(t, c)
	b, isOfB := f.newDeviceOf(c)
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	made := false
	c.Hook(func(e *coordinatortest.Exchange) {
		if !isOfB(e) {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if e.Operation == "addDeviceLink" && !made {
			made = e.Forward().Status < 300
		}
		if made {
			e.Drop()
		}
	})
	wantCode(t, "recover", b.RecoverDevices(t.Context(), "cellar", []byte(testPassword)), fault.Unavailable)
	mu.Lock()
	done := made
	mu.Unlock()
	if n := countPrefix(t, b, restartMarks); n != 0 || !done {
		t.Errorf("%d records are given up before it is known; made: %v", n, done)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	c.Hook(nil)
	b = b.withClock(nil)
	b.isDevice(DeviceListed)
	eventually(t, "the vault passes for the newest", func() bool { return b.session.writable() == nil })
	b.settled()
	b.awaitEvents(EventDeviceAlone, 1)
	if n := countPrefix(t, b, recoveryKey); n != 0 {
		t.Errorf("%d recoveries are intended", n)
	}
	b.mustTell(grace)
	grace.mustTell(b)
	for _, f := range b.session.sync.status().Failures {
		if strings.Contains(f.Task, "receive") {
			t.Error(f)
		}
	}
}
