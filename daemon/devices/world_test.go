package devices

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

var day0 = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

// world is one user: what is in its vault, what the coordinator keeps of it, and the time.
type world struct {
	tester
	dir     string
	id      UserID
	signing signed.Signer
	sealer  *seal.Sealer
	now     time.Time

	links   [][]byte
	records map[string][]byte // wraps records by blob name
}

func newWorld(t tester, dir string) *world {
	w := &world{tester: t, dir: dir, id: UserID(NewDeviceID()), now: day0, records: map[string][]byte{}}
	w.signing = signed.Signer{User: w.id.String(), Key: secret.Random()}
	w.sealer = seal.NewSealer(secret.Random(), seal.RandomKeyID(), Purpose)
	return w
}

func (w *world) owner() Owner { return Owner{User: w.id, Key: w.signing.Public()} }

// machine is a device and what it has seen.
type machine struct {
	w    *world
	d    *Device
	list *List
	ring *Ring
	path string
}

func (w *world) machine() *machine {
	w.Helper()
	path := filepath.Join(w.dir, rand.Text())
	d, err := CreateDevice(fast{atomicfile.OS}, path, w.id, w.now)
	if err != nil {
		w.Fatal(err)
	}
	return &machine{w: w, d: d, path: path}
}

func (m *machine) author() Author {
	return Author{Signing: m.w.signing, Sealer: m.w.sealer, Device: m.d, Now: m.w.now}
}

// publish is what the coordinator does: the next link is taken, another is a conflict.
func (w *world) publish(u *Update) error {
	if u.List.Sequence != uint64(len(w.links))+1 {
		return fault.New(fault.Conflict, "the list is at %d", len(w.links))
	}
	w.links = append(w.links, u.Link)
	w.records[u.List.WrapsName()] = u.Wraps
	return nil
}

// must publishes and takes over what the device itself made.
func (m *machine) must(u *Update, err error) *Update {
	m.w.Helper()
	if err == nil {
		err = m.w.publish(u)
	}
	if err != nil {
		m.w.Fatal(err)
	}
	m.took(u.List)
	if !u.State.Key.IsZero() {
		if m.ring == nil {
			m.ring = NewRing(u.State)
		} else if err := m.ring.Advance(u.State); err != nil {
			m.w.Fatal(err)
		}
		m.ring.EraseFormer()
	}
	return u
}

func (m *machine) took(l *List) {
	m.w.Helper()
	m.list = l
	if _, err := l.Find(m.d.ID); err != nil {
		return
	}
	if err := errors.Join(m.d.Settle(l), m.d.EraseFormer()); err != nil {
		m.w.Fatal(err)
	}
}

func (m *machine) record() *Record {
	m.w.Helper()
	r, err := OpenRecord(m.list, m.w.sealer, m.w.records[m.list.WrapsName()])
	if err != nil {
		m.w.Fatal(err)
	}
	return r
}

// follow takes over all links, and the state key if there is a newer one.
func (m *machine) follow() {
	m.w.Helper()
	l, err := m.list.Extend(m.w.links[m.list.Sequence:])
	if err != nil {
		m.w.Fatal(err)
	}
	m.took(l)
	k, err := m.record().Unwrap(m.d)
	if err != nil {
		m.w.Fatal(err)
	}
	if m.ring == nil {
		m.ring = NewRing(k)
		return
	}
	if err := m.ring.Advance(k); err != nil {
		m.w.Fatal(err)
	}
	m.ring.EraseFormer()
}

// begin makes the first device.
func (w *world) begin(name string) *machine {
	w.Helper()
	m := w.machine()
	m.must(NewList(m.author(), name))
	return m
}

func (m *machine) sign(c Changes) (*Update, error) {
	m.w.Helper()
	return m.list.Sign(m.author(), m.record(), m.ring, c)
}

// ask makes a new device, which opened the list, and its request.
func (w *world) ask(name string) (*machine, []byte, Code) {
	w.Helper()
	m := w.machine()
	l, err := OpenList(w.owner(), Head{}, w.links)
	if err != nil {
		w.Fatal(err)
	}
	m.list = l
	sealed, p, err := m.d.Ask(w.sealer, name, w.now)
	if err != nil {
		w.Fatal(err)
	}
	return m, sealed, p
}

// approve is what the user does on an old device: types in the code.
func (m *machine) approve(id DeviceID, sealed, typed []byte) *Approved {
	m.w.Helper()
	r, err := OpenRequest(m.w.sealer, m.w.id, id, sealed)
	if err != nil {
		m.w.Fatal(err)
	}
	code, err := ParseCode(typed)
	if err != nil {
		m.w.Fatal(err)
	}
	a, err := r.Approve(code)
	if err != nil {
		m.w.Fatal(err)
	}
	return a
}

// add adds a device from m, and lets it confirm.
func (m *machine) add(name string) *machine {
	m.w.Helper()
	n, sealed, p := m.w.ask(name)
	n.confirm(m.must(m.sign(Changes{Add: []*Approved{m.approve(n.d.ID, sealed, p.Text())}})))
	n.follow()
	return n
}

// confirm is what the new device does with the link that added it.
func (m *machine) confirm(u *Update) {
	m.w.Helper()
	l, err := m.list.Next(u.Link)
	if err == nil {
		isCode(m.w, "unwrapped before it is confirmed", second((&Record{list: l}).Unwrap(m.d)), fault.UntrustedKey)
		err = m.d.Confirm(l)
	}
	if err != nil {
		m.w.Fatal(err)
	}
	if _, err := m.d.Code(); !m.d.Joined() || !errors.Is(err, fault.NotFound) {
		m.w.Fatal("not joined, or the code is still there")
	}
}

// isCode is what tests ask of an error.
func isCode(t tester, what string, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

// fast is a file system that syncs nothing.
type fast struct{ atomicfile.Layer }

func (f fast) SyncDir(string) error { return nil }

func (f fast) CreateExclusive(path string, perm fs.FileMode) (atomicfile.File, error) {
	file, err := f.Layer.CreateExclusive(path, perm)
	return fastFile{file}, err
}

type fastFile struct{ atomicfile.File }

func (fastFile) Sync() error { return nil }

// random returns n random bytes.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func setup(t *testing.T) *world { return newWorld(t, t.TempDir()) }

func sameKey(t tester, what string, a, b *Ring) {
	t.Helper()
	x, errX := a.Current()
	y, errY := b.Current()
	if errX != nil || errY != nil || x.Epoch != y.Epoch || !x.Key.Equal(y.Key) || bytes.Equal(x.Key.Bytes(), make([]byte, 32)) {
		t.Errorf("%s: epochs %d and %d, %v, %v: not one state key", what, x.Epoch, y.Epoch, errX, errY)
	}
}
