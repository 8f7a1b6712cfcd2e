package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
)

// A link whose machine got no answer arrives late: before the next change, in the middle of it, never, or after another's link. It is taken,
// by the next Sync at the latest, or lost; and no record is written over that the list names.
func TestLateLink(t *testing.T) {
	for _, arrives := range []string{"before", "during", "never", "after another"} {
		w := setup(t)
		desk := w.begin()
		laptop := desk.join("laptop")
		desk.sync(Listed)
		var late []byte
		desk.o.Links = &slow{Links: w, late: &late}
		isCode(t, "slow", desk.Rename(t.Context(), desk.DeviceID(), "attic"), fault.Unavailable)
		desk.start()
		want := "attic laptop"
		arrive := func(string) { w.links, w.step = append(w.links, late), func(string) {} }
		switch arrives {
		case "before":
			arrive("")
		case "during":
			w.step = func(step string) {
				if step == "add" {
					arrive(step)
				}
			}
		case "after another":
			if err := laptop.Rename(t.Context(), laptop.DeviceID(), "kitchen"); err != nil {
				t.Fatal(err)
			}
			want = "desk kitchen"
		}
		if err := desk.Rename(t.Context(), devices.NewDeviceID(), "nobody"); !errors.Is(err, fault.NotFound) {
			t.Fatal(arrives, err)
		}
		if desk.names() != want || desk.pending != nil {
			t.Error(arrives, desk.names())
		}
		if err := desk.Remove(t.Context(), laptop.DeviceID()); err != nil {
			t.Fatal(arrives, err)
		}
		w.same(desk)
	}
}

// A link is on its way, its machine makes another change, and then it arrives: the first link has its record still.
func TestLateLinkKeepsItsRecord(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	var late []byte
	desk.o.Links = &slow{Links: w, late: &late}
	isCode(t, "slow", desk.Rename(t.Context(), desk.DeviceID(), "attic"), fault.Unavailable)
	desk.o.Links = w
	w.step = func(step string) {
		if step == "add" {
			w.links, w.step = append(w.links, late), func(string) {}
		}
	}
	if err := desk.Rename(t.Context(), desk.DeviceID(), "cellar"); err != nil || len(w.links) != 3 {
		t.Fatal(len(w.links), err)
	}
	w.same(desk)
	if desk.names() != "cellar" {
		t.Error(desk.names())
	}
}

// slow is a network in which links are on their way for long.
type slow struct {
	Links
	late *[]byte
}

func (s *slow) Add(_ context.Context, link []byte, _ uint64) error {
	*s.late = slices.Clone(link)
	return fault.New(fault.Unavailable, "no answer")
}

// A link that was refused for good is not sent again.
func TestRefusedLink(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	w.refuse = func(what string) error {
		if what == "add" {
			return fault.New(fault.StorageFull, "no room")
		}
		return nil
	}
	isCode(t, "no room", desk.Rename(t.Context(), desk.DeviceID(), "attic"), fault.StorageFull)
	w.calm()
	desk.start()
	desk.sync(Listed)
	if desk.names() != "desk" || len(w.links) != 1 {
		t.Error(desk.names())
	}
}

// While a device reads the record of the newest link, another writes over it: it goes on, to the newest.
func TestRecordIsWrittenOver(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	desk.sync(Listed)
	if err := desk.Rename(t.Context(), desk.DeviceID(), "attic"); err != nil {
		t.Fatal(err)
	}
	laptop.sync(Listed)
	w.step = func(step string) {
		if step == "read" {
			w.step = func(string) {}
			for _, name := range []string{"cellar", "kitchen"} {
				if err := desk.Rename(t.Context(), desk.DeviceID(), name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if laptop.names() != "kitchen laptop" {
		t.Error(laptop.names())
	}
	w.same(desk, laptop)
}

// Two devices change the list at the same time, at every step of one another: both changes are made.
func TestConflictAtEveryStep(t *testing.T) {
	for at := 1; ; at++ {
		w := setup(t)
		desk := w.begin()
		laptop := desk.join("laptop")
		n, met := at, ""
		w.step = func(step string) {
			if n--; n == 0 {
				met, w.step = step, func(string) {}
				if err := laptop.Rename(t.Context(), laptop.DeviceID(), "kitchen"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := desk.Rename(t.Context(), desk.DeviceID(), "attic"); err != nil {
			t.Fatalf("meeting at %s: %v", met, err)
		}
		if met == "" {
			if at < 8 {
				t.Errorf("only %d steps", at)
			}
			return
		}
		laptop.sync(Listed)
		desk.sync(Listed)
		w.same(desk, laptop)
		if desk.names() != "attic kitchen" {
			t.Fatalf("meeting at %s: %s", met, desk.names())
		}
	}
}

// Two machines of a new user begin at the same time: one does, the other finds its list.
func TestTwoBegin(t *testing.T) {
	for at := 1; ; at++ {
		w := setup(t)
		desk, laptop := w.machine("desk"), w.machine("laptop")
		n, met := at, false
		w.step = func(string) {
			if n--; n == 0 {
				met, w.step = true, func(string) {}
				if _, err := laptop.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := desk.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !met {
			return
		}
		a, _ := desk.State()
		b, _ := laptop.State()
		if a == b || a != Listed && b != Listed || a != Unlisted && b != Unlisted {
			t.Fatal(a, b)
		}
	}
}

// Somebody is always faster: three tries, and then it is said.
func TestThreeTries(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	busy, tries := false, 0
	w.step = func(step string) {
		if step == "add" && !busy {
			busy = true
			tries++
			if err := laptop.Rename(t.Context(), laptop.DeviceID(), fmt.Sprint("name ", tries)); err != nil {
				t.Fatal(err)
			}
			busy = false
		}
	}
	isCode(t, "always later", desk.Rename(t.Context(), desk.DeviceID(), "attic"), fault.Conflict)
	if tries != maxTries {
		t.Error(tries)
	}
	w.calm()
	desk.sync(Listed)
	w.same(desk, laptop)
}
