package devices

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// A user's year: a first device, a second, daily keys, a new name, one lost and removed, one that leaves.
func TestDeviceListLife(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b := a.add("laptop")
	sameKey(t, "two devices", a.ring, b.ring)
	if r := b.record(); r.Name(a.d.ID) != "desk" || r.Name(b.d.ID) != "laptop" || r.Name(NewDeviceID()) != "" {
		t.Error("names:", r.Name(a.d.ID), r.Name(b.d.ID))
	}
	for range 3 {
		w.now = w.now.Add(Day)
		for _, m := range []*machine{a, b} {
			m.follow()
			if !m.list.KeyDue(m.d.ID, w.now) {
				t.Error("a key of a day is not due")
			}
			if err := m.d.Stage(w.now); err != nil {
				t.Fatal(err)
			}
			m.must(m.sign(Changes{NewKey: true, Rotate: m.list.Due(w.now)}))
		}
	}
	a.follow()
	if a.list.Sequence != 8 || a.list.Epoch != 4 || b.list.Due(w.now) || b.list.KeyDue(b.d.ID, w.now) {
		t.Errorf("after three days: link %d, epoch %d", a.list.Sequence, a.list.Epoch)
	}
	sameKey(t, "after three days", a.ring, b.ring)

	c := b.add("phone")
	a.follow()
	u := a.must(a.sign(Changes{Remove: []DeviceID{c.d.ID}, Rename: map[DeviceID]string{b.d.ID: "lap"}}))
	if !u.List.Change.Rotated || !slices.Equal(u.List.Change.Removed, []DeviceID{c.d.ID}) || u.State.Key.IsZero() {
		t.Errorf("removing: %+v", u.List.Change)
	}
	b.follow()
	sameKey(t, "after the removal", a.ring, b.ring)
	if b.record().Name(b.d.ID) != "lap" {
		t.Error("not renamed")
	}
	isCode(t, "the removed one", second(b.record().Unwrap(c.d)), fault.Revoked)

	b.must(b.sign(Changes{Remove: []DeviceID{b.d.ID}})) // it leaves, and knows the newest state key
	a.follow()
	if !a.list.Due(w.now) {
		t.Error("a device left with the state key, and it is not replaced")
	}
	a.must(a.sign(Changes{Rotate: true}))
	whole, err := OpenList(w.owner(), Head{}, w.links)
	if err != nil || whole.Head() != a.list.Head() || len(whole.Devices) != 1 || len(whole.Removed) != 2 {
		t.Errorf("a newcomer: %v, %+v", err, whole)
	}
}

// The limits fit a link: a full list, every device new in it, is below what the coordinator takes; so is its record.
func TestLargestLink(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	l := a.list.Link
	l.Sequence, l.Epoch, l.Time, l.EpochTime, l.Slot = maxCount, maxCount, maxMillis, maxMillis, slots-1
	members := make([]member, 0, MaxDevices)
	public := newPair(w.now).public
	l.Devices = nil
	for range MaxDevices {
		e := Entry{ID: NewDeviceID(), KeyHash: sha256.Sum256(public), KeyTime: maxMillis, Added: maxMillis, Approval: random(32)}
		l.Devices = append(l.Devices, e)
	}
	slices.SortFunc(l.Devices, func(a, b Entry) int { return compareIDs(a.ID, b.ID) })
	for _, e := range l.Devices {
		members = append(members, member{ID: e.ID, Name: encodeName("x"), Public: public})
	}
	for range MaxRemoved {
		l.Removed = append(l.Removed, NewDeviceID())
	}
	slices.SortFunc(l.Removed, compareIDs)
	link, err := l.sign(w.signing, a.d.present.signer(w.id))
	if err != nil {
		t.Fatal(err)
	}
	k, _ := a.ring.Current()
	if err := l.wrap(members, k.Key); err != nil {
		t.Fatal(err)
	}
	plain, err := signed.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	record := w.sealer.Seal(l.recordContext(), plain)
	one := w.records[a.list.WrapsName()]
	t.Logf("link %d bytes, record %d; one device: link %d, record %d", len(link), len(record), len(w.links[0]), len(one))
	if len(link) > MaxLink || len(record) > MaxRecord {
		t.Error("beyond what the coordinator takes")
	}
	if _, _, err := openUser(w.signing.Public(), link); err != nil {
		t.Error(err)
	}
	l.Removed = append(l.Removed, DeviceID(bytes.Repeat([]byte{0xff}, 16)))
	isCode(t, "one removed id too many", l.check(), fault.TooLarge)
	l.Removed, l.Devices = []DeviceID{}, append(l.Devices, Entry{ID: DeviceID(bytes.Repeat([]byte{0xff}, 16)), Approval: []byte{}})
	isCode(t, "one device too many", l.check(), fault.TooLarge)
	isCode(t, "too many bytes", second(a.list.Next(make([]byte, MaxLink+1))), fault.TooLarge)
	isCode(t, "too large a record", second(OpenRecord(a.list, w.sealer, make([]byte, MaxRecord+1))), fault.TooLarge)
}

func TestTooManyDevices(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	add := make([]*Approved, 0, MaxDevices)
	for range MaxDevices {
		n, sealed, p := w.ask("another")
		add = append(add, a.approve(n.d.ID, sealed, p.Text()))
	}
	isCode(t, "33 devices", second(a.sign(Changes{Add: add})), fault.TooLarge)
	a.must(a.sign(Changes{Add: add[1:]}))
	if len(a.list.Devices) != MaxDevices || len(w.records[a.list.WrapsName()]) > MaxRecord {
		t.Error("not 32 devices")
	}
}

// A device that lost to another takes over the other's link and signs again with the same staged key; the record of the winner is still
// there.
func TestE08_TwoDevicesAtOnce(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b := a.add("laptop")
	for round := range 6 {
		for _, m := range []*machine{a, b} {
			m.follow()
			if err := m.d.Stage(w.now); err != nil {
				t.Fatal(err)
			}
		}
		winner, loser := a, b
		if round%2 == 1 {
			winner, loser = b, a
		}
		lost, err := loser.sign(Changes{NewKey: true, Rotate: true})
		if err != nil {
			t.Fatal(err)
		}
		w.records[lost.List.WrapsName()] = lost.Wraps // the record goes first
		winner.must(winner.sign(Changes{NewKey: true, Rotate: true}))
		isCode(t, "the loser", w.publish(lost), fault.Conflict)
		lost.Drop()
		if !lost.State.Key.IsZero() {
			t.Error("the dropped key is still there")
		}
		isCode(t, "the loser's link", second(winner.list.Next(lost.Link)), fault.Forked)
		loser.follow()
		sameKey(t, "the winner's key", a.ring, b.ring)
		loser.must(loser.sign(Changes{NewKey: true}))
		winner.follow()
		former, ok := winner.list.Former()
		if !ok {
			t.Fatal("no former list")
		}
		if _, err := OpenRecord(former, w.sealer, w.records[former.WrapsName()]); err != nil {
			t.Errorf("round %d: the record of the former epoch was written over: %v", round, err)
		}
	}
}

// A device keeps the links since the former epoch, and knows them again by its head alone.
func TestRestoreList(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	for i := range 5 {
		a.must(a.sign(Changes{Rotate: i%2 == 1}))
	}
	head := a.list.Head()
	for from := range w.links {
		l, err := RestoreList(w.owner(), head, w.links[from:])
		if err != nil || l.Head() != head {
			t.Fatalf("from %d: %v", from, err)
		}
		if _, known := l.Former(); known != (from <= 3) {
			t.Errorf("from %d: former known: %v", from, known)
		}
		if next, err := a.list.Sign(a.author(), a.record(), a.ring, Changes{}); err != nil {
			t.Fatal(err)
		} else if _, err := l.Next(next.Link); err != nil {
			t.Errorf("from %d: %v", from, err)
		}
	}
	for what, links := range map[string][][]byte{
		"cut": w.links[2:5], "a hole": {w.links[3], w.links[5]}, "doubled order": {w.links[4], w.links[3], w.links[5]},
		"another head": {w.links[3]}, "the head twice, then older": {w.links[5], w.links[4]},
	} {
		isCode(t, what, second(RestoreList(w.owner(), head, links)), fault.NotAuthentic)
	}
	isCode(t, "nothing", second(RestoreList(w.owner(), head, nil)), fault.Incomplete)
	isCode(t, "another user", second(RestoreList(Owner{NewUser(), w.signing.Public()}, head, w.links)), fault.NotAuthentic)
	isCode(t, "another head", second(RestoreList(w.owner(), Head{head.Sequence, Hash{1}}, w.links)), fault.NotAuthentic)
}

func NewUser() UserID { return UserID(NewDeviceID()) }

// Clocks that are wrong by an hour or ten years, either way, stop nothing: no link is refused, no key is replaced again and again by one
// device, and what is odd is reported.
func TestF13_DatesOfLinks(t *testing.T) {
	year := 365 * Day
	for _, off := range []time.Duration{time.Hour, -time.Hour, 10 * year, -10 * year, 70 * year, -70 * year, 300 * year} {
		w := setup(t)
		a := w.begin("desk")
		b := a.add("laptop")
		w.now = day0.Add(off)
		a.must(a.sign(Changes{Rotate: true}))
		b.follow()
		backwards, ahead := b.list.Clock(day0)
		if want := max(-off, 0); off > -50*year && backwards != want || (off < 0) != (backwards > 0) {
			t.Errorf("%v: backwards %v", off, backwards)
		}
		if (off > 0) != (ahead > 0) || off > 0 && off < 200*year && ahead != off {
			t.Errorf("%v: ahead %v", off, ahead)
		}
		far := off >= Day || off <= -Day
		if b.list.Due(day0) != far || a.list.Due(w.now) {
			t.Errorf("%v: due %v by the right clock, %v by the wrong one", off, b.list.Due(day0), a.list.Due(w.now))
		}
		w.now = day0
		b.must(b.sign(Changes{Rotate: true}))
		a.follow()
		if a.list.Due(day0) {
			t.Errorf("%v: due again after it was replaced", off)
		}
		sameKey(t, off.String(), a.ring, b.ring)
	}
}

func TestRing(t *testing.T) {
	key := func(epoch uint64) StateKey { return StateKey{Epoch: epoch, Key: secret.Random()} }
	one, two, four := key(1), key(2), key(4)
	r := NewRing(two)
	open := func(epoch uint64, want secret.Key, code fault.Code) {
		t.Helper()
		k, err := r.Open(epoch)
		if code == "" && (err != nil || !k.Equal(want)) {
			t.Errorf("epoch %d: %v", epoch, err)
		} else if code != "" {
			isCode(t, "open", err, code)
		}
	}
	open(2, two.Key, "")
	open(1, secret.Key{}, fault.Stale)
	open(3, secret.Key{}, fault.Incomplete)
	isCode(t, "older", r.Advance(one), fault.RolledBack)
	isCode(t, "another of the same epoch", r.Advance(key(2)), fault.RolledBack)
	isCode(t, "none", r.Advance(StateKey{Epoch: 3}), fault.Locked)
	isCode(t, "hold a later one", r.Hold(key(3)), fault.Conflict)
	if err := r.Advance(StateKey{2, two.Key.Clone()}); err != nil || r.Former() {
		t.Error("the same again:", err)
	}
	if err := r.Hold(one); err != nil {
		t.Fatal(err)
	}
	open(1, one.Key, "")
	isCode(t, "two former ones", r.Hold(key(1)), fault.Conflict)
	isCode(t, "a third", r.Advance(four), fault.Conflict)
	r.EraseFormer()
	if !one.Key.IsZero() {
		t.Error("the former key is still there")
	}
	open(1, secret.Key{}, fault.Stale)
	if err := r.Advance(four); err != nil {
		t.Fatal(err)
	}
	open(2, two.Key, "")
	open(3, secret.Key{}, fault.Stale)
	r.Wipe()
	open(4, secret.Key{}, fault.Locked)
	if !two.Key.IsZero() || !four.Key.IsZero() {
		t.Error("keys are still there")
	}
}

// No new state key while blobs may be under the former one.
func TestRotateWaitsForTheFormerKey(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	u, err := a.sign(Changes{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.publish(u); err != nil {
		t.Fatal(err)
	}
	a.list = u.List
	isCode(t, "a ring that did not advance", second(a.sign(Changes{})), fault.Stale)
	if err := a.ring.Advance(u.State); err != nil {
		t.Fatal(err)
	}
	isCode(t, "rotated again", second(a.sign(Changes{Rotate: true})), fault.Conflict)
	if _, err := a.sign(Changes{}); err != nil {
		t.Error("a link that keeps the key:", err)
	}
	a.ring.EraseFormer()
	a.must(a.sign(Changes{Rotate: true}))
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "Ada's laptop", "büro", string(bytes.Repeat([]byte("x"), MaxName))} {
		if got, err := decodeName(encodeName(name)); err != nil || got != name {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "a\nb", "\x1b[2J", "\xff", string(bytes.Repeat([]byte("x"), MaxName+1)), "a\u202eb"} {
		isCode(t, name, checkName(name), fault.InvalidRequest)
	}
	b := encodeName("abc")
	for _, edit := range []func(){
		func() { b[0] = 2 }, func() { b[0] = 65 }, func() { b[10] = 1 }, func() { b = b[1:] }, func() { clear(b) },
	} {
		b = encodeName("abc")
		edit()
		isCode(t, "edited", second(decodeName(b)), fault.NotAuthentic)
	}
}

// A link is made of what belongs together, or not at all.
func TestSignRefuses(t *testing.T) {
	w, other := setup(t), setup(t)
	a := w.begin("desk")
	r := a.record()
	a.must(a.sign(Changes{}))
	isCode(t, "the record of another link", second(a.list.Sign(a.author(), r, a.ring, Changes{})), fault.Stale)
	b := other.begin("desk")
	n, sealed, p := other.ask("laptop")
	approved := b.approve(n.d.ID, sealed, p.Text())
	isCode(t, "a device of another user", second(a.sign(Changes{Add: []*Approved{approved}})), fault.NotAuthentic)
	isCode(t, "a device that is not listed", second(a.list.Sign(w.machine().author(), a.record(), a.ring, Changes{})), fault.Forbidden)
	ring := NewRing(newStateKey(a.list.Epoch))
	isCode(t, "another state key", second(a.list.Sign(a.author(), a.record(), ring, Changes{})), fault.Stale)
	isCode(t, "a name that cannot be printed", second(a.sign(Changes{Rename: map[DeviceID]string{a.d.ID: "\n"}})), fault.InvalidRequest)
	isCode(t, "a name for nobody", second(a.sign(Changes{Rename: map[DeviceID]string{NewDeviceID(): "x"}})), fault.InvalidRequest)
	isCode(t, "the last device", second(a.sign(Changes{Remove: []DeviceID{a.d.ID}})), fault.Conflict)
	own, sealed, p := w.ask("laptop")
	twice := a.approve(own.d.ID, sealed, p.Text())
	isCode(t, "a device twice", second(a.sign(Changes{Add: []*Approved{twice, twice}})), fault.Conflict)
}

// What the coordinator sees of a record and a request does not depend on names.
func TestD15_SizesTellNoNames(t *testing.T) {
	w := setup(t)
	a, b := w.machine(), w.machine()
	one, _, err := a.d.Ask(w.sealer, "x", w.now)
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := b.d.Ask(w.sealer, "a much longer name for a machine", w.now)
	if err != nil || len(one) != len(two) {
		t.Errorf("%d and %d bytes, %v", len(one), len(two), err)
	}
	x, err := NewList(a.author(), "x")
	if err != nil {
		t.Fatal(err)
	}
	y, err := NewList(b.author(), "a much longer name for a machine")
	if err != nil || len(x.Wraps) != len(y.Wraps) || len(x.Link) != len(y.Link) {
		t.Errorf("%d and %d bytes, %v", len(x.Wraps), len(y.Wraps), err)
	}
}

// After a change of the vault key a new record is sealed under the new one; a record under the former opens for who still holds it.
func TestVaultKeyChanged(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	r := a.record()
	w.sealer = seal.NewSealer(secret.Random(), seal.RandomKeyID(), Purpose)
	isCode(t, "under the new key", second(OpenRecord(a.list, w.sealer, w.records[a.list.WrapsName()])), fault.NotAuthentic)
	a.must(a.list.Sign(a.author(), r, a.ring, Changes{}))
	if a.record().Name(a.d.ID) != "desk" {
		t.Error("the name is lost")
	}
}
