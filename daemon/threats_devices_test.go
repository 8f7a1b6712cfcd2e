package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"coldframe/coordinator"
	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon/devices"
	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// escrow is a device of the coordinator's own, in the name of a user: all of it is as it must be, but that the user's keys made nothing of it.
type escrow struct {
	device  *devices.Device
	public  []byte // HPKE
	link    []byte // of a list that it begins
	request []byte // to be approved
	wraps   []byte
}

func newEscrow(t *testing.T, user string) *escrow {
	t.Helper()
	d, err := devices.CreateDevice(atomicfile.OS, filepath.Join(t.TempDir(), "escrow"), devices.UserID(uuid.MustParse(user)), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, id := secret.Random(), seal.RandomKeyID()
	sealer := seal.NewSealer(key, id, devices.Purpose)
	author := devices.Author{Signing: signed.Signer{User: user, Key: secret.Random()}, Sealer: sealer, Device: d, Now: time.Now()}
	u, err := devices.NewList(author, "recovery key")
	if err != nil {
		t.Fatal(err)
	}
	e := &escrow{device: d, link: u.Link, wraps: u.Wraps}
	if e.request, _, err = d.Ask(sealer, "recovery key", time.Now()); err != nil {
		t.Fatal(err)
	}
	e.public = wrapsOf(t, key, user, u.List.WrapsName(), u.Wraps, 1)[0].Public
	return e
}

// wrapped is an entry of a wraps record.
type wrapped struct {
	_                              struct{} `cbor:",toarray"`
	Device, Name, Public, Enclosed []byte
}

// wrapsOf opens a wraps record of a link up to the last.
func wrapsOf(t *testing.T, local secret.Key, user, name string, sealed []byte, last uint64) (list []wrapped) {
	t.Helper()
	maker := strings.TrimPrefix(name, "d-wraps-")
	maker = maker[:strings.LastIndex(maker, "-")]
	for n := uint64(1); n <= last+8; n++ { // some were of links that came to nothing
		plain, err := seal.Open(local, devices.Purpose, seal.Context{Owner: user, Type: "device-wraps", ID: maker, Version: n}, sealed)
		if err == nil {
			if err := signed.Unmarshal(plain, &list); err != nil || len(list) == 0 {
				t.Fatalf("%d entries, %v", len(list), err)
			}
			return list
		}
	}
	t.Fatalf("%s does not open", name)
	return nil
}

// writtenWraps returns all wraps records that a user's machines sent so far, by name.
func writtenWraps(t *testing.T, c *coordinatortest.Coordinator, user string) (names []string, bodies [][]byte) {
	t.Helper()
	for _, r := range c.Records("swapBlobs") {
		var req coordinator.SwapRequest
		if r.Caller != user || json.Unmarshal(r.Body, &req) != nil {
			continue
		}
		for _, w := range req.Swaps {
			if strings.HasPrefix(w.Name, "d-wraps-") && len(w.Body) > 0 {
				names, bodies = append(names, w.Name), append(bodies, w.Body)
			}
		}
	}
	return names, bodies
}

// nothingWrappedTo fails if any state key was ever wrapped to anybody but the user's machines, or can be opened by the escrow.
func (f *firstMachine) nothingWrappedTo(c *coordinatortest.Coordinator, e *escrow, machines ...string) {
	t := f.t
	t.Helper()
	links, err := f.client.DeviceLinks(t.Context(), f.user, 0)
	if err != nil {
		t.Fatal(err)
	}
	names, bodies := writtenWraps(t, c, f.user)
	if len(bodies) < len(links.Links) {
		t.Fatalf("%d records of %d links", len(bodies), len(links.Links))
	}
	for i, name := range names {
		for _, w := range wrapsOf(t, f.session.local.key, f.user, name, bodies[i], uint64(len(links.Links))) {
			if id := uuid.UUID(w.Device).String(); !slices.Contains(machines, id) || bytes.Equal(w.Public, e.public) {
				t.Errorf("the state key is wrapped to %s", id)
			}
		}
	}
	owner, sealer := devices.Owner{User: devices.UserID(uuid.MustParse(f.user)), Key: f.session.signer.Public()}, seal.NewSealer(f.session.local.key, f.session.local.id, devices.Purpose)
	var chain [][]byte
	for _, link := range links.Links {
		chain = append(chain, link.Link)
		list, err := devices.OpenList(owner, devices.Head{}, chain)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list.Devices {
			if !slices.Contains(machines, d.ID.String()) {
				t.Errorf("%s is on the list", d.ID)
			}
		}
		i := slices.IndexFunc(bodies, func(b []byte) bool { return sha256.Sum256(b) == list.Wraps })
		if i < 0 {
			t.Fatalf("no record of link %d", list.Sequence)
		}
		r, err := devices.OpenRecord(list, sealer, bodies[i])
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Unwrap(e.device)
		wantCode(t, "the state key for the escrow", err, fault.Forbidden)
	}
}

// withLink lets the coordinator show each device list with one link more.
func withLink(c *coordinatortest.Coordinator, link func(list []coordinator.DeviceLink) []byte) {
	c.Hook(coordinatortest.Nth("listDeviceLinks", 0, func(e *coordinatortest.Exchange) {
		var page coordinator.DeviceLinks
		a := e.Forward()
		if a.Status != http.StatusOK || json.Unmarshal(a.Body, &page) != nil || len(page.Links) == 0 {
			return
		}
		page.Links = append(page.Links, coordinator.DeviceLink{Link: link(page.Links), Sequence: page.Links[len(page.Links)-1].Sequence + 1})
		e.Answer = coordinatortest.JSON(http.StatusOK, page)
	}))
}

// failure waits until a task failed, and returns with what.
func (r *running) failure(task string) (code fault.Code) {
	r.t.Helper()
	eventually(r.t, task+" fails", func() bool {
		for _, f := range r.session.sync.status().Failures {
			if f.Task == task {
				code = f.Code
			}
		}
		return code != ""
	})
	return code
}

// TestK04_CoordinatorAddsADevice has the coordinator show a device list with one link more when the state key is to be replaced, and when
// a machine is to be approved: one of a device of its own, another user's, an honest one changed.
func TestK04_CoordinatorAddsADevice(t *testing.T) {
	c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
	clock.set(time.Now())
	f, stranger := newFirstMachine(t, c, testMail), newFirstMachine(t, c, "canary.two@example.org")
	b := f.secondMachine(c)
	code, id := b.ask("cellar"), b.keyFileID()
	f.running = f.withClock(clock)
	f.settled()
	e := newEscrow(t, f.user)
	theirs, err := stranger.client.DeviceLinks(t.Context(), stranger.user, 0)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at func(n int) int) func(list []coordinator.DeviceLink) []byte {
		return func(list []coordinator.DeviceLink) []byte {
			link := bytes.Clone(list[len(list)-1].Link)
			link[at(len(link))] ^= 1
			return link
		}
	}
	for name, link := range map[string]func(list []coordinator.DeviceLink) []byte{
		"a device of its own":      func([]coordinator.DeviceLink) []byte { return e.link },
		"another user's":           func([]coordinator.DeviceLink) []byte { return theirs.Links[0].Link },
		"no link":                  func([]coordinator.DeviceLink) []byte { return []byte("administrator") },
		"changed at its beginning": changed(func(int) int { return 3 }),
		"changed in the middle":    changed(func(n int) int { return n / 2 }),
		"changed at its end":       changed(func(n int) int { return n - 1 }),
	} {
		withLink(c, link)
		f.session.sync.poke(allTasks)
		f.failure("devices") // a round of before has ended
		head := f.session.sync.member.Head()
		_, before := writtenWraps(t, c, f.user)
		clock.pass(25*time.Hour, 0) // the state key is due
		f.session.sync.poke(allTasks)
		if got := f.failure("devices"); got != fault.NotAuthentic && got != fault.Forked {
			t.Errorf("%s: %s", name, got)
		}
		err := f.ApproveDevice(t.Context(), id, bytes.Clone(code), []byte(testPassword))
		if !hasCode(err, []fault.Code{fault.NotAuthentic, fault.Forked}) {
			t.Errorf("%s: approved: %v", name, err)
		}
		if _, now := writtenWraps(t, c, f.user); len(now) != len(before) || f.session.sync.member.Head() != head {
			t.Fatalf("%s: %d records more, the list is at %d", name, len(now)-len(before), f.session.sync.member.Head().Sequence)
		}
		if list, err := f.Devices(t.Context()); err != nil || len(list.Devices) != 1 || list.Error == "" {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		c.Hook(nil)
		f.session.sync.poke(allTasks)
		eventually(t, "the true list again", func() bool { list, err := f.Devices(t.Context()); return err == nil && list.Error == "" })
		f.settled() // it is replaced
	}
	if f.refused(t) == 0 {
		t.Error("no event")
	}
	if err := f.ApproveDevice(t.Context(), id, code, []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	f.nothingWrappedTo(c, e, f.keyFileID(), id)
}

// offered returns an answer in which every object says of a key that things are to be wrapped to it.
func (e *escrow) offered(a *coordinatortest.Answer) *coordinatortest.Answer {
	var v any
	if a.Status != http.StatusOK || json.Unmarshal(a.Body, &v) != nil {
		return a
	}
	key := base64.StdEncoding.EncodeToString(e.public)
	var add func(v any)
	add = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				add(one)
			}
		case map[string]any:
			for _, one := range v {
				add(one)
			}
			for _, name := range []string{"recovery", "recovery_key", "escrow", "escrow_key", "administrator", "administrator_key", "public_key", "device_key", "keys"} {
				if _, taken := v[name]; !taken {
					v[name] = key
				}
			}
		}
	}
	add(v)
	b, err := json.Marshal(v)
	if err != nil {
		return a
	}
	out := a.Clone()
	out.Body = b
	return out
}

// slots returns what of a header of the vault keys are wrapped to: its recovery slot and its unattended slot.
func slots(t *testing.T, root []byte) (recovery, unattended []byte) {
	t.Helper()
	header := root[5 : 5+4+binary.BigEndian.Uint32(root[5:])][4:]
	var h map[int]any
	if err := signed.Unmarshal(header[5:len(header)-32], &h); err != nil {
		t.Fatal(err)
	}
	recovery, _ = h[6].([]any)[0].([]byte)
	if list, ok := h[7].([]any); ok {
		unattended, _ = list[0].([]byte)
	}
	return recovery, unattended
}

// withSlots returns a root blob that says it is the next, and whose header names a key in its slots.
func withSlots(t *testing.T, root, public []byte) []byte {
	t.Helper()
	n := int(binary.BigEndian.Uint32(root[5:]))
	header, rest := root[9:9+n], root[9+n:]
	var h map[int]any
	if err := signed.Unmarshal(header[5:n-32], &h); err != nil {
		t.Fatal(err)
	}
	slot := slices.Clone(h[6].([]any))
	slot[0] = public
	h[6], h[7] = slot, slot
	body, err := signed.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	next := slices.Concat(header[:5], body, header[n-32:])
	rest = bytes.Clone(rest)
	counter := rest[4+binary.BigEndian.Uint32(rest)+4:][:8] // of the root record, behind the keyring's
	binary.BigEndian.PutUint64(counter, binary.BigEndian.Uint64(counter)+1)
	return slices.Concat(root[:5], binary.BigEndian.AppendUint32(nil, uint32(len(next))), next, rest)
}

// TestK05_KeyOfTheCoordinator has the coordinator offer a key, as one for recovery, escrow or administration, wherever one could be taken
// from: in every object of every answer; as a machine that asks, a link of the list, a wraps record; in the slots of the vault's header; as
// a contact's bundle. Nothing is wrapped to it, ever.
func TestK05_KeyOfTheCoordinator(t *testing.T) {
	c, clock := coordinatortest.New(t, coordinatortest.Options{}), newFakeClock()
	clock.set(time.Now())
	f, grace := newFirstMachine(t, c, testMail), newPersonAt(t, c, "grace@example.org", nil)
	f.running = f.withClock(clock)
	f.settled()
	e := newEscrow(t, f.user)
	recovery, _ := slots(t, f.rootBlob())
	everywhere := func(x *coordinatortest.Exchange) {
		if x.Caller == f.user && x.Operation != "streamEvents" {
			x.Answer = e.offered(x.Forward())
		}
	}

	// A whole life: another machine, messages, another state key, another password.
	c.Hook(everywhere)
	b := f.secondMachine(c)
	if err := f.ApproveDevice(t.Context(), b.keyFileID(), b.ask("cellar"), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	b.isDevice(DeviceListed)
	f.add(grace)
	grace.add(f.running)
	f.mustTell(grace)
	epoch, _, err := f.session.sync.member.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	clock.pass(25*time.Hour, 0)
	f.session.sync.poke(allTasks)
	eventually(t, "another state key", func() bool {
		now, _, err := f.session.sync.member.Current(t.Context())
		return err == nil && now > epoch
	})
	f.settled()
	f.changePasswordTo(testPassword, otherPassword)
	f.settled()
	proof, err := f.vault.LoginProof(t.Context(), []byte(otherPassword))
	if err != nil {
		t.Fatal(err)
	}
	c.Hook(nil)
	own := proof.For(c.URL)
	if err := f.client.Login(t.Context(), coordinator.Login{User: &f.user, Proof: own.Bytes()}); err != nil {
		t.Fatal(err)
	}

	// A machine that asks: nobody types in its code.
	c.Hook(coordinatortest.Nth("readBlobs", 0, func(x *coordinatortest.Exchange) {
		name := devices.RequestName(e.device.ID)
		if x.Caller == f.user && (bytes.Contains(x.Body, []byte(`"prefix":"d-request-"`)) || bytes.Contains(x.Body, []byte(name))) {
			x.Answer = blobAnswer(f.user, name, e.request)
		}
	}))
	if list, err := f.DeviceRequests(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	err = f.ApproveDevice(t.Context(), e.device.ID.String(), []byte("12345 67890 12345 67890 12345 67890"), []byte(otherPassword))
	wantCode(t, "approving the escrow", err, fault.NotAuthentic)

	// A link, and a record of wraps.
	withLink(c, func([]coordinator.DeviceLink) []byte { return e.link })
	f.session.sync.poke(allTasks)
	if code := f.failure("devices"); code != fault.NotAuthentic {
		t.Error(code)
	}
	c.Hook(nil)
	f.session.sync.poke(allTasks)
	f.settled()
	c.Hook(coordinatortest.Nth("readBlobs", 0, func(x *coordinatortest.Exchange) {
		if i := bytes.Index(x.Body, []byte("d-wraps-")); x.Caller == f.user && i >= 0 {
			x.Answer = blobAnswer(f.user, string(x.Body[i:i+len("d-wraps-")+36+2]), e.wraps)
		}
	}))
	if list, err := f.Devices(t.Context()); err != nil || list.Error != "" { // it has the true one already
		t.Errorf("%+v, %v", list, err)
	}
	if err := f.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.tryUnlock(otherPassword); err != nil {
		t.Fatal(err)
	}
	if code := f.failure("devices"); code != fault.NotAuthentic {
		t.Error(code)
	}
	c.Hook(nil)
	f.session.sync.poke(allTasks)
	f.settled()

	// The slots of the vault's header.
	root := withSlots(t, f.rootBlob(), e.public)
	c.Hook(coordinatortest.Nth("readBlobs", 0, func(x *coordinatortest.Exchange) {
		if x.Caller == f.user && bytes.Contains(x.Body, []byte(`"v-root"`)) {
			x.Answer = blobAnswer(f.user, "v-root", root)
		}
	}))
	f.session.sync.poke(allTasks)
	if code := f.failure("vault"); code != fault.NotAuthentic {
		t.Error(code)
	}
	if err := f.ChangePassword(t.Context(), []byte(otherPassword), []byte(testPassword)); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("a password is wrapped under another header: %v", err)
	}
	c.Hook(nil)
	f.session.sync.poke(allTasks)
	f.settled()

	// A contact's bundle.
	handsOut(c, grace.vault.UserID(), impostor(t, grace.vault.UserID(), time.Now()))
	sent := f.requests(c, "sendMessage", grace.vault.UserID())
	f.session.sync.mail.Restart(grace.vault.UserID()) //nolint:errcheck // the next message begins with a bundle
	if err := f.tell(grace, true); err != nil && !errors.Is(err, fault.KeyChanged) {
		t.Fatal(err)
	}
	eventually(t, "changed", func() bool {
		got, err := f.Contact(t.Context(), grace.vault.UserID())
		return err == nil && got.State == ContactChanged
	})
	if n := f.requests(c, "sendMessage", grace.vault.UserID()); n != sent {
		t.Errorf("%d messages to another key", n-sent)
	}
	c.Hook(nil)

	f.nothingWrappedTo(c, e, f.keyFileID(), b.keyFileID())
	now, unattended := slots(t, f.rootBlob())
	if !bytes.Equal(now, recovery) || unattended != nil {
		t.Error("the vault's key is wrapped to another key than the kit's")
	}
	if leaks := c.Leaks(string(e.public), string(e.public[len(e.public)-32:])); len(leaks) > 0 {
		t.Errorf("it comes back: %v", leaks)
	}
}

// blobAnswer is an answer to a reading of a blob that fits the user and the name, whatever the body.
func blobAnswer(user, name string, body []byte) *coordinatortest.Answer {
	sum, zero, nonce := sha256.Sum256(body), make([]byte, 32), make([]byte, 16)
	hash := coordinator.BlobHash(user, name, 1, [32]byte{}, [16]byte{}, body)
	return coordinatortest.JSON(http.StatusOK, coordinator.BlobPage{Blobs: []coordinator.Blob{{
		Name: name, Body: &body, Earlier: []coordinator.BlobVersion{},
		Newest: coordinator.BlobVersion{Counter: 1, Previous: zero, Nonce: nonce, BodyHash: sum[:], Hash: hash[:], Size: int64(len(body)), Time: time.Now()},
	}}})
}
