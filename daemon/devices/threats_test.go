package devices

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
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

// A device gets on the list by the code that the user typed in, and by nothing else: not by the coordinator, and not by somebody who has the
// whole vault.
func TestK04_DeviceThatNobodyApproved(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	n, sealed, p := w.ask("laptop")
	evil := w.machine() // has vault, signing key and sealer

	// Its own request in the place of the real one, under the real one's name, MACed with a code it guessed.
	request, own, err := evil.d.Ask(w.sealer, "laptop", w.now)
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "in another's blob", second(OpenRequest(w.sealer, w.id, n.d.ID, request)), fault.NotAuthentic)
	r, err := OpenRequest(w.sealer, w.id, evil.d.ID, request)
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "the code of the real one", second(r.Approve(p)), fault.UntrustedKey)

	// The real request with keys of its own, and the real MAC.
	r, err = OpenRequest(w.sealer, w.id, n.d.ID, sealed)
	if err != nil {
		t.Fatal(err)
	}
	body := r.body
	body.Public, body.AuthorKey = evil.d.present.public, evil.d.present.authorKey()
	envelope, err := signed.Sign(evil.d.present.signer(w.id), requestType, body)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := signed.Marshal(requestRecord{Envelope: envelope, MAC: r.record.MAC})
	if err != nil {
		t.Fatal(err)
	}
	swapped, err := OpenRequest(w.sealer, w.id, n.d.ID, w.sealer.Seal(requestContext(w.id, n.d.ID), plain))
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "other keys under the real MAC", second(swapped.Approve(p)), fault.UntrustedKey)

	// A list of its own, in which it "approves" the new device and gives it a state key that it knows.
	v := &world{tester: t, dir: w.dir, id: w.id, signing: w.signing, sealer: w.sealer, now: w.now, records: map[string][]byte{}}
	e := v.begin("desk")
	fake, err := e.sign(Changes{Add: []*Approved{{body: r.body, request: signed.Hash(r.record.Envelope), code: own}}})
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "after the list that the new device saw", second(n.list.Next(fake.Link)), fault.Forked)
	m := machine{w: v, d: n.d}
	if m.list, err = OpenList(v.owner(), Head{}, v.links); err != nil {
		t.Fatal(err)
	}
	if m.list, err = m.list.Next(fake.Link); err != nil {
		t.Fatal(err)
	}
	isCode(t, "listed without the code", n.d.Confirm(m.list), fault.UntrustedKey)

	// The real approval.
	typed := p.Text()
	isCode(t, "the list before", n.d.Confirm(n.list), fault.NotFound)
	n.confirm(a.must(a.sign(Changes{Add: []*Approved{a.approve(n.d.ID, sealed, typed)}})))
	n.follow()
	sameKey(t, "approved", a.ring, n.ring)
	isCode(t, "approved twice", second(a.sign(Changes{Add: []*Approved{a.approve(n.d.ID, sealed, typed)}})), fault.Conflict)
	isCode(t, "asks again", second3(n.d.Ask(w.sealer, "x", w.now)), fault.Conflict)
	for _, c := range captured(w) {
		if bytes.Contains(c, typed[:5]) && bytes.Contains(c, typed[6:11]) {
			t.Error("the code is in what the coordinator gets")
		}
	}
}

func captured(w *world) [][]byte {
	all := slices.Clone(w.links)
	for _, r := range w.records {
		all = append(all, r)
	}
	return all
}

// Every field of a request edited, under the real MAC.
func TestK12_EditedRequest(t *testing.T) {
	w := setup(t)
	w.begin("desk")
	n, sealed, p := w.ask("laptop")
	r, err := OpenRequest(w.sealer, w.id, n.d.ID, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Approve(p); err != nil || r.Name != "laptop" || r.Device != n.d.ID || r.Time != millis(w.now) {
		t.Fatalf("%v, %+v", err, r)
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		if _, err := OpenRequest(w.sealer, w.id, n.d.ID, b); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Policy) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	other := newPair(w.now)
	edits := map[string]func(b *requestBody){
		"User":      func(b *requestBody) { b.User = NewUser() },
		"Device":    func(b *requestBody) { b.Device = NewDeviceID() },
		"Public":    func(b *requestBody) { b.Public = other.public },
		"AuthorKey": func(b *requestBody) { b.AuthorKey = other.authorKey() },
		"Name":      func(b *requestBody) { b.Name = encodeName("desk") },
		"Time":      func(b *requestBody) { b.Time++ },
	}
	if typ := reflect.TypeFor[requestBody](); typ.NumField() != len(edits) {
		t.Errorf("%d fields, %d edits", typ.NumField(), len(edits))
	}
	for name, edit := range edits {
		body := r.body
		edit(&body)
		envelope, err := signed.Sign(n.d.present.signer(w.id), requestType, body)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := signed.Marshal(requestRecord{Envelope: envelope, MAC: r.record.MAC})
		if err != nil {
			t.Fatal(err)
		}
		edited, err := OpenRequest(w.sealer, w.id, n.d.ID, w.sealer.Seal(requestContext(w.id, n.d.ID), plain))
		if err == nil {
			_, err = edited.Approve(p)
		}
		if !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.UntrustedKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, digit := range []int{0, 17, codeDigits - 1} {
		typed := slices.DeleteFunc(p.Text(), func(c byte) bool { return c == ' ' })
		typed[digit] = '0' + (typed[digit]-'0'+1)%10
		code, err := ParseCode(typed)
		if err != nil {
			t.Fatal(err)
		}
		isCode(t, "one digit off", second(r.Approve(code)), fault.UntrustedKey)
	}
	isCode(t, "too large", second(OpenRequest(w.sealer, w.id, n.d.ID, make([]byte, MaxRequest+1))), fault.TooLarge)
	p.Wipe()
	isCode(t, "a wiped code", second(r.Approve(p)), fault.Locked)
	n.d.Wipe()
	isCode(t, "a wiped code, confirming", n.d.Confirm(n.list), fault.Locked)
	isCode(t, "a wiped code, shown", second(n.d.Code()), fault.Locked)
}

// Keys that the coordinator, or anybody who is not on the list, offers are never wrapped to; a state key comes from the agent itself.
func TestK05_E09_NothingIsWrappedToAStranger(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	escrow := w.machine()
	u, err := a.sign(Changes{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenRecord(u.List, w.sealer, u.Wraps)
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "a stranger", second(r.Unwrap(escrow.d)), fault.Forbidden)
	for _, m := range r.members {
		if _, err := hpke.Open(escrow.d.present.private(), kdf, aead, u.List.wrapInfo(m.ID, u.List.Devices[0].KeyHash), m.Wrap); err == nil {
			t.Error("a stranger opens a wrap")
		}
	}

	// A record with the stranger's key in the place of the listed one, or beside it, makes no next link.
	for what, edit := range map[string]func(m []member) []member{
		"in its place": func(m []member) []member { m[0].Public = escrow.d.present.public; return m },
		"beside it": func(m []member) []member {
			return append(m, member{ID: escrow.d.ID, Name: m[0].Name, Public: escrow.d.present.public, Wrap: m[0].Wrap})
		},
	} {
		link := copyOf(u.List.Link)
		plain, err := signed.Marshal(edit(slices.Clone(r.members)))
		if err != nil {
			t.Fatal(err)
		}
		sealed := w.sealer.Seal(link.recordContext(), plain)
		isCode(t, what, second(OpenRecord(u.List, w.sealer, sealed)), fault.NotAuthentic)
		l := *u.List
		l.Wraps = sha256.Sum256(sealed)
		if _, err := OpenRecord(&l, w.sealer, sealed); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.Incomplete) {
			t.Errorf("%s, even if the link named it: %v", what, err)
		}
	}
	again, err := a.sign(Changes{Rotate: true})
	if err != nil || again.State.Key.Equal(u.State.Key) {
		t.Error("two rotations, one key", err)
	}
}

// A state key that somebody else made, wrapped correctly to the device, is refused: the link commits to the real one.
func TestV08_StateKeyOfTheServer(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	own := StateKey{Epoch: a.list.Epoch, Key: secret.Random()}
	r := a.record()
	forged := slices.Clone(r.members)
	if err := a.list.wrap(forged, own.Key); err != nil {
		t.Fatal(err)
	}
	plain, err := signed.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	sealed := w.sealer.Seal(a.list.recordContext(), plain)
	isCode(t, "another record", second(OpenRecord(a.list, w.sealer, sealed)), fault.NotAuthentic)
	swapped := &Record{list: a.list, members: forged}
	isCode(t, "another key in the record", second(swapped.Unwrap(a.d)), fault.NotAuthentic)

	// Nor does a wrap of another link, epoch or device open in this place.
	b := a.add("laptop")
	a.follow()
	old := r.members[0].Wrap
	now := a.record()
	for i := range now.members {
		moved := &Record{list: a.list, members: slices.Clone(now.members)}
		moved.members[i].Wrap = old
		if moved.members[i].ID == a.d.ID {
			isCode(t, "the wrap of the link before", second(moved.Unwrap(a.d)), fault.NotAuthentic)
		}
		moved.members[i].Wrap = now.members[1-i].Wrap
		for _, m := range []*machine{a, b} {
			if m.d.ID == moved.members[i].ID {
				isCode(t, "the wrap of another device", second(moved.Unwrap(m.d)), fault.NotAuthentic)
			}
		}
	}
}

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
	isCode(t, "a branch for a newcomer who knows the head", second(OpenList(w.owner(), a.list.Head(), append(slices.Clone(w.links[:before.Sequence]), branch.Link))), fault.RolledBack)

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

// Everything lost but password and kit: a new device begins again; all others are removed, and follow only if the user says so.
func TestRecovery(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	b := a.add("laptop")
	a.follow()
	c := w.machine()
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

// Whoever took the disk has the key file, and without the vault nothing else: the wraps record does not open.
func TestThiefOfTheKeyFile(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	a.d.Wipe()
	d, err := OpenDevice(a.d.files, a.path, w.id)
	if err != nil {
		t.Fatal(err)
	}
	guess := setup(t) // the thief's own vault key
	isCode(t, "without the vault", second(OpenRecord(a.list, guess.sealer, w.records[a.list.WrapsName()])), fault.NotAuthentic)
	thief := Author{Signing: guess.signing, Sealer: guess.sealer, Device: d, Now: w.now}
	_, err = a.list.Sign(thief, &Record{list: a.list, members: a.membersOf(a.list)}, a.ring, Changes{Rotate: true})
	isCode(t, "a link without the signing key", err, fault.NotAuthentic)
}
