package membership

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
)

// stopped fails unless a machine's Sync has that failure, and nothing new can be sealed on it.
func (m *machine) stopped(what string, want State, code fault.Code) {
	m.w.Helper()
	state, err := m.Sync(m.w.Context())
	isCode(m.w, what, err, code)
	_, kept := m.State()
	isCode(m.w, what+", afterwards", kept, code)
	_, _, err = m.Current(m.w.Context())
	isCode(m.w, what+": sealing", err, fault.Locked)
	isCode(m.w, what+": why", err, code)
	if state != want || fault.CodeOf(err) != fault.Locked {
		m.w.Errorf("%s: %s, want %s; sealing: %v", what, state, want, err)
	}
}

// The coordinator shows two devices two branches of the list. As soon as one has the other's head, from the vault, it stops, and nothing
// heals it but a person; from a contact, it is said.
func TestE04_BranchedList(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	desk.sync(Listed)
	other := w.branch()
	laptop.w = other
	laptop.start()
	for _, m := range []*machine{desk, laptop} {
		if err := m.Rename(t.Context(), m.DeviceID(), "renamed"); err != nil {
			t.Fatal(err)
		}
		m.sync(Listed)
	}
	isCode(t, "what a contact says", desk.CheckHead(laptop.Head()), fault.Forked)
	desk.sync(Listed) // contacts may lie
	if err := desk.CheckHead(desk.Head()); err != nil {
		t.Error(err)
	}

	w.noted = laptop.Head()
	desk.stopped("the vault has the other", Listed, fault.Forked)
	w.noted = desk.Head()
	desk.stopped("the vault has its own again", Listed, fault.Forked)
	desk.start()
	desk.stopped("after a restart", Listed, fault.Forked)
	isCode(t, "a change", desk.Rename(t.Context(), desk.DeviceID(), "more"), fault.Forked)

	other.links = slices.Clone(w.links) // the other one is shown the branch itself
	laptop.stopped("another link in the place of its own", Listed, fault.Forked)
	other.links = slices.Clone(laptop.links)
	laptop.start()
	laptop.stopped("after a restart", Listed, fault.Forked)

	id := desk.DeviceID()
	if err := desk.Reset(t.Context()); err != nil || desk.DeviceID() == id {
		t.Fatal(err)
	}
	desk.sync(Unlisted)
}

// The coordinator goes on showing one device what the list was. The other's head in the vault says that there is more.
func TestE05_FrozenList(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	phone := desk.join("phone")
	laptop.sync(Listed)
	frozen := &view{Links: w, upTo: len(w.links)}
	laptop.o.Links = frozen
	if err := desk.Remove(t.Context(), phone.DeviceID()); err != nil {
		t.Fatal(err)
	}
	laptop.stopped("it does not see the removal", Listed, fault.RolledBack)
	isCode(t, "nor makes a link", laptop.Rename(t.Context(), laptop.DeviceID(), "x"), fault.RolledBack)
	isCode(t, "of a contact", laptop.CheckHead(desk.Head()), fault.Incomplete)
	frozen.upTo = math.MaxInt
	laptop.sync(Listed)
	w.same(desk, laptop)
}

// view is a coordinator that shows no links beyond one.
type view struct {
	Links
	upTo int
}

func (v *view) After(ctx context.Context, sequence uint64) ([][]byte, error) {
	links, err := v.Links.After(ctx, sequence)
	return links[:min(len(links), max(0, v.upTo-int(sequence)))], err
}

// The list gets shorter, or is gone: nobody goes along, or begins another.
func TestE02_ShorterList(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	desk.sync(Listed)
	whole := w.links
	for n := range whole {
		w.links = whole[:n:n]
		desk.stopped("while it runs", Listed, fault.RolledBack)
		desk.start()
		_, err := desk.Sync(t.Context())
		isCode(t, "after a restart", err, fault.RolledBack)

		desk.memory = nil // the local store is gone, the key file is there
		desk.start()
		_, err = desk.Sync(t.Context())
		isCode(t, "without a memory", err, fault.RolledBack)
		_, err = w.machine("new").Sync(t.Context())
		isCode(t, "a new machine", err, fault.RolledBack)

		w.links = whole
		desk.sync(Listed)
		w.same(desk, laptop)
	}
	w.links, w.noted, desk.memory = nil, devices.Head{}, nil
	desk.start()
	_, err := desk.Sync(t.Context())
	isCode(t, "only the key file remembers", err, fault.RolledBack)
	if len(w.links) != 0 {
		t.Error("a list was begun")
	}
}

// Numbers that jump, the largest ones, and links that are missing, doubled or in another order: refused, and nothing overflows.
func TestE06_Numbers(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	for i := range 4 {
		if err := laptop.Rename(t.Context(), laptop.DeviceID(), string(rune('a'+i))); err != nil {
			t.Fatal(err)
		}
	}
	head, memory := desk.Head(), bytes.Clone(desk.memory)
	for _, n := range []uint64{head.Sequence + 1, 1 << 53, math.MaxInt64, math.MaxUint64} {
		isCode(t, "a head", desk.CheckHead(devices.Head{Sequence: n, Hash: head.Hash}), fault.Incomplete)
		noted := w.noted
		w.noted = devices.Head{Sequence: n, Hash: head.Hash}
		if n > uint64(len(w.links)) {
			_, err := desk.Sync(t.Context())
			isCode(t, "in the vault", err, fault.RolledBack)
		}
		w.noted = noted
	}
	if err := errors.Join(desk.CheckHead(devices.Head{}), desk.CheckHead(devices.Head{Sequence: 1})); err != nil {
		t.Error("of before what is kept: ", err)
	}
	whole, at := w.links, int(head.Sequence)
	for what, c := range map[string]struct {
		links [][]byte
		code  fault.Code
	}{
		"one missing":  {slices.Delete(slices.Clone(whole), at, at+1), fault.Incomplete},
		"two swapped":  {append(slices.Clone(whole[:at]), whole[at+1], whole[at]), fault.Incomplete},
		"one again":    {append(slices.Clone(whole), whole[0]), fault.RolledBack},
		"cut":          {append(slices.Clone(whole[:at]), whole[at][:100]), fault.NotAuthentic},
		"empty":        {append(slices.Clone(whole[:at]), nil), fault.NotAuthentic},
		"far too long": {append(slices.Clone(whole[:at]), make([]byte, 1<<20)), fault.TooLarge},
	} {
		desk.memory, w.links = bytes.Clone(memory), c.links
		desk.start()
		_, err := desk.Sync(t.Context())
		isCode(t, what, err, c.code)
		w.links = whole
	}
	desk.sync(Listed)
	w.same(desk, laptop)
}

// A device that was removed does not come back under its id: not by asking again, not by its old request, not by its key file.
func TestK10_RemovedDeviceAsksAgain(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := w.machine("laptop")
	code := laptop.ask()
	request := w.records[devices.RequestName(laptop.DeviceID())]
	if err := desk.Approve(t.Context(), laptop.DeviceID(), code); err != nil {
		t.Fatal(err)
	}
	laptop.sync(Listed)
	if err := desk.Remove(t.Context(), laptop.DeviceID()); err != nil {
		t.Fatal(err)
	}
	w.records[devices.RequestName(laptop.DeviceID())] = request
	isCode(t, "the old request", desk.Approve(t.Context(), laptop.DeviceID(), code), fault.Revoked)
	if list, err := desk.Requests(t.Context()); err != nil || len(list) != 0 || w.records[devices.RequestName(laptop.DeviceID())] != nil {
		t.Errorf("%+v, %v", list, err)
	}
	_, err := laptop.Ask(t.Context(), "laptop")
	isCode(t, "asking again", err, fault.Revoked)
	isCode(t, "recovering", laptop.Recover(t.Context(), "laptop", intendNothing), fault.Conflict)
	isCode(t, "changing", laptop.Rename(t.Context(), laptop.DeviceID(), "x"), fault.Revoked)
	laptop.memory = nil
	laptop.start()
	laptop.stopped("without its memory", Removed, fault.Revoked)
	for name := range w.records {
		if name == "d-wraps-"+laptop.DeviceID().String()+"-0" {
			t.Error("a record of it is left")
		}
	}
	w.same(desk)
}

// Whoever stole an open vault makes a recovery: no device follows, until its user says that it was they.
func TestRecoveryByAThief(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop, asking := desk.join("laptop"), w.machine("phone")
	asking.ask()
	desk.sync(Listed)
	isCode(t, "nothing to accept", desk.AcceptRecovery(t.Context()), fault.NotFound)
	isCode(t, "by one that is listed", laptop.Recover(t.Context(), "thief", intendNothing), fault.Conflict)
	thief := w.machine("thief")
	if err := thief.Recover(t.Context(), "thief", intendNothing); err != nil {
		t.Fatal(err)
	}
	w.same(thief)
	if _, needed := thief.NeedsReseal(); needed {
		t.Error("it never had the former key")
	}
	for _, m := range []*machine{desk, laptop, asking} {
		m.stopped(m.name, Recovered, fault.UntrustedKey)
		m.start()
		m.stopped(m.name+", restarted", Recovered, fault.UntrustedKey)
	}
	desk.stopped("again", Recovered, fault.UntrustedKey)
	isCode(t, "a change", desk.Remove(t.Context(), laptop.DeviceID()), fault.UntrustedKey)

	for _, m := range []*machine{desk, asking} { // it was the user
		if err := m.AcceptRecovery(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	desk.stopped("accepted", Removed, fault.Revoked)
	if state, err := asking.State(); state != Asking || err != nil {
		t.Fatal(state, err)
	}
	code, err := asking.Code(t.Context())
	if err == nil {
		err = thief.Approve(t.Context(), asking.DeviceID(), code)
	}
	if err != nil {
		t.Fatal(err)
	}
	asking.sync(Listed)
	w.machine("another").sync(Unlisted) // to which it is history
	w.same(thief, asking)
}

// A list of somebody who has the vault, and on which the new machine was put without its code: it takes no key of that.
func TestListedWithoutTheCode(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := w.machine("laptop")
	code := laptop.ask()
	thief := w.branch()
	taken := &machine{w: thief, name: "desk", path: desk.path, memory: desk.memory} // the thief has a whole device
	taken.start()
	taken.sync(Listed)
	if err := taken.Approve(t.Context(), laptop.DeviceID(), code); err != nil {
		t.Fatal(err)
	}
	code[0] = '0' + (code[0]-'0'+1)%10
	isCode(t, "another code", desk.Approve(t.Context(), laptop.DeviceID(), code), fault.UntrustedKey)

	delete(w.records, devices.RequestName(laptop.DeviceID()))
	laptop.ask() // so the code on that list is not the one
	w.links, w.records = thief.links, thief.records
	state, err := laptop.Sync(t.Context())
	isCode(t, "listed without the code", err, fault.UntrustedKey)
	if state == Listed {
		t.Error(state)
	}
	isCode(t, "sealing", third(laptop.Current(t.Context())), fault.Locked)
}
