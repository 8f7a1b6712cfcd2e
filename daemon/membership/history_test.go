package membership

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// lose sets the coordinator back to a state that now returned.
func (w *world) lose(links [][]byte, records map[string][]byte) {
	w.links, w.records = slices.Clone(links), maps.Clone(records)
}

// A coordinator that is restored gets back the links that a machine knows, with the record of the newest, by whichever machine has them; the same
// bytes, so that nobody sees another list.
func TestPutBack(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	links, records := slices.Clone(w.links), maps.Clone(w.records)
	laptop := desk.join("laptop")
	for range 3 { // former links are not needed any more, and kept all the same
		w.later(25 * 3600e9)
		if err := desk.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		desk.reseal()
		laptop.sync(Listed)
		laptop.reseal()
	}
	phone := desk.join("phone")
	want := slices.Clone(w.links)
	for _, m := range []*machine{desk, laptop} {
		w.lose(links, records)
		m.start()
		isCode(t, "followed", second(m.Sync(t.Context())), fault.RolledBack)
		if n, err := m.PutBack(t.Context()); err != nil || n != len(want)-len(links) {
			t.Fatalf("%d links of %d, %v", n, len(want)-len(links), err)
		}
		if !slices.EqualFunc(w.links, want, bytes.Equal) {
			t.Fatal("other links than there were")
		}
		for _, m := range []*machine{desk, laptop, phone} {
			m.start()
			m.sync(Listed)
		}
		w.same(desk, laptop, phone)
		if n, err := m.PutBack(t.Context()); err != nil || n != 0 {
			t.Errorf("again: %d, %v", n, err)
		}
	}
	desk.reseal()
	if err := desk.Remove(t.Context(), phone.DeviceID()); err != nil {
		t.Fatal(err)
	}
}

// What another machine made after the restore is another list: it stays, and nothing is put upon it. A machine that has too few links says so.
func TestPutBackOfAFork(t *testing.T) {
	w := setup(t)
	desk := w.begin()
	links, records := slices.Clone(w.links), maps.Clone(w.records)
	laptop := desk.join("laptop")
	joined, then := slices.Clone(w.links), maps.Clone(w.records)
	phone := desk.join("phone")

	w.lose(joined, then)
	w.noted = laptop.Head()
	laptop.join("tablet") // laptop knew nothing of the phone
	other := slices.Clone(w.links)
	isCode(t, "put upon another list", second(desk.PutBack(t.Context())), fault.Forked)
	if !slices.EqualFunc(w.links, other, bytes.Equal) {
		t.Error("the list was changed")
	}
	w.lose(links, records)
	phone.past.kept = nil // as of a machine that was made before there was a history
	isCode(t, "without the links", second(phone.PutBack(t.Context())), fault.RolledBack)
}

func FuzzHistory(f *testing.F) {
	w := newWorld(f, f.TempDir())
	m := w.begin()
	m.join("laptop")
	f.Add(m.past.kept)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHistory(b)
		if err != nil || len(b) == 0 {
			return
		}
		if again, err := signed.Marshal(h); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x reads as %x, %v", b, again, err)
		}
		h.add(h.Sequence+1, [][]byte{{1}})
		if h.link(h.Sequence) == nil || h.link(h.Sequence+1) != nil || len(h.Links) > maxHistory {
			t.Fatal("not added")
		}
	})
}
