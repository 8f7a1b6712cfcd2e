package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// fakeClock is a clock that tests move.
type fakeClock struct {
	mu         sync.Mutex
	wall       time.Time
	mono, boot time.Duration
}

func newFakeClock() *fakeClock {
	return &fakeClock{wall: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), mono: time.Hour, boot: time.Hour}
}

func (c *fakeClock) Now() time.Time           { c.mu.Lock(); defer c.mu.Unlock(); return c.wall }
func (c *fakeClock) Monotonic() time.Duration { c.mu.Lock(); defer c.mu.Unlock(); return c.mono }
func (c *fakeClock) Boottime() time.Duration  { c.mu.Lock(); defer c.mu.Unlock(); return c.boot }

// pass lets time go by; sleep of it while the machine is suspended.
func (c *fakeClock) pass(d, sleep time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.boot, c.mono = c.wall.Add(d), c.boot+d, c.mono+d-sleep
}

func (c *fakeClock) set(wall time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = wall
}

func (r *running) state() State {
	r.t.Helper()
	st, err := r.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return st.State
}

func (r *running) tryUnlock(password string) error {
	return r.Unlock(r.t.Context(), UnlockRequest{Password: []byte(password)})
}

func TestV12_GuessesAreSlowedDownOverARestart(t *testing.T) {
	dir, clock := t.TempDir(), newFakeClock()
	with := func(_ *Config, o *Options) { o.Clock = clock }
	a := startAgent(t, dir, with)
	a.register()
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	busy := 0
	for try := range 50 {
		err := a.tryUnlock("wrong canary guess")
		switch {
		case errors.Is(err, fault.Busy):
			busy++
			if wait := RetryAfter(err); wait <= 0 || wait > 5*time.Minute {
				t.Fatalf("try %d: wait %v", try, wait)
			}
		case !errors.Is(err, fault.NotAuthentic):
			t.Fatalf("try %d: %v", try, err)
		}
		if try == 25 {
			if err := a.stop(); err != nil {
				t.Fatal(err)
			}
			a = startAgent(t, dir, with)
		}
	}
	if busy != 45 {
		t.Errorf("%d of 50 tries without waiting were refused, want 45", busy)
	}
	if err := a.tryUnlock(testPassword); !errors.Is(err, fault.Busy) {
		t.Errorf("the right password during a wait: %v", err)
	}
	clock.pass(5*time.Minute, 0)
	if err := a.tryUnlock(testPassword); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	refused, throttled := 0, 0
	for _, e := range a.logged(t) {
		switch e.Type {
		case EventRefused:
			refused++
		case EventThrottled:
			throttled++
		}
	}
	if refused != 5 || throttled < 45 {
		t.Errorf("%d refused and %d throttled events, want 5 and at least 45", refused, throttled)
	}
}

// logged returns all logged events.
func (r *running) logged(t *testing.T) []Event {
	t.Helper()
	events, err := r.events.after(0)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestL17_LocksWhenIdleAndOnSuspend(t *testing.T) {
	clock := newFakeClock()
	a := startAgent(t, t.TempDir(), func(_ *Config, o *Options) { o.Clock = clock })
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	session := a.session
	clock.pass(14*time.Minute, 0)
	a.Touch()
	clock.pass(14*time.Minute, 0)
	time.Sleep(20 * a.o.Tick)
	if a.state() != StateUnlocked {
		t.Fatal("locked although somebody was here 14 minutes ago")
	}
	clock.pass(time.Minute, 0)
	eventually(t, "lock after 15 idle minutes", func() bool { return a.state() == StateLocked })
	eventually(t, "wiped keys", func() bool { return session.signer.Key.IsZero() && session.local.key.IsZero() })
	_, err := a.read(ReadRequest{Dataset: id})
	wantCode(t, "read while locked", err, fault.Locked)
	a.unlock()
	time.Sleep(20 * a.o.Tick)
	if a.state() != StateUnlocked {
		t.Fatal("locked again at once")
	}
	clock.pass(3*time.Second, 3*time.Second)
	eventually(t, "lock on suspend", func() bool { return a.state() == StateLocked })
}

func TestL17_WallClockDoesNotLock(t *testing.T) {
	clock := newFakeClock()
	a := startAgent(t, t.TempDir(), func(_ *Config, o *Options) { o.Clock = clock })
	a.register()
	for _, years := range []int{10, -10} {
		clock.set(clock.Now().AddDate(years, 0, 0))
		time.Sleep(20 * a.o.Tick)
		if a.state() != StateUnlocked {
			t.Errorf("a wall clock set by %d years locked the agent", years)
		}
	}
}

func TestL18_TokenFileOfOthersStopsTheStart(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"open to others": func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Chmod(p, 0o644)) },
		"link": func(p string) error {
			target := filepath.Join(filepath.Dir(p), "elsewhere")
			return errors.Join(os.WriteFile(target, []byte("keep"), 0o600), os.Symlink(target, p))
		},
		"folder": func(p string) error { return os.Mkdir(p, 0o700) },
		"owner": func(p string) error {
			if os.Getuid() != 0 {
				return errSkip
			}
			return errors.Join(os.WriteFile(p, nil, 0o600), os.Chown(p, 12345, 12345))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t.TempDir())
			if err := os.MkdirAll(c.Folders.Runtime, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(c.Folders.Runtime, TokenFile)
			if err := put(path); errors.Is(err, errSkip) {
				t.Skip("needs root to give a file away")
			} else if err != nil {
				t.Fatal(err)
			}
			a, err := New(c, Options{Profile: cheap})
			wantCode(t, "start", err, fault.Policy)
			if err == nil {
				a.close()
			}
			if b, err := os.ReadFile(filepath.Join(c.Folders.Runtime, "elsewhere")); err == nil && string(b) != "keep" {
				t.Error("the link's target was written")
			}
		})
	}
}

var errSkip = errors.New("skip")

func TestL18_OpenFolderStopsTheStart(t *testing.T) {
	c := testConfig(t.TempDir())
	if err := errors.Join(os.MkdirAll(c.Folders.Runtime, 0o700), os.Chmod(c.Folders.Runtime, 0o750)); err != nil {
		t.Fatal(err)
	}
	_, err := New(c, Options{Profile: cheap})
	wantCode(t, "start", err, fault.Policy)
}

func TestL18_TokenIsNewAtEachStart(t *testing.T) {
	dir := t.TempDir()
	a := startAgent(t, dir, nil)
	path := filepath.Join(a.Config().Folders.Runtime, TokenFile)
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if _, err := parseTokenFile(first); err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, first, 0o600); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	a = startAgent(t, dir, nil)
	second, err := os.ReadFile(path)
	if err != nil || bytes.Equal(first, second) {
		t.Fatalf("the token is the same (%v)", err)
	}
	_, err = a.Authenticate(strings.TrimSpace(string(first)))
	wantCode(t, "old token", err, fault.Unauthorized)
}

func TestL23_PasswordAgain(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	for name, call := range map[string]func(password []byte) error{
		"backup":         func(p []byte) error { return a.Backup(t.Context(), p, &bytes.Buffer{}) },
		"unattended on":  func(p []byte) error { _, err := a.EnableUnattended(t.Context(), p); return err },
		"unattended off": func(p []byte) error { return a.DisableUnattended(t.Context(), p) },
		"store": func(p []byte) error {
			return a.SetStore(t.Context(), SetStoreRequest{Settings: StoreSettings{Kind: StoreFolder, Path: t.TempDir()}, Password: p})
		},
		"admin token": func(p []byte) error {
			_, _, err := a.CreateApp(t.Context(), user, AppRequest{Name: "n", Scopes: []Scope{ScopeAdmin}, Password: p})
			return err
		},
		"kms token": func(p []byte) error {
			_, _, err := a.CreateApp(t.Context(), user, AppRequest{Name: "n", Scopes: []Scope{ScopeKMS}, Password: p})
			return err
		},
	} {
		wantCode(t, name+" without password", call(nil), fault.Forbidden)
		wantCode(t, name+" with a wrong one", call([]byte("wrong canary")), fault.NotAuthentic)
		if err := call([]byte(testPassword)); err != nil {
			t.Errorf("%s with the password: %v", name, err)
		}
	}
}

func TestL24_StopsCleanlyUnderLoad(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	body := &endless{line: "1,abcdefgh\n", head: "a,b\n"}
	failed := make(chan error, 1)
	go func() {
		_, err := a.WriteData(context.Background(), user, WriteRequest{Dataset: id, Format: "csv"}, body)
		failed <- err
	}()
	eventually(t, "an object under way", func() bool { return a.uploads() > 0 })
	begun := time.Now()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the stop took %v", took)
	}
	wantCode(t, "the transfer", <-failed, fault.Unavailable)
	if _, err := os.Lstat(filepath.Join(a.Config().Folders.Runtime, TokenFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the token file is there: %v", err)
	}
	if files := a.objectFiles(); len(files) != 0 {
		t.Errorf("left in the store: %v", files)
	}
	_, err := a.Status(t.Context())
	wantCode(t, "a call afterwards", err, fault.Unavailable)
}

// endless is a CSV body without an end.
type endless struct {
	head, line string
	rest       string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.head != "" {
		e.rest, e.head = e.head, ""
	}
	if e.rest == "" {
		e.rest = strings.Repeat(e.line, 4096)
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func TestLockInTheMiddleOfATransfer(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "a,b\n1,x\n")
	before := len(a.objectFiles())
	failed := make(chan error, 1)
	go func() {
		_, err := a.WriteData(context.Background(), user, WriteRequest{Dataset: id, Format: "csv"}, &endless{line: "1,abcdefgh\n", head: "a,b\n"})
		failed <- err
	}()
	eventually(t, "an object under way", func() bool { return a.uploads() > 0 })
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the transfer", <-failed, fault.Locked)
	if n := len(a.objectFiles()); n != before {
		t.Errorf("%d objects before, %d after", before, n)
	}
	a.unlock()
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "a,b\n1,x\n" {
		t.Errorf("read %q", got)
	}
}

func TestLockInterruptsASilentBody(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	r, w := io.Pipe()
	req := WriteRequest{Dataset: id, Format: "csv", Interrupt: func() { r.CloseWithError(io.ErrUnexpectedEOF) }} //nolint:errcheck // returns nil
	failed := make(chan error, 1)
	go func() {
		_, err := a.WriteData(context.Background(), user, req, r)
		failed <- err
	}()
	if _, err := io.WriteString(w, "a,b\n1,"); err != nil { // and then nothing
		t.Fatal(err)
	}
	begun := time.Now()
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the transfer", <-failed, fault.Locked)
	if took := time.Since(begun); took > drainTime {
		t.Errorf("locking took %v", took)
	}
}

func TestUnattended(t *testing.T) {
	dir := t.TempDir()
	a := startAgent(t, dir, nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	credential, err := a.EnableUnattended(t.Context(), []byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.state() != StateLocked || !a.hasSession() {
		t.Error("locking an unattended agent must lock the API only")
	}
	wantCode(t, "unlock with a wrong password", a.tryUnlock("wrong canary"), fault.NotAuthentic)
	a.unlock()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	wrong := bytes.Replace(credential, []byte("cfu_"), []byte("cfu-"), 1)
	for _, c := range []struct {
		text []byte
		want State
	}{{wrong, StateLocked}, {append(bytes.Clone(credential), '\n'), StateUnlocked}} {
		b := startAgent(t, dir, func(_ *Config, o *Options) { o.Credential = bytes.Clone(c.text) })
		if got := b.state(); got != c.want {
			t.Errorf("credential %d: state %s, want %s", len(c.text), got, c.want)
		}
		if c.want == StateUnlocked {
			if got := b.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n" {
				t.Errorf("read %q", got)
			}
			if err := b.DisableUnattended(t.Context(), []byte(testPassword)); err != nil {
				t.Error(err)
			}
		}
		if err := b.stop(); err != nil {
			t.Fatal(err)
		}
	}
	b := startAgent(t, dir, func(_ *Config, o *Options) { o.Credential = bytes.Clone(credential) })
	if b.state() != StateLocked {
		t.Error("a credential that was taken back opened the vault")
	}
}

func TestBackupAndRestoreElsewhere(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	res, err := a.Register(t.Context(), RegisterRequest{Email: testMail, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	kit := bytes.Clone(res.Kit)
	shared := t.TempDir()
	set := SetStoreRequest{Settings: StoreSettings{Kind: StoreFolder, Path: shared}, Password: []byte(testPassword)}
	if err := a.SetStore(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	id := a.create("kept")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	_, token, err := a.CreateApp(t.Context(), user, AppRequest{Name: "notebook", Scopes: []Scope{ScopeRead}})
	if err != nil {
		t.Fatal(err)
	}
	set = SetStoreRequest{Settings: StoreSettings{Kind: StoreFolder, Path: t.TempDir()}, Password: []byte(testPassword)}
	wantCode(t, "another store while there are datasets", a.SetStore(t.Context(), set), fault.Conflict)
	var backup bytes.Buffer
	if err := a.Backup(t.Context(), []byte(testPassword), &backup); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(backup.Bytes(), []byte("notebook")) || bytes.Contains(backup.Bytes(), []byte("canary")) {
		t.Error("the backup holds a name in the clear")
	}
	b := startAgent(t, t.TempDir(), nil)
	err = b.Restore(t.Context(), RestoreRequest{Password: []byte("wrong canary"), Kit: bytes.Clone(kit)}, bytes.NewReader(backup.Bytes()))
	wantCode(t, "restore with a wrong password", err, fault.NotAuthentic)
	err = b.Restore(t.Context(), RestoreRequest{Password: []byte(testPassword), Kit: bytes.Clone(kit)}, bytes.NewReader(backup.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if got := b.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n" {
		t.Errorf("read %q", got)
	}
	if c, err := b.Authenticate(string(token)); err != nil || c.ID == "" || !c.Has(ScopeRead) || c.Has(ScopeWrite) {
		t.Errorf("application token after the restore: %+v, %v", c, err)
	}
	if err := b.Recover(t.Context(), RecoverRequest{Kit: kit, Password: []byte("another canary brine lantern spoke velvet")}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "old password after recovery", errors.Join(b.Lock(t.Context()), b.tryUnlock(testPassword)), fault.NotAuthentic)
}

func TestChangePassword(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	next := "quarry velvet lantern brine spoke almond"
	wantCode(t, "wrong old one", a.ChangePassword(t.Context(), []byte("wrong canary"), []byte(next)), fault.NotAuthentic)
	wantCode(t, "guessable", a.ChangePassword(t.Context(), []byte(testPassword), []byte("password1")), fault.Policy)
	if err := a.ChangePassword(t.Context(), []byte(testPassword), []byte(next)); err != nil {
		t.Fatal(err)
	}
	if err := a.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "old one", a.tryUnlock(testPassword), fault.NotAuthentic)
	if err := a.tryUnlock(next); err != nil {
		t.Fatal(err)
	}
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n" {
		t.Errorf("read %q", got)
	}
}
