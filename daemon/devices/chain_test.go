package devices

import (
	"slices"
	"testing"

	"coldframe/internal/fault"
)

// The epoch, in a link that keeps the state key, and far enough along the chain that no other rule catches it.
func TestE06_EpochOutOfTurn(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b := a.add("laptop")
	a.follow()
	a.must(a.sign(Changes{Remove: []DeviceID{b.d.ID}}))
	for range 3 {
		a.must(a.sign(Changes{}))
	}
	kept, _ := a.successor(Changes{})
	rotated, _ := a.successor(Changes{Rotate: true})
	for what, c := range map[string]struct {
		link Link
		edit func(l *Link)
	}{
		"another key":           {kept, func(l *Link) { l.Commitment = Hash{1} }},
		"another date":          {kept, func(l *Link) { l.EpochTime-- }},
		"next, without a key":   {kept, func(l *Link) { l.Epoch++; l.EpochTime = l.Time }},
		"two more":              {rotated, func(l *Link) { l.Epoch++ }},
		"next, dated back":      {rotated, func(l *Link) { l.EpochTime-- }},
		"the key, not the next": {rotated, func(l *Link) { l.Epoch-- }},
	} {
		l := copyOf(c.link)
		c.edit(&l)
		isCode(t, what, second(a.list.Next(a.forge(l))), fault.NotAuthentic)
	}
	older := copyOf(kept)
	older.Epoch--
	isCode(t, "one less", second(a.list.Next(a.forge(older))), fault.RolledBack)
}

// An older list, or older state key, in every way that the coordinator has.
func TestE02_OlderListOrKey(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	var records [][]byte
	var lists []*List
	for range 4 {
		lists, records = append(lists, a.list), append(records, w.records[a.list.WrapsName()])
		a.must(a.sign(Changes{Rotate: true}))
	}
	head := a.list.Head()
	for n := 1; n < len(w.links); n++ {
		isCode(t, "a prefix", second(OpenList(w.owner(), head, w.links[:n])), fault.RolledBack)
	}
	for i, l := range lists {
		isCode(t, "an older link", second(a.list.Next(w.links[i])), fault.RolledBack)
		isCode(t, "an older record", second(OpenRecord(a.list, w.sealer, records[i])), fault.NotAuthentic)
		r, err := OpenRecord(l, w.sealer, records[i])
		if err != nil {
			t.Fatal(err)
		}
		k, err := r.Unwrap(a.d)
		if err != nil {
			t.Fatal(err)
		}
		isCode(t, "an older state key", a.ring.Advance(k), fault.RolledBack)
	}
	link, _ := a.successor(Changes{})
	link.Epoch, link.Commitment, link.EpochTime = lists[1].Epoch, lists[1].Commitment, lists[1].EpochTime
	isCode(t, "an older epoch in a new link", second(a.list.Next(a.forge(link))), fault.RolledBack)
	if l, err := a.list.Next(w.links[len(w.links)-1]); err != nil || l != a.list {
		t.Error("the newest again:", err)
	}
	isCode(t, "nothing", second(OpenList(w.owner(), head, nil)), fault.Incomplete)
}

// Two branches, each correctly signed: shown to two devices they are a fork as soon as either sees a link or a head of the other.
func TestE04_TwoBranches(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b := a.add("laptop")
	a.follow()
	one, err := a.sign(Changes{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.sign(Changes{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "the other branch", second(one.List.Next(two.Link)), fault.Forked)
	isCode(t, "the other head", one.List.Head().Compare(two.List.Head()), fault.Forked)
	if err := a.ring.Advance(one.State); err != nil {
		t.Fatal(err)
	}
	a.ring.EraseFormer()
	longer, err := one.List.Sign(a.author(), open(t, w, one), a.ring, Changes{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "a longer branch", second(two.List.Next(longer.Link)), fault.Forked) // no later link heals it
	branch := append(slices.Clone(w.links), one.Link, longer.Link)
	isCode(t, "remembered on the way", second(OpenList(w.owner(), two.List.Head(), branch)), fault.Forked)
	if _, err := OpenList(w.owner(), one.List.Head(), branch); err != nil {
		t.Error("the branch that was seen:", err)
	}
}

func open(t *testing.T, w *world, u *Update) *Record {
	t.Helper()
	r, err := OpenRecord(u.List, w.sealer, u.Wraps)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Holes, jumps and ends of the number line.
func TestE06_GapsAndJumps(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	start := a.list
	for range 4 {
		a.must(a.sign(Changes{Rotate: true}))
	}
	isCode(t, "one left out", second(start.Next(w.links[2])), fault.Incomplete)
	for drop := range w.links[:4] {
		holed := slices.Delete(slices.Clone(w.links), drop, drop+1)
		isCode(t, "a hole", second(OpenList(w.owner(), Head{}, holed)), fault.Incomplete)
	}
	for i := range w.links[1:] {
		swapped := slices.Clone(w.links)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		if _, err := OpenList(w.owner(), Head{}, swapped); err == nil {
			t.Error("two links swapped")
		}
	}
	doubled := slices.Insert(slices.Clone(w.links), 2, w.links[1])
	if l, err := OpenList(w.owner(), Head{}, doubled); err != nil || l.Head() != a.list.Head() {
		t.Error("a link twice in a row, as a repeated answer has it:", err)
	}
	// A chain at the end of the numbers goes nowhere, and does not begin again at 0.
	end := *a.list
	end.Sequence, end.Epoch = maxCount, maxCount
	_, err := end.Sign(a.author(), &Record{list: &end, members: a.record().members}, a.ring, Changes{})
	isCode(t, "the ring has another epoch", err, fault.Stale)
	k, _ := a.ring.Current()
	ring := NewRing(StateKey{Epoch: maxCount, Key: k.Key.Clone()})
	end.Commitment = StateKey{Epoch: maxCount, Key: k.Key}.commitment(w.id)
	_, err = end.Sign(a.author(), &Record{list: &end, members: a.record().members}, ring, Changes{})
	isCode(t, "beyond the last number", err, fault.NotAuthentic)
}

// A first link is its author's alone.
func TestFirstLink(t *testing.T) {
	w := setup(t)
	a := w.machine()
	u, err := NewList(a.author(), "desk")
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(l *Link){
		"previous":  func(l *Link) { l.Previous = Hash{1} },
		"recovery":  func(l *Link) { l.Recovery = true },
		"removed":   func(l *Link) { l.Removed = []DeviceID{NewDeviceID()} },
		"author":    func(l *Link) { l.Author = NewDeviceID() },
		"added":     func(l *Link) { l.Devices[0].Added-- },
		"key time":  func(l *Link) { l.Devices[0].KeyTime-- },
		"epoch":     func(l *Link) { l.Epoch = 2 },
		"epochtime": func(l *Link) { l.EpochTime-- },
		"approval":  func(l *Link) { l.Devices[0].Approval = make([]byte, 32) },
		"two": func(l *Link) {
			e := l.Devices[0]
			e.ID = NewDeviceID()
			l.Devices = append(l.Devices, e)
			sortDevices(l)
		},
		"other key": func(l *Link) { l.Devices[0].AuthorKey = AuthorKey{9} },
	} {
		l := copyOf(u.List.Link)
		edit(&l)
		isCode(t, name, second(OpenList(w.owner(), Head{}, [][]byte{a.forge(l)})), fault.NotAuthentic)
	}
	l := copyOf(u.List.Link)
	l.Sequence, l.Previous = 2, Hash{1}
	isCode(t, "not the first", second(OpenList(w.owner(), Head{}, [][]byte{a.forge(l)})), fault.Incomplete)
}
