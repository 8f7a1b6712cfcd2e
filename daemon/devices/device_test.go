package devices

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
)

// An absent key file, a broken one, one of another format and one of another user are different things, and none is a fresh start.
func TestKeyFileAbsentOrBroken(t *testing.T) {
	w := setup(t)
	m := w.machine()
	whole, err := os.ReadFile(m.path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenDevice(atomicfile.OS, filepath.Join(w.dir, "none"), w.id)
	isCode(t, "absent", err, fault.Incomplete)
	_, err = OpenDevice(atomicfile.OS, m.path, UserID(NewDeviceID()))
	isCode(t, "another user's", err, fault.NotAuthentic)
	_, err = CreateDevice(atomicfile.OS, m.path, w.id, w.now)
	isCode(t, "created twice", err, fault.Conflict)
	asking := w.machine()
	if _, _, err := asking.d.Ask(w.sealer, "x", w.now); err != nil {
		t.Fatal(err)
	}
	if err := asking.d.Stage(w.now); err != nil {
		t.Fatal(err)
	}
	for _, file := range [][]byte{whole, asking.d.encode()} {
		for i := range file {
			b := bytes.Clone(file)
			b[i] ^= 1
			want := fault.NotAuthentic
			if i == len(keyMagic) {
				want = fault.Policy
			}
			if _, err := parseKeyFile(b); !errors.Is(err, want) {
				t.Errorf("byte %d: %v", i, err)
			}
			if _, err := parseKeyFile(file[:i]); !errors.Is(err, fault.NotAuthentic) {
				t.Errorf("cut at %d: %v", i, err)
			}
		}
		for what, edit := range map[string]func(d *Device){
			"standing 0": func(d *Device) { d.standing = 0 }, "standing 4": func(d *Device) { d.standing = 4 },
			"two next":  func(d *Device) { d.otherRole, d.other = rolePresent, d.present },
			"role 4":    func(d *Device) { d.otherRole, d.other = 4, d.present },
			"date":      func(d *Device) { p := *d.present; p.made = -1; d.present = &p },
			"other key": func(d *Device) { p := *d.present; p.public = make([]byte, publicKeySize); d.present = &p },
			"code": func(d *Device) {
				d.standing, d.code = standingAsking, Code{keyAt(bytes.Repeat([]byte{'0'}, 32))}
			},
		} {
			d, err := parseKeyFile(file)
			if err != nil {
				t.Fatal(err)
			}
			edit(d)
			isCode(t, what, second(parseKeyFile(d.encode())), fault.NotAuthentic)
		}
	}
	if err := os.WriteFile(m.path, whole[:7], 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = OpenDevice(atomicfile.OS, m.path, w.id)
	isCode(t, "broken", err, fault.NotAuthentic)
	_, err = CreateDevice(atomicfile.OS, m.path, w.id, w.now)
	isCode(t, "created over a broken one", err, fault.Conflict)
	if now, err := os.ReadFile(m.path); err != nil || !bytes.Equal(now, whole[:7]) {
		t.Error("the broken file was touched")
	}
}

func TestL18_KeyFileOpenToOthers(t *testing.T) {
	w := setup(t)
	m := w.machine()
	if info, err := os.Stat(m.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Chmod(m.path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := OpenDevice(atomicfile.OS, m.path, w.id)
	isCode(t, "mode 0640", err, fault.Policy)
}

// unreadable fails to open any file.
type unreadable struct{ atomicfile.Layer }

func (unreadable) Open(string) (atomicfile.File, error) { return nil, syscall.EIO }

// A disk that does not answer says nothing of a key file; one that is open to others is there.
func TestCreateDeviceWhereNothingCanBeRead(t *testing.T) {
	w := setup(t)
	m := w.machine()
	if _, err := CreateDevice(unreadable{atomicfile.OS}, m.path+".other", w.id, w.now); err == nil || errors.Is(err, fault.Conflict) {
		t.Error(err)
	}
	if err := os.Chmod(m.path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := CreateDevice(atomicfile.OS, m.path, w.id, w.now)
	isCode(t, "open to others", err, fault.Conflict)
}

// broken fails file call n.
type broken struct {
	atomicfile.Layer
	n *int
}

func (b broken) fail() bool { *b.n--; return *b.n == 0 }

func (b broken) CreateExclusive(path string, perm fs.FileMode) (atomicfile.File, error) {
	if b.fail() {
		return nil, syscall.ENOSPC
	}
	f, err := b.Layer.CreateExclusive(path, perm)
	return brokenFile{f, b}, err
}

func (b broken) Rename(from, to string) error {
	if b.fail() {
		return syscall.EIO
	}
	return b.Layer.Rename(from, to)
}

func (b broken) SyncDir(path string) error {
	if b.fail() {
		return syscall.EIO
	}
	return b.Layer.SyncDir(path)
}

type brokenFile struct {
	atomicfile.File
	b broken
}

func (f brokenFile) Write(p []byte) (int, error) {
	if f.b.fail() {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, syscall.ENOSPC
	}
	return f.File.Write(p)
}

func (f brokenFile) Sync() error {
	if f.b.fail() {
		return syscall.EIO
	}
	return f.File.Sync()
}

// Whatever call fails while the key is replaced, the file opens, and holds the key that the list names, before and after; the device in
// memory goes on.
func TestF06_F07_KeyReplacedOnAFailingDisk(t *testing.T) {
	for n := 1; ; n++ {
		w := setup(t)
		m := w.begin("one")
		calls := n
		m.d.files = broken{fast{atomicfile.OS}, &calls}
		again := func(what string, err error, list *List) {
			t.Helper()
			d, errOpen := OpenDevice(atomicfile.OS, m.path, w.id)
			if errOpen != nil {
				t.Fatalf("call %d, %s (%v): %v", n, what, err, errOpen)
			}
			e, errFind := list.Find(d.ID)
			if errFind != nil || d.pairOf(e) == nil {
				t.Errorf("call %d, %s (%v): the file lost the key that the list names", n, what, err)
			}
		}
		for tries := 0; ; tries++ {
			err := m.d.Stage(w.now)
			again("stage", err, m.list)
			if err == nil {
				break
			}
			if tries > 0 {
				t.Fatal(err)
			}
		}
		u, err := m.list.Sign(m.author(), m.record(), m.ring, Changes{NewKey: true, Rotate: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []func() error{func() error { return m.d.Settle(u.List) }, m.d.EraseFormer} {
			if err := step(); err != nil {
				again("settle", err, u.List)
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			again("settle", nil, u.List)
		}
		d, err := OpenDevice(atomicfile.OS, m.path, w.id)
		if err != nil || d.other != nil || !d.present.seed.Equal(m.d.present.seed) {
			t.Errorf("call %d: %v, the file is not what is in memory", n, err)
		}
		if calls > 0 {
			if n < 10 {
				t.Error("only", n-1, "calls")
			}
			return
		}
	}
}

// The former key is kept until it is erased by name, and a next one is not staged meanwhile.
func TestKeyGenerations(t *testing.T) {
	w := setup(t)
	m := w.begin("one")
	isCode(t, "nothing staged", second(m.sign(Changes{NewKey: true})), fault.Conflict)
	first := m.d.present
	if err := m.d.Stage(w.now); err != nil {
		t.Fatal(err)
	}
	next := m.d.other
	if err := errors.Join(m.d.Settle(m.list), m.d.Stage(w.now)); err != nil || m.d.other != next || m.d.present != first {
		t.Fatalf("staged again: %v", err)
	}
	u, err := m.sign(Changes{NewKey: true, Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	before, recordBefore := m.list, w.records[m.list.WrapsName()]
	if err := errors.Join(w.publish(u), m.d.Settle(u.List), m.d.Settle(u.List)); err != nil {
		t.Fatal(err)
	}
	isCode(t, "staged while the former is kept", m.d.Stage(w.now), fault.Conflict)

	// A crash here: the former state key comes back from the former record, by the former device key.
	d, err := OpenDevice(atomicfile.OS, m.path, w.id)
	if err != nil {
		t.Fatal(err)
	}
	former, ok := u.List.Former()
	if !ok || former.Head() != before.Head() {
		t.Fatal("the list does not know its former epoch")
	}
	r, err := OpenRecord(former, w.sealer, recordBefore)
	if err != nil {
		t.Fatal(err)
	}
	k, err := r.Unwrap(d)
	if want, _ := m.ring.Current(); err != nil || !k.Key.Equal(want.Key) {
		t.Errorf("the former state key: %v", err)
	}
	if err := d.EraseFormer(); err != nil {
		t.Fatal(err)
	}
	isCode(t, "after erasing", second(r.Unwrap(d)), fault.KeyChanged)
	if !d.present.seed.Equal(next.seed) || !first.seed.Equal(m.d.other.seed) {
		t.Error("another key was erased")
	}
	isCode(t, "a list with other keys", m.d.Settle(&List{Link: Link{Devices: []Entry{{ID: m.d.ID}}}}), fault.KeyChanged)
	isCode(t, "a list without it", m.d.Settle(&List{}), fault.Forbidden)
}

// A new device that restarts while it waits still shows its code, and confirms; one that was listed and never asked gets nothing.
func TestRestartWhileAsking(t *testing.T) {
	w := setup(t)
	a := w.begin("desk")
	n, _, lost := w.ask("laptop")
	sealed, code, err := n.d.Ask(w.sealer, "laptop", w.now) // again: another code
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenRequest(w.sealer, w.id, n.d.ID, sealed)
	if err != nil {
		t.Fatal(err)
	}
	isCode(t, "the code before", second(r.Approve(lost)), fault.UntrustedKey)
	typed := code.Text()
	code.Wipe()
	n.d.Wipe()
	if n.d, err = OpenDevice(fast{atomicfile.OS}, n.path, w.id); err != nil {
		t.Fatal(err)
	}
	if code, err = n.d.Code(); err != nil || !bytes.Equal(code.Text(), typed) {
		t.Fatal("the code is another: ", err)
	}
	u := a.must(a.sign(Changes{Add: []*Approved{a.approve(n.d.ID, sealed, typed)}}))
	n.confirm(u)
	if n.d, err = OpenDevice(fast{atomicfile.OS}, n.path, w.id); err != nil {
		t.Fatal(err)
	}
	n.follow()
	sameKey(t, "after restarts", a.ring, n.ring)
	if raw, err := os.ReadFile(n.path); err != nil || bytes.Contains(raw, bytes.ReplaceAll(typed, []byte(" "), nil)) {
		t.Error("the code is still in the file: ", err)
	}

	silent := w.machine()
	approved := &Approved{body: requestBody{
		User: w.id, Device: silent.d.ID, Public: silent.d.present.public, AuthorKey: silent.d.present.authorKey(), Name: encodeName("x"),
	}, code: newCode()}
	u = a.must(a.sign(Changes{Add: []*Approved{approved}}))
	isCode(t, "listed and never asked", second(a.record().Unwrap(silent.d)), fault.UntrustedKey)
	isCode(t, "and confirming", silent.d.Confirm(u.List), fault.NotFound)
	if err := silent.d.Settle(u.List); err != nil || silent.d.Joined() {
		t.Error("joined by being listed: ", err)
	}
}

// second returns the error of a call.
func second[T any](_ T, err error) error { return err }

func TestKeysAreNotPrinted(t *testing.T) {
	w := setup(t)
	m := w.begin("one")
	n, _, p := w.ask("two")
	k, _ := m.ring.Current()
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		fmt.Fprintf(&out, verb, m.d)
		fmt.Fprintf(&out, verb, *m.d)
		fmt.Fprintf(&out, verb, *m.d.present)
		fmt.Fprintf(&out, verb, m.ring)
		fmt.Fprintf(&out, verb, *m.ring)
		fmt.Fprintf(&out, verb, k)
		fmt.Fprintf(&out, verb, p)
		fmt.Fprintf(&out, verb, n.d)
		fmt.Fprintf(&out, verb, *n.d)
	}
	for what, b := range map[string][]byte{
		"seed": m.d.present.seed.Bytes(), "author key": m.d.present.author.Bytes(), "state key": k.Key.Bytes(), "code": p.k.Bytes()[:codeDigits],
	} {
		shown := string(p.Text())
		for _, form := range []string{string(b), hex.EncodeToString(b), fmt.Sprintf("%d", b), shown} {
			if strings.Contains(out.String(), strings.Trim(form, "[]")) {
				t.Errorf("%s was printed", what)
			}
		}
	}
}

func TestWipedAndDestroyed(t *testing.T) {
	w := setup(t)
	m := w.begin("one")
	r, ring := m.record(), m.ring
	m.d.Wipe()
	for what, err := range map[string]error{
		"stage": m.d.Stage(w.now), "settle": m.d.Settle(m.list), "unwrap": second(r.Unwrap(m.d)),
		"sign": second(m.list.Sign(m.author(), r, ring, Changes{})), "request": second3(m.d.Ask(w.sealer, "x", w.now)),
	} {
		isCode(t, what, err, fault.Locked)
	}
	d, err := OpenDevice(atomicfile.OS, m.path, w.id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Unwrap(d); err != nil {
		t.Error(err)
	}
	if err := d.Destroy(); err != nil {
		t.Fatal(err)
	}
	_, err = OpenDevice(atomicfile.OS, m.path, w.id)
	isCode(t, "destroyed", err, fault.Incomplete)
}

func second3[T, U any](_ T, _ U, err error) error { return err }
