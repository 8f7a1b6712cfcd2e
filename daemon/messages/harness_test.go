package messages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/server"
	"coldframe/coordinator/state"
	"coldframe/coordinator/store"
	"coldframe/coordinator/storetest"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

// world is a coordinator on disk in this process, and the clock of all.
type world struct {
	t    testing.TB
	url  string
	step func(string) // called at each durable step of any device

	store store.Store
	down  func() // ends the coordinator

	clients []*coordinator.Client

	mu    sync.Mutex
	now   time.Time
	users int
	sent  map[string][32]byte // message keys that were used, and the message that each made
	reuse int
	lies  bool // the coordinator says yes to two agents: reuse is what a test wants to see
}

// folder returns a directory in memory if the system has one: nothing here is about the disk.
func folder(t testing.TB) string {
	if dir, err := os.MkdirTemp("/dev/shm", "coldframe-messages-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), sent: map[string][32]byte{}}
	w.up("127.0.0.1:0", nil)
	return w
}

// up starts the coordinator with what is in a backup, all of it.
func (w *world) up(address string, backup []byte) {
	t := w.t
	t.Helper()
	s, err := badgerstore.Open(folder(t), badgerstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if backup != nil {
		if err := store.Restore(t.Context(), s, bytes.NewReader(backup), func(string) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	st, err := state.New(t.Context(), s, state.Options{Registration: state.Open, Cost: storetest.CheapCost, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	w.url, w.store = "http://"+l.Addr().String(), s
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.New(st, server.Options{Rates: server.Rates{}}).Serve(ctx, l) }()
	w.down = sync.OnceFunc(func() {
		stop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.down)
}

// backup is all that the coordinator has.
func (w *world) backup() []byte {
	w.t.Helper()
	var b bytes.Buffer
	if err := store.Backup(w.t.Context(), w.store, &b); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

// back sets the coordinator back to a backup, sessions and epoch included.
func (w *world) back(backup []byte) {
	w.t.Helper()
	w.down()
	w.up(strings.TrimPrefix(w.url, "http://"), backup)
	for _, c := range w.clients {
		c.Close() // a connection of before may break at any moment
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// person is a user: what all of their devices share.
type person struct {
	w      *world
	id     string
	local  *ratchet.Local
	client *coordinator.Client

	mu     sync.Mutex
	epoch  uint64
	keys   map[uint64]secret.Key
	pins   map[string][32]byte
	wrong  map[string]fault.Code // peers that a person has to look at
	gate   map[string]Verdict
	stands map[string]Standing // others are contacts
	upload int64
}

func (w *world) person() *person {
	w.t.Helper()
	w.users++
	id := fmt.Sprintf("00000000-0000-4000-8000-%012x", w.users)
	c, err := coordinator.New(w.url, coordinator.Options{Now: w.clock, Device: coordinator.NewRequestID()})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Register(w.t.Context(), coordinator.Registration{User: id, EmailHash: proofOf(id), Proof: proofOf(id)}); err != nil {
		w.t.Fatal(err)
	}
	w.clients = append(w.clients, c)
	return &person{
		w: w, id: id, client: c, epoch: 1, keys: map[uint64]secret.Key{1: secret.Random()},
		local: &ratchet.Local{Identity: ratchet.NewIdentity(), Address: ratchet.Address{Name: id, Device: 1}, RegistrationID: 7},
		pins:  map[string][32]byte{}, wrong: map[string]fault.Code{}, gate: map[string]Verdict{}, stands: map[string]Standing{},
	}
}

func proofOf(id string) []byte {
	h := sha256.Sum256([]byte(id))
	return h[:]
}

// Current implements StateKeys.
func (p *person) Current(context.Context) (uint64, secret.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.epoch, p.keys[p.epoch], nil
}

// At implements StateKeys.
func (p *person) At(_ context.Context, epoch uint64) (secret.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k, ok := p.keys[epoch]; ok {
		return k, nil
	}
	return secret.Key{}, fault.New(fault.NotFound, "erased")
}

// Identity implements Contacts.
func (p *person) Identity(_ context.Context, peer string) ([32]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if code, ok := p.wrong[peer]; ok {
		return [32]byte{}, fault.New(code, "look")
	}
	return p.pins[peer], nil
}

// Admit implements Gate.
func (p *person) Admit(_ context.Context, sender string) (Verdict, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gate[sender], nil
}

// standing is Config.Standing.
func (p *person) standing(peer string) (Standing, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.stands[peer]; ok {
		return s, nil
	}
	return StandingContact, nil
}

// Bundle implements Bundles over the coordinator's prekeys.
func (p *person) Bundle(ctx context.Context, peer string) (*ratchet.Bundle, error) {
	k, err := p.client.FetchPreKeys(ctx, peer, coordinator.NewRequestID())
	if err != nil {
		return nil, err
	}
	from := k.Bundle
	if k.OneTime != nil {
		from = *k.OneTime
	}
	b := &ratchet.Bundle{}
	if err := json.Unmarshal(from, b); err != nil {
		return nil, err
	}
	return b, b.Verify(p.w.clock())
}

// device is one agent of a user, with a store of its own.
type device struct {
	*Messages
	p      *person
	dir    string
	db     *kv.DB
	remote *faulty
	config Config
	events []Event
	vault  *Blob
	full   func() bool // whether the disk is, at this write
}

// Remote is the coordinator as Messages sees it.
type Remote interface {
	Blobs
	Mailbox
}

// NewRemote returns the agent's own adapter over a client: TestMain knows it, as it imports this package.
var NewRemote func(c *coordinator.Client) Remote

// faulty is the coordinator, and what a test does to it.
type faulty struct {
	Remote
	w     *world
	swap  func(ctx context.Context, changes []BlobChange) error
	read  func(ctx context.Context, names []string) ([]Blob, error)
	inbox func(after uint64) ([]Envelope, bool, error)
	post  func(receiver, id string, body []byte) error
	acks  int
}

func (f *faulty) Swap(ctx context.Context, changes []BlobChange) error {
	if f.swap != nil {
		return f.swap(ctx, changes)
	}
	return f.Remote.Swap(ctx, changes)
}

func (f *faulty) Read(ctx context.Context, names []string) ([]Blob, error) {
	if f.read != nil {
		return f.read(ctx, names)
	}
	return f.Remote.Read(ctx, names)
}

func (f *faulty) Inbox(ctx context.Context, after uint64) ([]Envelope, bool, error) {
	if f.inbox != nil {
		return f.inbox(after)
	}
	return f.Remote.Inbox(ctx, after)
}

func (f *faulty) Post(ctx context.Context, receiver, id string, body []byte) error {
	f.w.used(body)
	if f.post != nil {
		return f.post(receiver, id, body)
	}
	return f.Remote.Post(ctx, receiver, id, body)
}

func (f *faulty) Acknowledge(ctx context.Context, list []Acknowledgement) error {
	f.acks += len(list)
	return f.Remote.Acknowledge(ctx, list)
}

func (p *person) device() *device {
	p.w.t.Helper()
	d := &device{p: p, dir: folder(p.w.t), remote: &faulty{Remote: NewRemote(p.client), w: p.w}}
	d.config = Config{
		Local: p.local, LocalKey: secret.Random(), LocalID: seal.RandomKeyID(), StateKeys: p, Blobs: d.remote, Mailbox: d.remote,
		Bundles: p, Contacts: p, Gate: p, Now: p.w.clock, Event: func(e Event) { d.events = append(d.events, e) },
		Handlers: map[string]Handler{"text": d.handle}, Standing: p.standing, MaySpeak: func(_, _, _ string) bool { return true },
	}
	d.openDB()
	p.w.t.Cleanup(func() { _ = d.db.Close() })
	d.restart()
	return d
}

func (d *device) openDB() {
	d.p.w.t.Helper()
	var err error
	free := func(string) (uint64, error) {
		if d.full != nil && d.full() {
			return 0, nil
		}
		return 1 << 40, nil
	}
	if d.db, err = kv.Open(d.dir, kv.Options{FreeSpace: free}); err != nil {
		d.p.w.t.Fatal(err)
	}
}

// restart begins with nothing in memory.
func (d *device) restart() {
	d.config.DB, d.vault = d.db, nil
	d.Messages = New(d.config)
	d.step = func(s string) {
		if d.p.w.step != nil {
			d.p.w.step(s)
		}
	}
}

// failing has texts refused with an error as long as that is not nil, and restarts the device.
func (d *device) failing(err error) *error {
	d.p.w.t.Helper()
	d.config.Handlers["text"] = func(ctx context.Context, r *Received) error {
		if err != nil {
			return err
		}
		return d.handle(ctx, r)
	}
	d.restart()
	return &err
}

// handle puts a text into the user's vault: a blob of all texts, changed in the swap that takes the body away.
func (d *device) handle(ctx context.Context, r *Received) error {
	if d.vault == nil {
		list, err := d.remote.Remote.Read(ctx, []string{"v-texts"})
		if err != nil {
			return err
		}
		d.vault = &Blob{}
		if len(list) > 0 {
			d.vault = &list[0]
		}
	}
	c := change("v-texts", d.vault.version(), append(slices.Clone(d.vault.Body), string(r.Payload)+"\n"...))
	if err := d.remote.Swap(ctx, []BlobChange{c, r.Removal()}); err != nil {
		d.vault = nil
		return err
	}
	d.vault = &Blob{Name: "v-texts", Counter: c.Counter, Hash: d.remote.Hash(c), Body: c.Body}
	return nil
}

// texts returns what the person's vault at the coordinator has, in order.
func (p *person) texts() []string {
	p.w.t.Helper()
	list, err := NewRemote(p.client).Read(p.w.t.Context(), []string{"v-texts"})
	if err != nil {
		p.w.t.Fatal(err)
	}
	if len(list) == 0 || len(list[0].Body) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(list[0].Body), "\n"), "\n")
}

// offer puts prekeys at the coordinator.
func (d *device) offer(n int) {
	t := d.p.w.t
	t.Helper()
	last, err := d.NewBundles(t.Context(), 1, ratchet.BundleOptions{LastResort: true})
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.NewBundles(t.Context(), n, ratchet.BundleOptions{OneTime: true})
	if err != nil {
		t.Fatal(err)
	}
	encode := func(b ratchet.Bundle) []byte {
		out, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	d.p.upload++
	replace := true
	up := coordinator.PreKeyUpload{Sequence: d.p.upload, Bundle: encode(last[0]), Replace: &replace}
	for _, b := range list {
		up.OneTime = append(up.OneTime, encode(b))
	}
	if _, err := d.p.client.PutPreKeys(t.Context(), up); err != nil {
		t.Fatal(err)
	}
}

func (d *device) enqueue(to *person, text string) ID {
	d.p.w.t.Helper()
	id, err := d.Enqueue(to.id, "text", []byte(text))
	if err != nil {
		d.p.w.t.Fatal(err)
	}
	return id
}

func (d *device) send() {
	d.p.w.t.Helper()
	if _, err := d.Send(d.p.w.t.Context()); err != nil {
		d.p.w.t.Fatal(err)
	}
}

func (d *device) receive() int {
	d.p.w.t.Helper()
	n, err := d.Receive(d.p.w.t.Context())
	if err != nil {
		d.p.w.t.Fatal(err)
	}
	return n
}

// say sends a text that arrives.
func say(t testing.TB, from, to *device, text string) {
	t.Helper()
	from.enqueue(to.p, text)
	from.send()
	if n := to.receive(); n != 1 {
		t.Fatalf("%d texts arrived, want %q alone; events %v", n, text, to.events)
	}
	if got := to.p.texts(); got[len(got)-1] != text {
		t.Fatalf("%q arrived, want %q", got[len(got)-1], text)
	}
}

// pair returns two people who know one another, each with a device, and offers.
func pair(t testing.TB) (w *world, alice, bob *device) {
	t.Helper()
	w = newWorld(t)
	alice, bob = w.person().device(), w.person().device()
	alice.offer(20)
	bob.offer(20)
	return w, alice, bob
}

func wantCode(t testing.TB, what string, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}
