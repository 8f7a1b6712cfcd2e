package membership

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
)

// A user's machines over two days: one begins, two join, names and keys change, one goes.
func TestLife(t *testing.T) {
	w := setup(t)
	desk := w.machine("desk")
	if state, err := desk.State(); state != Unknown || err != nil {
		t.Error(state, err)
	}
	isCode(t, "before the list was seen", second(desk.Devices(t.Context())), fault.Unavailable)
	if _, _, err := desk.Current(t.Context()); err == nil {
		t.Error("a state key before the list was seen")
	}
	id := desk.DeviceID()
	desk.sync(Listed)
	w.same(desk)
	desk.start()
	desk.sync(Listed)
	if desk.DeviceID() != id || desk.names() != "desk" {
		t.Error("not the same device: ", desk.names())
	}

	laptop := w.machine("laptop")
	laptop.sync(Unlisted)
	if laptop.Head() != (devices.Head{}) {
		t.Error("a machine that is not listed has a head")
	}
	code := laptop.ask()
	laptop.sync(Asking)
	if again, err := laptop.Code(t.Context()); err != nil || string(again) != string(code) || len(code) != 35 {
		t.Errorf("%q, %q, %v", code, again, err)
	}
	list, err := desk.Requests(t.Context())
	if err != nil || len(list) != 1 || list[0].Device != laptop.DeviceID() || list[0].Name != "laptop" || !list[0].Time.Equal(day0) {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := desk.Approve(t.Context(), laptop.DeviceID(), code); err != nil {
		t.Fatal(err)
	}
	laptop.sync(Listed)
	w.same(desk, laptop)
	isCode(t, "no code any more", second(laptop.Code(t.Context())), fault.NotFound)
	isCode(t, "asking when listed", second(laptop.Ask(t.Context(), "laptop")), fault.Conflict)
	if list, err := desk.Requests(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}

	phone := laptop.join("phone")
	desk.sync(Listed)
	w.same(phone, desk, laptop)
	if err := phone.Rename(t.Context(), desk.DeviceID(), "attic"); err != nil {
		t.Fatal(err)
	}
	desk.sync(Listed)
	if desk.names() != "attic laptop phone" {
		t.Error(desk.names())
	}
	isCode(t, "of nobody", desk.Rename(t.Context(), devices.NewDeviceID(), "x"), fault.NotFound)

	before, _, _ := desk.Current(t.Context())
	if err := desk.Remove(t.Context(), phone.DeviceID()); err != nil {
		t.Fatal(err)
	}
	laptop.sync(Listed)
	w.same(desk, laptop)
	if epoch, _, err := desk.Current(t.Context()); epoch != before+1 || err != nil {
		t.Errorf("epoch %d, %v, before %d", epoch, err, before)
	}
	state, err := phone.Sync(t.Context())
	if state != Removed {
		t.Error(state)
	}
	isCode(t, "removed", err, fault.Revoked)
	isCode(t, "the key of a removed device", third(phone.Current(t.Context())), fault.Locked)
	isCode(t, "a former key of a removed device", second(phone.At(t.Context(), before)), fault.Locked)

	if err := phone.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	phone.sync(Unlisted)
	desk.reseal()
	laptop.reseal()
	if err := laptop.Approve(t.Context(), phone.DeviceID(), phone.ask()); err != nil {
		t.Fatal(err)
	}
	phone.sync(Listed)
	desk.sync(Listed)
	w.same(desk, laptop, phone)
}

func third[A, B any](_ A, _ B, err error) error { return err }

// A day later each device has a new key, and there is one new state key; the former one is there until everything was sealed again.
func TestDailyRotation(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	desk.sync(Listed)
	for day := range 3 {
		first, _, _ := desk.Current(t.Context())
		if err := desk.Rotate(t.Context()); err != nil || desk.Head().Sequence != uint64(2+2*day) {
			t.Fatalf("not due: list %d, %v", desk.Head().Sequence, err)
		}
		w.later(25 * time.Hour)
		for _, m := range []*machine{desk, laptop, desk, laptop} {
			if err := m.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		desk.sync(Listed)
		w.same(desk, laptop)
		if epoch, _, _ := desk.Current(t.Context()); epoch != first+1 {
			t.Fatalf("epoch %d after %d", epoch, first)
		}
		former, err := desk.At(t.Context(), first)
		other, errOther := laptop.At(t.Context(), first)
		if err != nil || errOther != nil || !former.Equal(other) {
			t.Fatal("the former key: ", err, errOther)
		}
		isCode(t, "to be sealed again first", desk.Remove(t.Context(), laptop.DeviceID()), fault.Conflict)

		former = former.Clone()
		desk.start() // in the middle
		desk.sync(Listed)
		again, err := desk.At(t.Context(), first)
		if err != nil || !again.Equal(former) {
			t.Fatal("the former key after a restart: ", err)
		}
		isCode(t, "another epoch", desk.Resealed(t.Context(), first), fault.Conflict)
		desk.reseal()
		laptop.reseal()
		if !again.IsZero() {
			t.Error("the former key was not wiped")
		}
		isCode(t, "an erased key", second(desk.At(t.Context(), first)), fault.NotFound)
		if n := len(desk.links) + len(laptop.links); n > 4 {
			t.Errorf("%d links are kept", n)
		}
		desk.start()
		desk.sync(Listed)
		isCode(t, "an erased key after a restart", second(desk.At(t.Context(), first)), fault.NotFound)
		isCode(t, "a key to come", second(desk.At(t.Context(), first+2)), fault.NotFound)
	}
}

// At follows the list when it is asked for a key to come.
func TestAtFollows(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	w.later(25 * time.Hour)
	if err := desk.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	epoch, want, err := desk.Current(t.Context())
	if err != nil || epoch != 2 {
		t.Fatal(epoch, err)
	}
	w.refuse = func(string) error { return fault.New(fault.Unavailable, "offline") }
	isCode(t, "offline", second(laptop.At(t.Context(), 2)), fault.Unavailable)
	if epoch, _, err := laptop.Current(t.Context()); epoch != 1 || err != nil {
		t.Error("it knows of nothing newer: ", err)
	}
	w.refuse = func(what string) error {
		if what == "read" {
			return fault.New(fault.Unavailable, "offline")
		}
		return nil
	}
	isCode(t, "the link, and not the record", second(laptop.At(t.Context(), 2)), fault.Unavailable)
	isCode(t, "the key of an epoch that is over", third(laptop.Current(t.Context())), fault.Locked)
	w.calm()
	if key, err := laptop.At(t.Context(), 2); err != nil || !key.Equal(want) {
		t.Fatal(err)
	}
}

// A device that was away for some epochs, or did not seal again for some, gets the newest key and the former one.
func TestAwayForSomeEpochs(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop, phone := desk.join("laptop"), desk.join("phone")
	desk.sync(Listed)
	for range 4 {
		phone.sync(Listed)
		w.later(25 * time.Hour)
		if err := desk.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if epoch, _, _ := desk.Current(t.Context()); epoch < 5 {
			desk.reseal()
		}
	}
	laptop.sync(Listed)
	phone.sync(Listed)
	w.same(desk, laptop, phone)
	if n := len(phone.links); n != 2 {
		t.Errorf("%d links are kept, not the newest and the last of the former epoch", n)
	}
	want, err := desk.At(t.Context(), 4)
	for _, m := range []*machine{laptop, phone} {
		key, errOther := m.At(t.Context(), 4)
		if err != nil || errOther != nil || !key.Equal(want) {
			t.Error(m.name, err, errOther)
		}
		isCode(t, "the third", second(m.At(t.Context(), 3)), fault.NotFound)
	}
}

func TestClosed(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	_, key, err := desk.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	desk.Close()
	desk.Close()
	if !key.IsZero() {
		t.Error("the state key was not wiped")
	}
	isCode(t, "Sync", second(desk.Sync(t.Context())), fault.Locked)
	isCode(t, "Current", third(desk.Current(t.Context())), fault.Locked)
	isCode(t, "At", second(desk.At(t.Context(), 1)), fault.Locked)
	isCode(t, "Rotate", desk.Rotate(t.Context()), fault.Locked)
	isCode(t, "Reset", desk.Reset(t.Context()), fault.Locked)
	desk.start()
	desk.sync(Listed)
	w.same(desk)
}

// Only the one who has the code is approved; what else is said about it does no harm.
func TestApproval(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop, other := w.machine("laptop"), w.machine("other")
	laptop.sync(Unlisted)
	other.sync(Unlisted)
	isCode(t, "no request", desk.Approve(t.Context(), laptop.DeviceID(), other.ask()), fault.NotFound)
	first := laptop.ask()
	isCode(t, "the code of another", desk.Approve(t.Context(), other.DeviceID(), first), fault.UntrustedKey)
	w.records[devices.RequestName(laptop.DeviceID())][100] ^= 1
	code := laptop.ask()
	if bytes.Equal(code, first) || !bytes.Equal(code, laptop.ask()) {
		t.Error("asking again: the same code for a request that is there, another one for one that is not in order")
	}
	isCode(t, "the code before", desk.Approve(t.Context(), laptop.DeviceID(), first), fault.UntrustedKey)
	isCode(t, "no code", desk.Approve(t.Context(), laptop.DeviceID(), []byte("12345")), fault.InvalidRequest)
	isCode(t, "by one that is not listed", other.Approve(t.Context(), laptop.DeviceID(), code), fault.Forbidden)
	w.same(desk)

	w.records["d-request-junk"] = []byte("junk")
	w.records[devices.RequestName(devices.NewDeviceID())] = []byte("junk")
	if list, err := desk.Requests(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	laptop.start() // the code is in the key file
	laptop.sync(Asking)
	for range 2 {
		if err := desk.Approve(t.Context(), laptop.DeviceID(), code); err != nil {
			t.Fatal(err)
		}
	}
	laptop.sync(Listed)
	w.same(desk, laptop)

	delete(w.records, devices.RequestName(other.DeviceID()))
	other.sync(Unlisted) // it sees that nobody can approve it
	other.ask()
	if state, err := other.State(); state != Asking || err != nil {
		t.Error(state, err)
	}
}

// Somebody says that no list may be begun: none is, and a first link that was on its way is not sent again. A list that is there is followed.
func TestMayNotBegin(t *testing.T) {
	w := setup(t)
	desk := &machine{w: w, name: "desk", path: filepath.Join(t.TempDir(), "desk")}
	desk.past.w = w
	var refused error
	start := func() {
		o := desk.options()
		o.MayBegin = func(context.Context) error { return refused }
		member, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		desk.Member = member
	}
	begun := func(want fault.Code) {
		t.Helper()
		if state, err := desk.Sync(t.Context()); fault.CodeOf(err) != want || state != Unknown || len(w.links) != 0 {
			t.Fatalf("%s, %v, %d links", state, err, len(w.links))
		}
	}
	stale := fault.New(fault.Stale, "not now")
	start()
	refused = stale
	begun(fault.Stale)
	if _, err := desk.Ask(t.Context(), "desk"); !errors.Is(err, fault.Stale) {
		t.Fatal(err)
	}
	refused = nil
	w.refuse = func(what string) error {
		if what == "add" {
			return fault.New(fault.Unavailable, "lost")
		}
		return nil
	}
	begun(fault.Unavailable)
	w.calm()
	refused = stale
	begun(fault.Stale)
	start()
	begun(fault.Stale)
	refused = nil
	desk.sync(Listed)
	refused = stale
	desk.sync(Listed)
}
