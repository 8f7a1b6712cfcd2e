package devices

import (
	"bytes"
	"slices"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
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

// What a link must be by itself, before any other is looked at.
func TestLinkInOrder(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	a.add("laptop")
	a.follow()
	for name, edit := range map[string]func(l *Link){
		"sequence 0":         func(l *Link) { l.Sequence = 0 },
		"sequence beyond":    func(l *Link) { l.Sequence = maxCount + 1 },
		"epoch 0":            func(l *Link) { l.Epoch = 0 },
		"epoch beyond":       func(l *Link) { l.Epoch = l.Sequence + 1 },
		"slot":               func(l *Link) { l.Slot = slots },
		"time":               func(l *Link) { l.Time = -1 },
		"time beyond":        func(l *Link) { l.Time = maxMillis + 1 },
		"epoch time":         func(l *Link) { l.EpochTime = -1 },
		"epoch time beyond":  func(l *Link) { l.EpochTime = maxMillis + 1 },
		"key time":           func(l *Link) { l.Devices[1].KeyTime = -1 },
		"key time beyond":    func(l *Link) { l.Devices[0].KeyTime = maxMillis + 1 },
		"added":              func(l *Link) { l.Devices[0].Added = -1 },
		"added beyond":       func(l *Link) { l.Devices[1].Added = maxMillis + 1 },
		"approval null":      func(l *Link) { l.Devices[0].Approval = nil },
		"approval of 31":     func(l *Link) { l.Devices[0].Approval = make([]byte, 31) },
		"no devices":         func(l *Link) { l.Devices = nil },
		"unsorted":           func(l *Link) { slices.Reverse(l.Devices) },
		"doubled":            func(l *Link) { l.Devices[1].ID = l.Devices[0].ID },
		"removed null":       func(l *Link) { l.Removed = nil },
		"removed and listed": func(l *Link) { l.Removed = []DeviceID{l.Devices[0].ID} },
		"removed twice":      func(l *Link) { l.Removed = []DeviceID{{1}, {1}} },
		"removed unsorted":   func(l *Link) { l.Removed = []DeviceID{{2}, {1}} },
	} {
		l := copyOf(a.list.Link)
		if err := l.check(); err != nil {
			t.Fatal(err)
		}
		edit(&l)
		isCode(t, name, l.check(), fault.NotAuthentic)
	}
}

// A record goes first, and its link may lose or never be sent: the records of the newest link and of the former epoch's last still stand.
func TestE03_RecordWrittenAndLinkNot(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	for _, rotate := range []bool{false, true, true, false, false, true, false, true} {
		in := []string{a.list.WrapsName()}
		if former, ok := a.list.Former(); ok {
			in = append(in, former.WrapsName())
		}
		for _, next := range []Changes{{}, {Rotate: true}} {
			u, err := a.sign(next)
			if err != nil {
				t.Fatal(err)
			}
			if name := u.List.WrapsName(); name == in[0] || len(in) > 1 && name == in[1] && !next.Rotate {
				t.Errorf("link %d would be written over %v", u.List.Sequence, in)
			}
		}
		a.must(a.sign(Changes{Rotate: rotate}))
	}
}

// One link has one encoding, whoever signs it.
func TestLinkHasOneEncoding(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	link, _ := a.successor(Changes{})
	payload, err := signed.Marshal(link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.list.Next(a.seal2(payload)); err != nil {
		t.Fatal(err)
	}
	array := bytes.Replace(payload, []byte{0x40, 0x0d, 0x80}, []byte{0x80, 0x0d, 0x80}, 1) // approval: an empty array, not empty bytes
	if bytes.Equal(array, payload) {
		t.Fatal("the approval was not found")
	}
	isCode(t, "an array for bytes", second(a.list.Next(a.seal2(array))), fault.NotAuthentic)

	inner, err := signed.Sign(a.d.present.signer(w.id), authorType, link)
	if err != nil {
		t.Fatal(err)
	}
	numbers := make([]uint16, len(inner))
	for i, b := range inner {
		numbers[i] = uint16(b)
	}
	outer, err := signed.Sign(w.signing, listType, numbers)
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "numbers for the inner envelope", second(a.list.Next(outer)), fault.NotAuthentic)
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
