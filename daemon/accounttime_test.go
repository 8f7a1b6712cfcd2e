package daemon

import (
	"testing"
	"time"

	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
)

// mute lets a coordinator not answer what it is asked of these operations.
func mute(c *coordinatortest.Coordinator, operations ...string) {
	c.Hook(func(e *coordinatortest.Exchange) {
		for _, op := range operations {
			if e.Operation == op {
				<-e.Context().Done()
				e.Drop()
			}
		}
	})
}

// A coordinator that says nothing keeps nobody from locking: a change of the account waits for it for one time in all, whatever it is that it
// does not answer.
func TestL17_SilentCoordinatorKeepsNobodyFromLocking(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f := newFirstMachine(t, c, testMail)
	kit := f.draft("")
	f.accountTime = 300 * time.Millisecond
	inTime := func(what string, do func() error, operations ...string) {
		t.Helper()
		f.settled()
		mute(c, operations...)
		begun := time.Now()
		wantCode(t, what, do(), fault.Unavailable)
		if err := f.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 8*time.Second {
			t.Error(what, "took", took)
		}
		c.Hook(nil)
		if err := f.tryUnlock(testPassword); err != nil {
			t.Fatal(err)
		}
		f.becomes("online")
	}
	inTime("a kit is checked", func() error { return f.CheckKit(t.Context(), f.kitText()) }, "readBlobs")
	inTime("a kit is replaced", func() error { return f.replaceKit(kit) }, "swapBlobs", "changeProof", "readBlobs")
	inTime("a password is changed", func() error { return f.ChangePassword(t.Context(), []byte(testPassword), []byte(nextPassword)) }, "readBlobs")
	inTime("unattended opening", func() error { _, err := f.EnableUnattended(t.Context(), []byte(testPassword)); return err }, "readBlobs")
	remove := func() error { return f.deleteAccount(c.URL, testPassword) }
	inTime("login", remove, "login")
	inTime("sync", remove, "readBlobs")
	inTime("deletion", remove, "deleteAccount", "login")
	if f.gone(c) {
		t.Error("the account is gone")
	}
	f.settled()
	if _, err := f.EnableUnattended(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	inTime("its end", func() error { return f.DisableUnattended(t.Context(), []byte(testPassword)) }, "readBlobs")
}
