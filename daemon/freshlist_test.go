package daemon

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
)

// hidesList is a coordinator that shows a new machine the vault from before the device list, and for the list what the function says.
func hidesList(t *testing.T, list func(n int64) *coordinatortest.Answer) (c *coordinatortest.Coordinator, b *running, listings *atomic.Int64) {
	t.Helper()
	c, listings = coordinatortest.New(t, coordinatortest.Options{}), new(atomic.Int64)
	var mu sync.Mutex
	var first *coordinatortest.Answer // the vault as it was when it came to the coordinator
	isRoot := func(e *coordinatortest.Exchange) bool {
		return e.Operation == "readBlobs" && strings.Contains(string(e.Body), `"v-root"`)
	}
	c.Hook(func(e *coordinatortest.Exchange) {
		mu.Lock()
		defer mu.Unlock()
		if first != nil || !isRoot(e) {
			return
		}
		if got := e.Forward(); strings.Contains(string(got.Body), `"body":"`) {
			first = got.Clone()
		}
	})
	f := newFirstMachine(t, c, testMail)
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	made := len(c.Records("addDeviceLink"))
	c.Hook(func(e *coordinatortest.Exchange) {
		switch {
		case isRoot(e):
			mu.Lock()
			defer mu.Unlock()
			e.Answer = first.Clone()
		case e.Operation == "listDeviceLinks":
			e.Answer = list(listings.Add(1))
		}
	})
	b = startAgent(t, t.TempDir(), local)
	if err := b.Login(t.Context(), f.with(c, testPassword)); err != nil {
		t.Fatal(err)
	}
	b.becomes("online")
	t.Cleanup(func() {
		if now := len(c.Records("addDeviceLink")); made == 0 || now != made {
			t.Errorf("%d links were sent, then %d", made, now)
		}
		if h, err := b.notedDevices(); err != nil || h.Sequence != 0 {
			t.Errorf("the vault that was shown knows the list, or a list was begun: %d, %v", h.Sequence, err)
		}
	})
	return c, b, listings
}

func listOf(links ...coordinator.DeviceLink) *coordinatortest.Answer {
	return coordinatortest.JSON(http.StatusOK, coordinator.DeviceLinks{Links: append([]coordinator.DeviceLink{}, links...)})
}

// The coordinator shows a new machine an older vault and no device list: what its user calls begins none, as no round does.
func TestFreshMachineBeginsNoList(t *testing.T) {
	_, b, _ := hidesList(t, func(int64) *coordinatortest.Answer { return listOf() })
	b.failsWith("devices", fault.Stale)
	_, err := b.AskToJoin(t.Context(), "cellar")
	wantCode(t, "to ask", err, fault.Stale)
	wantCode(t, "another name", b.RenameDevice(t.Context(), b.keyFileID(), "cellar"), fault.Stale)
	wantCode(t, "to recover", b.RecoverDevices(t.Context(), "cellar", []byte(testPassword)), fault.Stale)
}

// It shows a list, of which nothing is to be believed, and none as soon as that was looked at.
func TestFreshMachineIsShownTwoLists(t *testing.T) {
	junk, err := json.Marshal("junk")
	if err != nil {
		t.Fatal(err)
	}
	_, b, listings := hidesList(t, func(n int64) *coordinatortest.Answer {
		if n%2 == 1 {
			return listOf(coordinator.DeviceLink{Link: junk, Sequence: 1})
		}
		return listOf()
	})
	for range 3 {
		n := listings.Load()
		b.session.sync.poke(taskDevices)
		eventually(t, "two listings", func() bool { return listings.Load() >= n+1 })
	}
	b.failure("devices")
	wantCode(t, "a change", b.session.writable(), fault.Stale)
}
