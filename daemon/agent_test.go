package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/columnar/format"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

const (
	testMail     = "canary.mail@example.org"
	testPassword = "canary glide onion mural tusk zebra flint"
)

// cheap makes argon2 take no time.
var cheap = keystore.Profile{
	Floor: keystore.Params{Memory: 64, Time: 1, Threads: 1}, Ceiling: keystore.Params{Memory: 1024, Time: 3, Threads: 4},
	Start: keystore.Params{Memory: 64, Time: 1, Threads: 1}, Fixed: keystore.Params{Memory: 64, Time: 1, Threads: 1},
}

var user = Caller{ID: UserTokenID}

func testConfig(dir string) Config {
	c := DefaultConfig()
	c.Folders = Folders{Data: filepath.Join(dir, "data"), State: filepath.Join(dir, "state"), Runtime: filepath.Join(dir, "run"), Cache: filepath.Join(dir, "cache")}
	c.Limits.MinFreeMiB = 16
	return c
}

// running is an agent with its Run.
type running struct {
	*Agent
	t    *testing.T
	stop func() error // ends Run and waits
}

func startAgent(t *testing.T, dir string, change func(*Config, *Options)) *running {
	t.Helper()
	c, o := testConfig(dir), Options{Profile: cheap, Tick: 5 * time.Millisecond, KV: kv.Options{}}
	if change != nil {
		change(&c, &o)
	}
	a, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-a.Ready()
	var once sync.Once
	var result error
	stop := func() error {
		once.Do(func() {
			cancel()
			result = <-done
		})
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return &running{Agent: a, t: t, stop: stop}
}

func (r *running) register() {
	r.t.Helper()
	if _, err := r.Register(r.t.Context(), RegisterRequest{Email: testMail, Password: []byte(testPassword)}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) unlock() {
	r.t.Helper()
	if err := r.Unlock(r.t.Context(), UnlockRequest{Password: []byte(testPassword)}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) create(title string) string {
	r.t.Helper()
	d, err := r.CreateDataset(r.t.Context(), user, CreateDatasetRequest{Title: title})
	if err != nil {
		r.t.Fatal(err)
	}
	return d.ID
}

func (r *running) write(req WriteRequest, body string) (WriteResult, error) {
	if req.Format == "" {
		req.Format = format.CSV
	}
	return r.WriteData(r.t.Context(), user, req, strings.NewReader(body))
}

func (r *running) mustWrite(req WriteRequest, body string) WriteResult {
	r.t.Helper()
	w, err := r.write(req, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (r *running) read(req ReadRequest) (string, error) {
	s, err := r.ReadData(r.t.Context(), user, req)
	if err != nil {
		return "", err
	}
	defer s.Close()
	var b bytes.Buffer
	err = s.WriteTo(r.t.Context(), &b, format.CSV)
	return b.String(), err
}

func (r *running) mustRead(req ReadRequest) string {
	r.t.Helper()
	s, err := r.read(req)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// objectFiles are the files of the folder store, those of unfinished uploads included.
func (r *running) objectFiles() []string {
	r.t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(r.Config().Folders.Data, "objects"), func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, p)
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	return out
}

// uploads counts the entries of the upload journal.
func (r *running) uploads() int {
	r.t.Helper()
	var n int
	if err := r.db.View(func(tx *kv.Tx) (err error) { n, err = countRecords(tx, uploadPrefix); return err }); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
	}
}

func wantCode(t *testing.T, what string, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func debugLog(b *lockedBuffer) *slog.Logger {
	return NewLogger(b, Log{Level: "debug", Format: "text"})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPutAndGet(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	st, err := a.Status(t.Context())
	if err != nil || st.State != StateUnregistered {
		t.Fatalf("new agent: %+v, %v", st, err)
	}
	_, err = a.Datasets(t.Context(), user, "")
	wantCode(t, "list before registration", err, fault.Locked)
	a.register()
	id := a.create("Weather")
	d, err := a.Dataset(t.Context(), user, id)
	if err != nil || d.Title != "Weather" || d.State != "empty" || d.Version != 0 || len(d.Members) != 1 {
		t.Fatalf("new dataset: %+v, %v", d, err)
	}
	_, err = a.read(ReadRequest{Dataset: id})
	wantCode(t, "read before the first version", err, fault.NotFound)

	body := "city,day,rain\nOslo,2024-01-01,1.5\nRome,2024-01-02,0.25\n"
	w := a.mustWrite(WriteRequest{Dataset: id}, body)
	if w.Version != 1 || w.Rows != 2 || w.Written != 2 || w.Bytes == 0 {
		t.Fatalf("write: %+v", w)
	}
	if got := a.mustRead(ReadRequest{Dataset: id}); got != body {
		t.Fatalf("read back %q", got)
	}
	if got := a.mustRead(ReadRequest{Dataset: id, Columns: []string{"rain", "city"}}); got != "rain,city\n1.5,Oslo\n0.25,Rome\n" {
		t.Fatalf("two columns: %q", got)
	}
	_, err = a.read(ReadRequest{Dataset: id, Columns: []string{"snow"}})
	wantCode(t, "unknown column", err, fault.InvalidRequest)
	if err == nil || !strings.Contains(err.Error(), "snow") {
		t.Errorf("the error does not name the column: %v", err)
	}
	one, none := int64(1), int64(0)
	if got := a.mustRead(ReadRequest{Dataset: id, Limit: &one}); got != "city,day,rain\nOslo,2024-01-01,1.5\n" {
		t.Fatalf("limit 1: %q", got)
	}
	if got := a.mustRead(ReadRequest{Dataset: id, Limit: &none, Columns: []string{"day"}}); got != "day\n" {
		t.Fatalf("limit 0: %q", got)
	}

	a.mustWrite(WriteRequest{Dataset: id, Append: true}, "city,day,rain\nLima,2024-01-03,0\n")
	if got := a.mustRead(ReadRequest{Dataset: id, Columns: []string{"city"}}); got != "city\nOslo\nRome\nLima\n" {
		t.Fatalf("after append: %q", got)
	}
	if got := a.mustRead(ReadRequest{Dataset: id, Version: 1}); got != body {
		t.Fatalf("version 1: %q", got)
	}
	_, err = a.write(WriteRequest{Dataset: id}, "city,day,rain_mm\nOslo,2024-01-01,1.5\n")
	wantCode(t, "other layout", err, fault.InvalidRequest)
	if err == nil || !strings.Contains(err.Error(), "rain_mm") {
		t.Errorf("the error does not name the column: %v", err)
	}
	a.mustWrite(WriteRequest{Dataset: id, AllowNewLayout: true}, "city,rain_mm\nOslo,2\n")
	vs, err := a.Versions(t.Context(), user, id)
	if err != nil || len(vs) != 3 || vs[0].Number != 3 || vs[1].Rows != 3 || vs[1].Parts != 2 || vs[2].Rows != 2 {
		t.Fatalf("versions: %+v, %v", vs, err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}

	a = startAgent(t, filepath.Dir(a.Config().Folders.Data), nil)
	a.unlock()
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "city,rain_mm\nOslo,2\n" {
		t.Fatalf("after a restart: %q", got)
	}
	if n := a.uploads(); n != 0 {
		t.Errorf("%d journal entries after clean writes", n)
	}
	list, err := a.Datasets(t.Context(), user, "Weather")
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Version != 3 {
		t.Fatalf("by title: %+v, %v", list, err)
	}
	if list, err = a.Datasets(t.Context(), user, "weather"); err != nil || len(list) != 0 {
		t.Fatalf("another title: %+v, %v", list, err)
	}
}

func TestTwoAgentsAreApart(t *testing.T) {
	a, b := startAgent(t, t.TempDir(), nil), startAgent(t, t.TempDir(), nil)
	a.register()
	b.register()
	id := a.create("mine")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	_, err := b.read(ReadRequest{Dataset: id})
	wantCode(t, "another's dataset", err, fault.NotFound)
	token, err := os.ReadFile(filepath.Join(a.Config().Folders.Runtime, TokenFile))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := a.Authenticate(strings.TrimSpace(string(token))); err != nil || !c.IsUser() {
		t.Errorf("own token: %+v, %v", c, err)
	}
	_, err = b.Authenticate(strings.TrimSpace(string(token)))
	wantCode(t, "another agent's token", err, fault.Unauthorized)
	_, err = New(a.Config(), Options{})
	wantCode(t, "a second agent on the same folders", err, fault.Conflict)
}
