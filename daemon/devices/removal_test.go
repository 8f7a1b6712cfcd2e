package devices

import (
	"crypto/hpke"
	"slices"
	"testing"

	"coldframe/internal/fault"
)

// A removed device never comes back, by its id; nor by anybody's link.
func TestK10_RemovedDeviceListedAgain(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b, sealed, p := w.ask("laptop")
	add := a.approve(b.d.ID, sealed, p.Text())
	b.confirm(a.must(a.sign(Changes{Add: []*Approved{add}})))
	b.follow()
	entry, _ := a.list.device(b.d.ID)
	a.must(a.sign(Changes{Remove: []DeviceID{b.d.ID}}))
	for range 2 {
		isCode(t, "approved again", second(a.sign(Changes{Add: []*Approved{add}})), fault.Revoked)
		link, _ := a.successor(Changes{Rotate: true})
		link.Devices = append(link.Devices, entry)
		sortDevices(&link)
		isCode(t, "removed and listed", second(a.list.Next(a.forge(link))), fault.NotAuthentic)
		link.Removed = slices.DeleteFunc(link.Removed, func(id DeviceID) bool { return id == b.d.ID })
		isCode(t, "listed again", second(a.list.Next(a.forge(link))), fault.Revoked)
		forgotten, _ := a.successor(Changes{Rotate: true})
		forgotten.Removed = []DeviceID{}
		isCode(t, "forgotten", second(a.list.Next(a.forge(forgotten))), fault.NotAuthentic)
		a.must(a.sign(Changes{Rotate: true})) // and once more, later
	}
	isCode(t, "removed twice", second(a.sign(Changes{Remove: []DeviceID{b.d.ID}})), fault.Revoked)
	isCode(t, "a device that never was", second(a.sign(Changes{Remove: []DeviceID{NewDeviceID()}})), fault.Forbidden)
}

// The removed device, with every key it ever had, the vault and the coordinator: it opens nothing new, and nobody who knows of its
// removal follows it.
func TestE01_RemovedDevice(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b := a.add("laptop")
	a.follow()
	before := b.list
	a.must(a.sign(Changes{Remove: []DeviceID{b.d.ID}}))
	a.must(a.sign(Changes{Rotate: true}))
	for i := range w.links[before.Sequence:] {
		l, err := OpenList(w.owner(), Head{}, w.links[:int(before.Sequence)+i+1])
		if err != nil {
			t.Fatal(err)
		}
		if l.Sequence != a.list.Sequence {
			continue // its record was written over
		}
		r, err := OpenRecord(l, w.sealer, w.records[l.WrapsName()])
		if err != nil {
			t.Fatal(err)
		}
		isCode(t, "the new state key", second(r.Unwrap(b.d)), fault.Revoked)
		for _, m := range r.members {
			for _, hash := range []Hash{b.d.present.hash(), l.Devices[0].KeyHash} {
				if _, err := hpke.Open(b.d.present.private(), kdf, aead, l.wrapInfo(m.ID, hash), m.Wrap); err == nil {
					t.Error("a removed device opens a wrap")
				}
			}
		}
	}
	link, _ := a.successor(Changes{Rotate: true})
	link.Author = b.d.ID
	isCode(t, "its own link", second(a.list.Next(b.forge(link))), fault.Revoked)
	link.Author = a.d.ID
	isCode(t, "in another's name", second(a.list.Next(b.forge(link))), fault.NotAuthentic)

	// It goes on from the list of before: whoever saw the removal refuses, and the head tells who only remembers.
	branch, err := before.Sign(b.author(), b.recordOf(before), b.ring, Changes{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "a branch", second(a.list.Next(branch.Link)), fault.RolledBack)
	isCode(t, "a branch, by the head", a.list.Head().Compare(branch.List.Head()), fault.RolledBack)
	served := append(slices.Clone(w.links[:before.Sequence]), branch.Link)
	isCode(t, "a branch for a newcomer who knows the head", second(OpenList(w.owner(), a.list.Head(), served)), fault.RolledBack)

	// It begins again as a new device, which vault and signing key allow: nobody follows by itself, and it gets no state key by it.
	c := w.machine()
	recovery, err := a.list.Recover(c.author(), "laptop")
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "a recovery", second(a.list.Next(recovery.Link)), fault.UntrustedKey)
	if k, _ := a.ring.Current(); recovery.State.Key.Equal(k.Key) || recovery.List.Epoch != a.list.Epoch+1 {
		t.Error("a recovery has the state key of before")
	}
}

// recordOf returns the record of an older list, which a test kept.
func (m *machine) recordOf(l *List) *Record {
	return &Record{list: l, members: m.membersOf(l)}
}

func (m *machine) membersOf(l *List) []member {
	var out []member
	for _, e := range l.Devices {
		public := m.d.present.public
		if e.ID != m.d.ID {
			public = newPair(m.w.now).public
		}
		out = append(out, member{ID: e.ID, Name: encodeName("x"), Public: public})
	}
	return out
}

// Everything lost but password and kit: a new device begins again; all others are removed, and follow only if the user says so.
func TestRecovery(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b := a.add("laptop")
	a.follow()
	c := w.machine()
	for compareIDs(c.d.ID, a.list.Devices[0].ID) > 0 { // so that its entry is the first, whoever else is listed below
		c = w.machine()
	}
	isCode(t, "a listed device", second(a.list.Recover(a.author(), "x")), fault.Conflict)
	u, err := a.list.Recover(c.author(), "new")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.publish(u); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*machine{a, b} {
		isCode(t, "by itself", second(m.list.Next(u.Link)), fault.UntrustedKey)
		isCode(t, "by itself, in a row", second(m.list.Extend([][]byte{u.Link})), fault.UntrustedKey)
		l, err := m.list.Recovered(u.Link)
		if err != nil || !l.Change.Recovered || len(l.Removed) != 2 {
			t.Fatalf("confirmed: %v", err)
		}
		isCode(t, "the old device", m.d.Settle(l), fault.Revoked)
	}
	link, err := a.sign(Changes{})
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "not a recovery", second(a.list.Recovered(link.Link)), fault.InvalidRequest)
	c.list, c.ring = u.List, NewRing(u.State)
	d := c.add("phone")
	sameKey(t, "after the recovery", c.ring, d.ring)
	if l, err := OpenList(w.owner(), u.List.Head(), w.links); err != nil || l.Head() != c.list.Head() {
		t.Error("a newcomer:", err)
	}
	isCode(t, "a removed device begins again", second(d.list.Recover(a.author(), "x")), fault.Conflict)

	// What no recovery may do, signed with all keys that its maker has.
	for name, edit := range map[string]func(l *Link){
		"keeps one": func(l *Link) {
			kept := a.list.Devices[0]
			kept.Approval = []byte{}
			l.Devices, l.Removed = append(l.Devices, kept), l.Removed[1:]
			sortDevices(l)
		},
		"forgets one":     func(l *Link) { l.Removed = l.Removed[1:] },
		"keeps the epoch": func(l *Link) { l.Epoch--; l.Commitment, l.EpochTime = a.list.Commitment, a.list.EpochTime },
		"not marked":      func(l *Link) { l.Recovery = false },
		"approved itself": func(l *Link) { l.Devices[0].Approval = make([]byte, 32) },
		"older":           func(l *Link) { l.Devices[0].Added-- },
		"older key":       func(l *Link) { l.Devices[0].KeyTime-- },
		"older epoch":     func(l *Link) { l.EpochTime-- },
		"another's":       func(l *Link) { l.Author = NewDeviceID() },
	} {
		l := copyOf(u.List.Link)
		edit(&l)
		isCode(t, name, second(a.list.Recovered(c.forge(l))), fault.NotAuthentic)
	}
	first, err := NewList(w.machine().author(), "x")
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "a first link in its place", second(a.list.Recovered(first.Link)), fault.RolledBack)
}

// A listed device that fills the removed ids, so that nobody can remove it any more, does not keep its user from beginning again.
func TestRecoveryFromAFullList(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b := a.add("gone bad")
	a.follow()
	full := *a.list
	for range MaxRemoved {
		full.Removed = append(full.Removed, NewDeviceID())
	}
	slices.SortFunc(full.Removed, compareIDs)
	_, err := full.Sign(a.author(), a.record(), a.ring, Changes{Remove: []DeviceID{b.d.ID}})
	isCode(t, "a removal", err, fault.TooLarge)
	u, err := full.Recover(w.machine().author(), "new")
	if err != nil {
		t.Fatal(err)
	}
	l, err := full.Recovered(u.Link)
	if err != nil || len(l.Removed) != 2 || !l.removed(a.d.ID) || !l.removed(b.d.ID) {
		t.Errorf("%d are removed, %v", len(l.Removed), err)
	}
}
