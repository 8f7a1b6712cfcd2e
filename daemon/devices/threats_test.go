package devices

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// forge signs a link as somebody does who has the user's signing key, and the author key of the machine.
func (m *machine) forge(l Link) []byte {
	m.w.Helper()
	inner, err := signed.Sign(m.d.present.signer(m.w.id), authorType, l)
	if err != nil {
		m.w.Fatal(err)
	}
	b, err := signed.Sign(m.w.signing, listType, inner)
	if err != nil {
		m.w.Fatal(err)
	}
	return b
}

// copyOf returns a link that can be edited.
func copyOf(l Link) Link {
	l.Devices, l.Removed = slices.Clone(l.Devices), slices.Clone(l.Removed)
	return l
}

// successor returns an honest link after the machine's list, unsigned, which adds, removes and rotates.
func (m *machine) successor(c Changes) (Link, *Update) {
	m.w.Helper()
	u, err := m.sign(c)
	if err != nil {
		m.w.Fatal(err)
	}
	return copyOf(u.List.Link), u
}

// The coordinator has no key: whatever it changes in a link, in one bit or in any field, is refused, and the list stays.
func TestK12_EditedLink(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	n, sealed, p := w.ask("laptop")
	add := a.approve(n.d.ID, sealed, p.Text())
	link, u := a.successor(Changes{Add: []*Approved{add}, Rotate: true})
	if _, err := a.list.Next(a.forge(link)); err != nil {
		t.Fatal("the link as it is:", err)
	}
	for i := range u.Link {
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(u.Link)
			b[i] ^= bit
			if _, err := a.list.Next(b); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.TooLarge) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
		if _, err := a.list.Next(u.Link[:i]); !errors.Is(err, fault.NotAuthentic) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	isCode(t, "longer", second(a.list.Next(append(bytes.Clone(u.Link), 0))), fault.NotAuthentic)

	// With the user's signing key, but not the author key of a listed device: the removed device, or whoever stole a vault.
	stranger := w.machine()
	for name, edit := range linkEdits(a, n) {
		l := copyOf(link)
		edit.do(&l)
		if _, err := a.list.Next(stranger.forge(l)); err == nil {
			t.Errorf("%s: a link signed by no listed device was taken", name)
		}
		l.Author = stranger.d.ID
		if _, err := a.list.Next(stranger.forge(l)); err == nil {
			t.Errorf("%s: a link of a device that is not listed was taken", name)
		}
	}
	isCode(t, "unchanged, signed by no listed device", second(a.list.Next(stranger.forge(link))), fault.NotAuthentic)

	// With all keys of a listed device: the rules of the chain.
	for name, edit := range linkEdits(a, n) {
		l := copyOf(link)
		edit.do(&l)
		_, err := a.list.Next(a.forge(l))
		if edit.code == "" && err != nil || edit.code != "" && !errors.Is(err, edit.code) {
			t.Errorf("%s: %v, want %q", name, err, edit.code)
		}
	}
}

type linkEdit struct {
	do   func(l *Link)
	code fault.Code // "": the author may say so; what it does is caught when the record is opened, or by who is approved
}

// linkEdits edits each field of a link by a (device a.d, adding n) in turn; the keys begin with the field's name.
func linkEdits(a, n *machine) map[string]linkEdit {
	entry := func(l *Link, m *machine) *Entry {
		i := slices.IndexFunc(l.Devices, func(e Entry) bool { return e.ID == m.d.ID })
		return &l.Devices[i]
	}
	na := fault.NotAuthentic
	return map[string]linkEdit{
		"User":                  {func(l *Link) { l.User = NewUser() }, na},
		"Sequence, 0":           {func(l *Link) { l.Sequence = 0 }, na},
		"Sequence, before":      {func(l *Link) { l.Sequence--; l.Epoch = 1 }, fault.Forked},
		"Sequence, jump":        {func(l *Link) { l.Sequence++ }, fault.Incomplete},
		"Sequence, largest":     {func(l *Link) { l.Sequence = maxCount }, fault.Incomplete},
		"Sequence, beyond":      {func(l *Link) { l.Sequence = 1<<64 - 1 }, na},
		"Previous":              {func(l *Link) { l.Previous[0] ^= 1 }, fault.Forked},
		"Time":                  {func(l *Link) { l.Time++ }, na}, // the new device's dates are not its
		"Time, negative":        {func(l *Link) { l.Time = -1 }, na},
		"Time, beyond":          {func(l *Link) { l.Time = maxMillis + 1 }, na},
		"Author, not listed":    {func(l *Link) { l.Author = n.d.ID }, na},
		"Recovery":              {func(l *Link) { l.Recovery = true }, na},
		"Epoch, same":           {func(l *Link) { l.Epoch-- }, na},
		"Epoch, jump":           {func(l *Link) { l.Epoch++ }, na},
		"Epoch, 0":              {func(l *Link) { l.Epoch = 0 }, na},
		"Epoch, largest":        {func(l *Link) { l.Epoch = 1<<64 - 1 }, na},
		"EpochTime":             {func(l *Link) { l.EpochTime-- }, na},
		"EpochTime, negative":   {func(l *Link) { l.EpochTime = -1 }, na},
		"Commitment, as before": {func(l *Link) { l.Commitment = a.list.Commitment }, na},
		"Commitment":            {func(l *Link) { l.Commitment[0] ^= 1 }, ""},
		"Wraps":                 {func(l *Link) { l.Wraps[0] ^= 1 }, ""},
		"Slot":                  {func(l *Link) { l.Slot = slots }, na},
		"Devices, none":         {func(l *Link) { l.Devices = []Entry{} }, na},
		"Devices, null":         {func(l *Link) { l.Devices = nil }, na},
		"Devices, doubled":      {func(l *Link) { l.Devices = append(l.Devices, l.Devices[1]) }, na},
		"Devices, unsorted":     {func(l *Link) { slices.Reverse(l.Devices) }, na},
		"Devices, one gone":     {func(l *Link) { *l = without(*l, a.d.ID) }, na}, // and not removed
		"Removed, null":         {func(l *Link) { l.Removed = nil }, na},
		"Removed, a stranger":   {func(l *Link) { l.Removed = []DeviceID{NewDeviceID()} }, na},
		"Removed, listed too":   {func(l *Link) { l.Removed = []DeviceID{a.d.ID} }, na},
		"ID":                    {func(l *Link) { entry(l, n).ID = DeviceID(bytes.Repeat([]byte{0xff}, 16)); sortDevices(l) }, ""},
		"ID, of another":        {func(l *Link) { entry(l, n).ID = a.d.ID }, na},
		"KeyHash":               {func(l *Link) { entry(l, a).KeyHash[0] ^= 1 }, na},
		"AuthorKey":             {func(l *Link) { entry(l, a).AuthorKey[0] ^= 1 }, na},
		"KeyTime":               {func(l *Link) { entry(l, a).KeyTime++ }, na},
		"KeyTime, new":          {func(l *Link) { entry(l, n).KeyTime++ }, na},
		"KeyTime, negative":     {func(l *Link) { entry(l, a).KeyTime = -1 }, na},
		"Added":                 {func(l *Link) { entry(l, a).Added++ }, na},
		"Added, new":            {func(l *Link) { entry(l, n).Added-- }, na},
		"Approval, none":        {func(l *Link) { entry(l, n).Approval = []byte{} }, na},
		"Approval, null":        {func(l *Link) { entry(l, n).Approval = nil }, na},
		"Approval, short":       {func(l *Link) { entry(l, n).Approval = make([]byte, 31) }, na},
		"Approval, of an old":   {func(l *Link) { entry(l, a).Approval = make([]byte, 32) }, na},
		"Approval":              {func(l *Link) { entry(l, n).Approval = make([]byte, 32) }, ""}, // the new device refuses: TestK04
	}
}

func sortDevices(l *Link) {
	slices.SortFunc(l.Devices, func(a, b Entry) int { return compareIDs(a.ID, b.ID) })
}

func without(l Link, id DeviceID) Link {
	l.Devices = slices.DeleteFunc(l.Devices, func(e Entry) bool { return e.ID == id })
	return l
}

// No field is forgotten above, today or when one comes.
func TestK12_EveryFieldIsEdited(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	edits := linkEdits(a, a)
	for _, typ := range []reflect.Type{reflect.TypeFor[Link](), reflect.TypeFor[Entry]()} {
		for i := range typ.NumField() {
			name := typ.Field(i).Name
			found := name == "_"
			for key := range edits {
				found = found || key == name || strings.HasPrefix(key, name+",")
			}
			if !found {
				t.Errorf("%s.%s is never edited", typ.Name(), name)
			}
		}
	}
}

// The key of a device is replaced by nobody but that device, not even by another that is listed.
func TestK02_KeyOfAnotherDevice(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b := a.add("laptop")
	a.follow()
	link, _ := a.successor(Changes{Rotate: true})
	i := slices.IndexFunc(link.Devices, func(e Entry) bool { return e.ID == b.d.ID })
	p := newPair(w.now)
	link.Devices[i].KeyHash, link.Devices[i].AuthorKey, link.Devices[i].KeyTime = p.hash(), p.authorKey(), link.Time
	isCode(t, "another's key", second(a.list.Next(a.forge(link))), fault.NotAuthentic)
	link.Author = b.d.ID
	isCode(t, "in its name", second(a.list.Next(a.forge(link))), fault.NotAuthentic)
	dated := copyOf(link)
	dated.Devices[i].KeyTime--
	isCode(t, "with another date", second(b.list.Next(b.forge(dated))), fault.NotAuthentic)
	if _, err := b.list.Next(b.forge(link)); err != nil {
		t.Error("by itself:", err)
	}
	half := copyOf(link)
	half.Devices[i].AuthorKey = b.d.present.authorKey()
	isCode(t, "half of it", second(b.list.Next(b.forge(half))), fault.NotAuthentic)
}

// The list of the own account under another key, or of another account, changes nothing.
func TestK03_ListUnderAnotherKey(t *testing.T) {
	w, other := setup(t), setup(t)
	a := w.begin("desk")
	head := a.list.Head()
	other.id = w.id // the coordinator makes a whole list of its own for this user
	b := other.begin("desk")
	u, err := b.sign(Changes{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "while running", second(a.list.Next(u.Link)), fault.NotAuthentic)
	isCode(t, "the same number", second(a.list.Next(other.links[0])), fault.NotAuthentic)
	isCode(t, "at start", second(OpenList(w.owner(), head, other.links)), fault.NotAuthentic)
	isCode(t, "for a newcomer", second(OpenList(w.owner(), Head{}, other.links)), fault.NotAuthentic)
	if a.list.Head() != head {
		t.Error("the list changed")
	}

	third := setup(t)
	c := third.begin("desk")
	third.id, third.signing = NewUser(), w.signing // same key, another user
	d := third.machine()
	list, err := NewList(d.author(), "desk")
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "another user's", second(OpenList(w.owner(), Head{}, [][]byte{list.Link})), fault.NotAuthentic)
	isCode(t, "another user's, as the next", second(c.list.Next(list.Link)), fault.NotAuthentic)
}
