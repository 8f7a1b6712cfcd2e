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

// A device gets on the list by the code that the user typed in, and by nothing else: not by the coordinator, and not by somebody who has
// the whole vault.
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
	inside, err := w.sealer.Open(requestContext(w.id, n.d.ID), sealed)
	if err != nil || bytes.Contains(inside, bytes.ReplaceAll(typed, []byte(" "), nil)) || bytes.Contains(inside, typed) {
		t.Error("the code is in the request: ", err)
	}
}

// Ten digits, equally likely; and two codes have nothing in common.
func TestCodesAreRandom(t *testing.T) {
	var count [10]int
	for b := range 256 {
		if d, ok := digit(byte(b)); ok {
			count[d-'0']++
		}
	}
	for d, n := range count {
		if n != 25 {
			t.Errorf("digit %d: %d of 256", d, n)
		}
	}
	seen := map[string]bool{}
	for range 100 {
		code := string(newCode().Text())
		if len(code) != codeDigits+5 || seen[code] {
			t.Errorf("%q", code)
		}
		seen[code] = true
	}
	ones := strings.Repeat("1", codeDigits)
	for _, typed := range []string{"", "1", ones[1:], ones + "1", ones[1:] + "l", ones + strings.Repeat(" ", maxTyped)} {
		isCode(t, typed, second(ParseCode([]byte(typed))), fault.InvalidRequest)
	}
}

// The new device comes late: several links went by, one of which added it. With the code it joins, and a list that added it without
// is refused whole.
func TestK04_FollowedLate(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	n, sealed, code := w.ask("laptop")
	start, approved := n.list, a.approve(n.d.ID, sealed, code.Text())
	a.must(a.sign(Changes{}))
	a.must(a.sign(Changes{Add: []*Approved{approved}}))
	a.must(a.sign(Changes{Rotate: true}))
	links := slices.Clone(w.links[start.Sequence:])

	added, err := start.Extend(links[:2])
	if err != nil {
		t.Fatal(err)
	}
	forged := copyOf(added.Link)
	for i := range forged.Devices {
		if forged.Devices[i].ID == n.d.ID {
			forged.Devices[i].Approval = random(32)
		}
	}
	_, err = n.d.Follow(start, [][]byte{links[0], a.forge(forged)})
	isCode(t, "added without the code", err, fault.UntrustedKey)
	_, err = n.d.Follow(start, links[1:])
	isCode(t, "one left out", err, fault.Incomplete)
	if n.d.Joined() {
		t.Error("joined")
	}
	l, err := n.d.Follow(start, links)
	if err != nil || !n.d.Joined() || l.Head() != a.list.Head() {
		t.Fatalf("followed: %v", err)
	}
	if again, err := n.d.Follow(l, links[2:]); err != nil || again != l {
		t.Error("the newest again:", err)
	}
	n.list = start
	n.follow()
	sameKey(t, "late", a.ring, n.ring)
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
		want := fault.UntrustedKey
		if name == "User" || name == "Device" || name == "AuthorKey" {
			want = fault.NotAuthentic // already when it is opened
		}
		isCode(t, name, err, want)
	}
	numbers := make([]uint16, nameSize)
	for i, b := range r.body.Name {
		numbers[i] = uint16(b)
	}
	body := r.body
	body.Time = -1
	envelope, err := signed.Sign(n.d.present.signer(w.id), requestType, body)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := signed.Marshal(requestRecord{Envelope: envelope, MAC: p.requestMAC(envelope)})
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "a negative time", second(parseRequest(plain)), fault.NotAuthentic)
	loose := map[int]any{1: w.id, 2: n.d.ID, 3: r.body.Public, 4: r.body.AuthorKey, 5: numbers, 6: r.body.Time}
	if envelope, err = signed.Sign(n.d.present.signer(w.id), requestType, loose); err != nil {
		t.Fatal(err)
	}
	plain, err = signed.Marshal(requestRecord{Envelope: envelope, MAC: p.requestMAC(envelope)})
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "numbers for the name", second(parseRequest(plain)), fault.NotAuthentic)
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
