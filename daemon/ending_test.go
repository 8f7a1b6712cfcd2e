package daemon

import (
	"slices"
	"sync/atomic"
	"testing"

	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/devices"
)

// The coordinator does not log a removed device out, again and again, and the agent that removed it is restarted in between: the device is logged out
// in the end, once. One that is on the list is not, whatever is noted.
func TestRemovedDeviceIsLoggedOutLater(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	b := f.secondMachine(c)
	device := b.keyFileID()
	if err := f.ApproveDevice(t.Context(), device, b.ask("cellar"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.settled()
	id, err := devices.ParseDeviceID(device)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.noteEnding(id); err != nil { // as before a removal that failed
		t.Fatal(err)
	}
	f.session.sync.poke(taskSessions)
	eventually(t, "the note of a listed device goes", func() bool { return countPrefix(t, f.running, endingPrefix) == 0 })
	if !loggedIn(t, f.client, device) {
		t.Fatal("a device of the list is logged out")
	}

	var tries, ended atomic.Int64
	c.Hook(func(e *coordinatortest.Exchange) {
		if e.Operation == "endSession" {
			tries.Add(1)
			e.Answer = coordinatortest.Problem(503, "unavailable")
		}
	})
	f.settled()
	if err := f.RemoveDevice(t.Context(), device, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another try", func() bool { return tries.Load() > 2 })
	info, err := f.Coordinator(t.Context())
	if err != nil || !slices.ContainsFunc(info.Sync.Failures, func(s SyncFailure) bool { return s.Task == "sessions" }) {
		t.Errorf("%+v, %v", info.Sync, err)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	if !loggedIn(t, f.client, device) {
		t.Fatal("nothing is tested")
	}
	c.Hook(func(e *coordinatortest.Exchange) {
		if e.Operation == "endSession" {
			ended.Add(1)
		}
	})
	again := startAgent(t, f.dir, local)
	again.unlock()
	again.settled()
	if loggedIn(t, f.client, device) || countPrefix(t, again, endingPrefix) != 0 || ended.Load() != 1 {
		t.Errorf("logged in %v, %d notes, ended %d times", loggedIn(t, f.client, device), countPrefix(t, again, endingPrefix), ended.Load())
	}
}
