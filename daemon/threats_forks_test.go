package daemon

import (
	"strings"
	"sync/atomic"
	"testing"

	"coldframe/coordinator/coordinatortest"
	"coldframe/internal/fault"
)

// about reports whether an exchange is one about blobs whose names begin so.
func about(e *coordinatortest.Exchange, prefix string) bool {
	return (e.Operation == "readBlobs" || e.Operation == "swapBlobs") && strings.Contains(string(e.Body), `"`+prefix)
}

// showsForked fails unless the agent's API says that an object is forked, and nothing is written any more.
func (r *running) showsForked(object string) {
	r.t.Helper()
	eventually(r.t, object+" is forked", func() bool {
		st, err := r.Coordinator(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		for _, f := range st.Sync.Findings {
			if f.Object == object && f.Code == fault.Forked && f.Contact != "" {
				return true
			}
		}
		return false
	})
	eventually(r.t, "nothing is written", func() bool { return r.session.writable() != nil })
	_, err := r.CreateDataset(r.t.Context(), user, CreateDatasetRequest{Title: "x"})
	wantCode(r.t, "a change", err, fault.Forked)
}

// compares compares the safety number of a contact, without which a contact's word stops nothing.
func (r *running) compares(other *running) {
	r.t.Helper()
	if _, err := r.VerifyContact(r.t.Context(), other.vault.UserID(), Comparison{Number: r.numbers(other).Digits}); err != nil {
		r.t.Fatal(err)
	}
}

// TestE04_TwoVaults has the coordinator show two machines of one user two vaults from some day on. As soon as they have written to one
// contact, and hear of it, both say so and write no more, until a person has looked; what one of them wrote is nothing to the other.
func TestE04_TwoVaults(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace := friends(t, c)
	f.compares(grace)
	b, isOfB := f.newDeviceOf(c)
	if err := f.ApproveDevice(t.Context(), b.keyFileID(), b.ask("cellar"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	eventually(t, "the vault is known to be the newest", func() bool { return b.session.writable() == nil })
	for _, r := range []*running{b, f.running, grace} {
		r.settled()
	}
	other := c.Main.Fork()
	var withheld, joined atomic.Pointer[string] // whose mailbox; the machine that is shown the other one's vault
	nobody, one, two, both := "", "f", "b", "both"
	withheld.Store(&both)
	joined.Store(&nobody)
	c.Hook(func(e *coordinatortest.Exchange) {
		if e.Caller != f.user {
			return
		}
		who := one
		if isOfB(e) {
			who = two
		}
		if about(e, "v-") && (who == two) != (*joined.Load() == who) {
			e.Branch = other
		}
		if e.Operation == "listMessages" && (*withheld.Load() == who || *withheld.Load() == both) {
			e.Answer = coordinatortest.Problem(503, "unavailable")
		}
	})
	tells := func(a *running) { // grace answers with what she was told; the answer waits
		answers := grace.requests(c, "sendMessage", f.user)
		a.mustTell(grace)
		eventually(t, "an answer", func() bool { return grace.requests(c, "sendMessage", f.user) > answers })
	}
	tells(f.running)
	for range 4 { // as far as the other one was when it told of itself: what is ahead may be its successor
		b.create("there")
	}
	tells(b)
	withheld.Store(&one)
	b.session.sync.poke(allTasks)
	b.showsForked(headVault)
	for range 8 {
		f.create("here")
	}
	withheld.Store(&nobody)
	if err := grace.tell(f.running, true); err != nil {
		t.Fatal(err)
	}
	f.showsForked(headVault)
	for _, r := range []*running{f.running, b} {
		wantCode(t, "a secret", r.tell(grace, true), fault.Forked)
		r.awaitEvents(EventHeads, 1)
		if got := r.secretCount(); got > 2 {
			t.Errorf("%d secrets", got)
		}
	}

	// It stays so, whatever is opened anew, until a person says which one is right.
	if err := b.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.unlock()
	wantCode(t, "after an unlock", b.session.writable(), fault.Forked)
	wantCode(t, "L23", f.TrustVault(t.Context(), nil), fault.Forbidden)
	if err := f.TrustVault(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	f.create("by a person's word")
	f.settled()
	f.awaitEvents(EventVaultTrusted, 1)
	f.mustTell(grace)
	f.settled()
	f.session.sync.poke(taskHeads)
	f.settled()
	if f.session.writable() != nil || f.found(headVault, fault.Forked) {
		t.Error("what was looked at is found again")
	}

	// One is shown the vault of the other: it takes nothing over, and writes nothing.
	joined.Store(&one)
	f.session.sync.poke(taskVault)
	if code := f.failure("vault"); code != fault.Forked && code != fault.RolledBack {
		t.Error(code)
	}
	_, err := f.CreateDataset(t.Context(), user, CreateDatasetRequest{Title: "over the other one"})
	if !hasCode(err, []fault.Code{fault.Forked, fault.RolledBack}) {
		t.Errorf("written over the other one: %v", err)
	}
}

// TestE04_TwoDeviceLists has the coordinator show two machines of one user two device lists. When one has the vault's word on what the
// other follows, it stops: it changes nothing and sends nothing.
func TestE04_TwoDeviceLists(t *testing.T) {
	c := coordinatortest.New(t, coordinatortest.Options{})
	f, grace := friends(t, c)
	f.compares(grace)
	b, isOfB := f.newDeviceOf(c)
	id := b.keyFileID()
	if err := f.ApproveDevice(t.Context(), id, b.ask("cellar"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	eventually(t, "the vault is known to be the newest", func() bool { return b.session.writable() == nil })
	b.settled()
	f.settled()
	other := c.Main.Fork()
	var apart atomic.Bool
	apart.Store(true)
	c.Hook(func(e *coordinatortest.Exchange) {
		if !isOfB(e) {
			return
		}
		if e.Operation == "addDeviceLink" || e.Operation == "listDeviceLinks" || about(e, "d-") {
			e.Branch = other
		}
		if apart.Load() && about(e, "v-") {
			e.Answer = coordinatortest.Problem(503, "unavailable")
		}
	})
	if err := b.RenameDevice(t.Context(), id, "there"); err != nil {
		t.Fatal(err)
	}
	if err := f.RenameDevice(t.Context(), id, "here"); err != nil {
		t.Fatal(err)
	}
	f.settled()
	apart.Store(false)
	b.session.sync.poke(allTasks)
	b.failsWith("devices", fault.Forked)
	wantCode(t, "a change", b.RenameDevice(t.Context(), id, "more"), fault.Forked)
	sent := b.requests(c, "sendMessage", grace.vault.UserID())
	if err := b.tell(grace, true); err != nil { // it waits
		t.Fatal(err)
	}
	links := b.requests(c, "listDeviceLinks", "")
	b.session.sync.poke(allTasks)
	eventually(t, "a round", func() bool { return b.requests(c, "readBlobs", "") > 0 && b.session.sync.status().Outbox > 0 })
	b.failsWith("devices", fault.Forked)
	if n := b.requests(c, "sendMessage", grace.vault.UserID()); n != sent || links == 0 {
		t.Errorf("%d messages left", n-sent)
	}
	if list, err := b.Devices(t.Context()); err != nil || list.Error != fault.Forked {
		t.Errorf("%+v, %v", list, err)
	}
}
