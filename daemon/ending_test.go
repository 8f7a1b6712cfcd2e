package daemon

import (
	"slices"
	"sync/atomic"
	"testing"

	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/devices"
	"coldframe/keystore"
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

// unattendedSecond is a second machine on the list, which opens the vault without a person, and of which the first knows it.
func unattendedSecond(t *testing.T, c *coordinatortest.Coordinator) (f *firstMachine, b *running) {
	t.Helper()
	f = newFirstMachine(t, c, testMail)
	b = f.secondMachine(c)
	if err := f.ApproveDevice(t.Context(), b.keyFileID(), b.ask("cellar"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.settled()
	if _, err := b.EnableUnattended(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "noted", func() bool { return f.unattendedDevice() == b.keyFileID() })
	f.settled()
	return f, b
}

// A removal is refused: the machine keeps its slot and its session. One whose answer is lost may be made yet: once it is, both go, although rounds
// looked in between.
func TestRemovalThatFails(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, b := unattendedSecond(t, c)
	device := b.keyFileID()
	for _, refusal := range []struct {
		status int
		code   string
	}{{403, "forbidden"}, {503, "unavailable"}} {
		c.Hook(func(e *coordinatortest.Exchange) {
			if e.Operation == "addDeviceLink" {
				e.Answer = coordinatortest.Problem(refusal.status, refusal.code)
			}
		})
		if err := f.RemoveDevice(t.Context(), device, []byte(testPassword)); err == nil {
			t.Fatal("removed")
		}
		if refusal.status == 403 {
			eventually(t, "the note goes", func() bool { return countPrefix(t, f.running, endingPrefix) == 0 })
		} else if err := f.session.sync.endSessions(t.Context()); err == nil || countPrefix(t, f.running, endingPrefix) != 1 {
			t.Errorf("the note of an undecided removal: %v", err)
		}
		if _, there := f.vault.UnattendedSlot(); !there || !loggedIn(t, f.client, device) {
			t.Errorf("after %s: slot %v", refusal.code, there)
		}
	}
	c.Hook(nil)
	f.session.sync.poke(allTasks)
	eventually(t, "the slot goes", func() bool { _, there := f.vault.UnattendedSlot(); return !there })
	eventually(t, "the note goes in the end", func() bool { return countPrefix(t, f.running, endingPrefix) == 0 })
	if loggedIn(t, f.client, device) {
		t.Error("still logged in")
	}
}

// The machine that is removed said that another one opens the vault without a person. That names no device of the list: the slot goes.
func TestRemovedMachineThatNamedAnother(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, b := unattendedSecond(t, c)
	const nobody = "3b1f6a52-9a0e-4b57-8f0c-6a2f0c1d9e77"
	b.handing.Lock() // it does not take that back
	defer b.handing.Unlock()
	eventually(t, "another is named", func() bool { // it may be logging in anew, with its credential
		return b.vault.Update(func(tx *keystore.Tx) error {
			slot, _ := b.vault.UnattendedSlot()
			return unattendedItem{nobody, slot[:]}.put(tx)
		}) == nil
	})
	eventually(t, "told", func() bool { return f.unattendedDevice() == nobody })
	if err := f.RemoveDevice(t.Context(), b.keyFileID(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the slot goes", func() bool { _, there := f.vault.UnattendedSlot(); return !there })
}
