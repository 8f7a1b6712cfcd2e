package membership

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/daemon/devices"
	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// world is one user: what the coordinator keeps, what is in the vault, and the time.
type world struct {
	tester
	dir     string
	user    devices.UserID
	signing signed.Signer
	sealer  *seal.Sealer

	mu      sync.Mutex
	now     time.Time
	links   [][]byte
	records map[string][]byte
	noted   devices.Head

	step   func(what string)       // before and after each durable step; it may panic
	answer func(what string) error // after a call of the coordinator did its work: an answer that is lost
	refuse func(what string) error // before it
}

type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Context() context.Context
}

var day0 = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

func newWorld(t tester, dir string) *world {
	w := &world{tester: t, dir: dir, user: devices.UserID(devices.NewDeviceID()), now: day0, records: map[string][]byte{}}
	w.signing = signed.Signer{User: w.user.String(), Key: secret.Random()}
	w.sealer = seal.NewSealer(secret.Random(), seal.RandomKeyID(), devices.Purpose)
	w.calm()
	return w
}

func setup(t *testing.T) *world { return newWorld(t, t.TempDir()) }

// calm ends all faults.
func (w *world) calm() {
	w.step = func(string) {}
	w.answer = func(string) error { return nil }
	w.refuse = w.answer
}

// call does one thing at the coordinator.
func (w *world) call(what string, do func() error) error {
	w.step(what)
	if err := w.refuse(what); err != nil {
		return err
	}
	w.mu.Lock()
	err := do()
	w.mu.Unlock()
	w.step(what + ", done")
	if lost := w.answer(what); lost != nil {
		return lost
	}
	return err
}

func (w *world) Add(_ context.Context, link []byte, sequence uint64) error {
	return w.call("add", func() error {
		if sequence != uint64(len(w.links))+1 {
			return fault.New(fault.Conflict, "the list is at %d", len(w.links))
		}
		w.links = append(w.links, bytes.Clone(link))
		return nil
	})
}

func (w *world) After(_ context.Context, sequence uint64) (links [][]byte, err error) {
	err = w.call("after", func() error {
		links = slices.Clone(w.links[min(sequence, uint64(len(w.links))):])
		return nil
	})
	return links, err
}

func (w *world) Read(_ context.Context, name string) (body []byte, err error) {
	err = w.call("read", func() error { body = bytes.Clone(w.records[name]); return nil })
	return body, err
}

func (w *world) Write(_ context.Context, name string, body []byte) error {
	return w.call("write", func() error { w.records[name] = bytes.Clone(body); return nil })
}

func (w *world) Remove(_ context.Context, name string) error {
	return w.call("remove", func() error { delete(w.records, name); return nil })
}

func (w *world) List(_ context.Context, prefix string) (names []string, err error) {
	err = w.call("list", func() error {
		for name := range maps.Keys(w.records) {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return nil
	})
	return names, err
}

func (w *world) remembered() (devices.Head, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.noted, nil
}

func (w *world) note(_ context.Context, h devices.Head) error {
	return w.call("note", func() error {
		if h.Sequence > w.noted.Sequence {
			w.noted = h
		}
		return nil
	})
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// branch is the same user, vault and files at another coordinator, which goes on by itself from what this one has.
func (w *world) branch() *world {
	b := &world{
		tester: w.tester, dir: w.dir, user: w.user, signing: w.signing, sealer: w.sealer, now: w.now,
		links: slices.Clone(w.links), records: maps.Clone(w.records), noted: w.noted,
	}
	b.calm()
	return b
}

// machine is a computer: what is on its disk, and the Member that runs on it.
type machine struct {
	*Member
	w      *world
	name   string
	path   string
	memory []byte
	past   past
}

// past is the machine's History.
type past struct {
	w    *world
	kept []byte
}

func (p *past) Load() ([]byte, error) { return bytes.Clone(p.kept), nil }

func (p *past) Save(kept []byte) error {
	return p.w.call("save history", func() error { p.kept = bytes.Clone(kept); return nil })
}

// GoString is what rapid prints of it.
func (m *machine) GoString() string { return m.name }

func (m *machine) Load() ([]byte, error) { return bytes.Clone(m.memory), nil }

func (m *machine) Save(kept []byte) error {
	return m.w.call("save", func() error { m.memory = bytes.Clone(kept); return nil })
}

func (w *world) machine(name string) *machine {
	w.Helper()
	m := &machine{w: w, name: name, path: filepath.Join(w.dir, rand.Text())}
	m.start()
	return m
}

func (m *machine) options() Options {
	return Options{
		User: m.w.user, Signer: m.w.signing, Sealer: m.w.sealer, Files: files{atomicfile.OS, m.w}, KeyFile: m.path, Name: m.name,
		Links: m.w, Records: m.w, Memory: m, History: &m.past, Remembered: m.w.remembered, Note: m.w.note, Now: m.w.time,
	}
}

// start is what the agent does at an unlock; what ran before is dead.
func (m *machine) start() {
	m.w.Helper()
	m.past.w = m.w
	member, err := New(m.options())
	if err != nil {
		m.w.Fatal(err)
	}
	m.Member = member
}

func (m *machine) sync(want State) {
	m.w.Helper()
	if state, err := m.Sync(m.w.Context()); err != nil || state != want {
		m.w.Fatalf("%s: %s, %v, want %s", m.name, state, err, want)
	}
}

// ask asks, and returns the code.
func (m *machine) ask() []byte {
	m.w.Helper()
	code, err := m.Ask(m.w.Context(), m.name)
	if err != nil {
		m.w.Fatal(err)
	}
	return code
}

// join makes a further machine and has m approve it.
func (m *machine) join(name string) *machine {
	m.w.Helper()
	n := m.w.machine(name)
	n.sync(Unlisted)
	if err := m.Approve(m.w.Context(), n.DeviceID(), n.ask()); err != nil {
		m.w.Fatal(err)
	}
	n.sync(Listed)
	return n
}

// begin makes the first machine.
func (w *world) begin() *machine {
	w.Helper()
	m := w.machine("desk")
	m.sync(Listed)
	return m
}

// reseal is what the agent does after a new epoch.
func (m *machine) reseal() {
	m.w.Helper()
	epoch, needed := m.NeedsReseal()
	if !needed {
		return
	}
	if err := m.Resealed(m.w.Context(), epoch); err != nil {
		m.w.Fatal(err)
	}
	if _, again := m.NeedsReseal(); again {
		m.w.Fatal("to be sealed again, once more")
	}
}

// same fails unless all machines have one list and one state key.
func (w *world) same(list ...*machine) {
	w.Helper()
	epoch, key, err := list[0].Current(w.Context())
	if err != nil || key.IsZero() {
		w.Fatalf("%s: %v", list[0].name, err)
	}
	for _, m := range list {
		e, k, err := m.Current(w.Context())
		if err != nil || e != epoch || !k.Equal(key) || m.Head() != list[0].Head() || m.Head().Sequence != uint64(len(w.links)) {
			w.Fatalf("%s: epoch %d, %v, list %d, want epoch %d, list %d", m.name, e, err, m.Head().Sequence, epoch, len(w.links))
		}
	}
}

// names returns what a machine knows of the user's devices.
func (m *machine) names() string {
	m.w.Helper()
	list, err := m.Devices(m.w.Context())
	if err != nil {
		m.w.Fatal(err)
	}
	var names []string
	for _, d := range list {
		names = append(names, d.Name)
		if d.This != (d.ID == m.DeviceID()) || d.Added.IsZero() || d.KeyTime.Before(d.Added) {
			m.w.Errorf("%+v", d)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func intendNothing(devices.Head) error { return nil }

// killed is what a machine dies of.
type killed struct{ step string }

// dieAt has the nth step end the machine that does it.
func (w *world) dieAt(n int) {
	w.step = func(step string) {
		if n--; n == 0 {
			panic(killed{step})
		}
	}
}

// dies runs do, and reports the step at which it was killed; "": it was not.
func (w *world) dies(do func()) (step string) {
	defer w.calm()
	defer func() {
		switch k := recover().(type) {
		case nil:
		case killed:
			step = k.step
		default:
			panic(k)
		}
	}()
	do()
	return ""
}

// isCode is what tests ask of an error.
func isCode(t tester, what string, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

func second[T any](_ T, err error) error { return err }

// files is the file system of a machine, which may die around each replacement of a file. It syncs nothing.
type files struct {
	atomicfile.Layer
	w *world
}

func (f files) SyncDir(string) error { return nil }

func (f files) Rename(from, to string) error {
	return f.w.call("key file", func() error { return f.Layer.Rename(from, to) })
}

func (f files) CreateExclusive(path string, perm fs.FileMode) (atomicfile.File, error) {
	file, err := f.Layer.CreateExclusive(path, perm)
	return unsynced{file}, err
}

type unsynced struct{ atomicfile.File }

func (unsynced) Sync() error { return nil }
