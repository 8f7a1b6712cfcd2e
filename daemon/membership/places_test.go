package membership

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// The coordinator withholds a record: the device has no key to seal with until it is there, and never the one that the removed device knows.
func TestWithheldRecord(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	phone := desk.join("phone")
	laptop.sync(Listed)
	if err := desk.Remove(t.Context(), phone.DeviceID()); err != nil {
		t.Fatal(err)
	}
	name := desk.list.WrapsName()
	record := w.records[name]
	for what, body := range map[string][]byte{"none": nil, "another": []byte("another"), "cut": record[:len(record)-1]} {
		w.records[name] = body
		code := fault.NotAuthentic
		if body == nil {
			code = fault.Incomplete
		}
		laptop.stopped(what, Listed, code)
		isCode(t, what, second(laptop.Devices(t.Context())), code)
		if _, err := laptop.At(t.Context(), 1); err != nil {
			t.Error("what it had opens still: ", err)
		}
		isCode(t, "the key to come", second(laptop.At(t.Context(), 2)), fault.Locked)
	}
	w.records[name] = record
	laptop.sync(Listed)
	w.same(desk, laptop)
}

// What a machine keeps on its disk is lost or damaged.
func TestDamagedDisk(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	desk.sync(Listed)
	good := desk.memory
	for i := 0; i < len(good); i += 7 {
		desk.memory = bytes.Clone(good)
		desk.memory[i] ^= 4
		if _, err := New(desk.options()); err == nil {
			if k, err := parseKept(desk.memory); err != nil || !k.Forked {
				t.Fatalf("byte %d changed nothing", i)
			}
		} else if !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.TooLarge) {
			t.Fatal(i, err)
		}
	}
	desk.memory = nil
	desk.start()
	desk.sync(Listed)
	w.same(desk, laptop)

	if err := os.WriteFile(desk.path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	isCode(t, "key file", second(New(desk.options())), fault.NotAuthentic)
	if err := os.Remove(desk.path); err != nil {
		t.Fatal(err)
	}
	before := laptop.Head()
	desk.start()
	desk.sync(Unlisted) // no fresh start: a new machine that must be approved
	if laptop.Head() != before || len(w.links) != 2 {
		t.Error("the list changed")
	}
	if err := laptop.Approve(t.Context(), desk.DeviceID(), desk.ask()); err != nil {
		t.Fatal(err)
	}
	desk.sync(Listed)
	w.same(desk, laptop)

	locked := desk.options()
	locked.Signer = signed.Signer{}
	isCode(t, "no signing key", second(New(locked)), fault.Locked)
}

// The epoch before is not over for a device that joined in this one: it cannot tell what is sealed under a key that it never had.
func TestNewcomerBeginsNoEpoch(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	w.later(25 * time.Hour)
	if err := desk.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	laptop := desk.join("laptop")
	isCode(t, "the former key", second(laptop.At(t.Context(), 1)), fault.NotFound)
	isCode(t, "a new epoch", laptop.Remove(t.Context(), desk.DeviceID()), fault.Conflict)
	laptop.reseal()
	if err := laptop.Remove(t.Context(), desk.DeviceID()); err != nil {
		t.Fatal(err)
	}
	isCode(t, "the last one", laptop.Remove(t.Context(), laptop.DeviceID()), fault.Conflict)
	isCode(t, "one that never was", laptop.Remove(t.Context(), devices.NewDeviceID()), fault.NotFound)
}

// A device removes itself. The one that is left replaces the state key, which the other knows.
func TestLeaving(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	if err := laptop.Remove(t.Context(), laptop.DeviceID()); err != nil {
		t.Fatal(err)
	}
	isCode(t, "sealing", third(laptop.Current(t.Context())), fault.Locked)
	if state, _ := laptop.State(); state != Removed {
		t.Error(state)
	}
	desk.sync(Listed)
	desk.reseal()
	if err := desk.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if epoch, _, err := desk.Current(t.Context()); epoch != 3 || err != nil {
		t.Error(epoch, err)
	}
}

func FuzzKept(f *testing.F) {
	w := newWorld(f, f.TempDir())
	m := w.begin()
	f.Add(m.memory)
	f.Add([]byte{})
	p := &pending{link: []byte("link"), wraps: []byte("wraps")}
	if err := m.save(m.list, m.links, p, true); err != nil {
		f.Fatal(err)
	}
	f.Add(m.memory)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseKept(b)
		if err != nil || len(b) == 0 {
			return
		}
		if again, err := signed.Marshal(k); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x reads as %x, %v", b, again, err)
		}
	})
}

// What a machine remembers is lost after it has seen everything sealed again: it finds its place, though its former key is erased.
func TestLostMemoryAfterAReseal(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	laptop := desk.join("laptop")
	w.later(25 * time.Hour)
	for range 2 { // each replaces its key, one of them the state key
		for _, m := range []*machine{desk, laptop} {
			m.sync(Listed)
			if err := m.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.reseal()
		}
	}
	laptop.memory = nil
	laptop.start()
	laptop.sync(Listed)
	w.same(desk, laptop)
	if _, needed := laptop.NeedsReseal(); !needed {
		t.Fatal("there is nothing that it forgot")
	}
	laptop.reseal()
	w.later(25 * time.Hour)
	if err := laptop.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	desk.sync(Listed)
	w.same(desk, laptop)
}

// The coordinator loses the record of a former epoch, or has another in its place, and the only device starts again: what that key sealed is lost,
// and nothing else waits for it.
func TestLostFormerRecord(t *testing.T) {
	for what, body := range map[string][]byte{"none": nil, "another": []byte("another")} {
		t.Run(what, func(t *testing.T) {
			w := setup(t)
			desk := w.begin()
			former, epoch := desk.list.WrapsName(), desk.list.Epoch
			w.later(25 * time.Hour)
			if err := desk.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.records[former] = body
			desk.start()
			desk.sync(Listed)
			isCode(t, "the former key", second(desk.At(t.Context(), epoch)), fault.NotFound)
			if _, needed := desk.NeedsReseal(); !needed {
				t.Fatal("nothing waits for the former key")
			}
			desk.reseal()
			w.later(25 * time.Hour)
			if err := desk.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.same(desk)
		})
	}
}
