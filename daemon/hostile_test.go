package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/columnar"
	"coldframe/columnar/dir"
	"coldframe/columnar/format"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// hostileAgent is an agent with two versions of a dataset in a store that lies as told later.
func hostileAgent(t *testing.T) (*running, *storetest.Hostile, string) {
	t.Helper()
	var h *storetest.Hostile
	a := startAgent(t, t.TempDir(), func(_ *Config, o *Options) {
		o.WrapStore = func(s columnar.Store) columnar.Store {
			h = storetest.NewHostile(s, storetest.Hooks{})
			return h
		}
	})
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x,y\n1,old\n")
	a.mustWrite(WriteRequest{Dataset: id}, "x,y\n1,new\n")
	return a, h, id
}

func (r *running) refused(t *testing.T) int {
	n := 0
	for _, e := range r.logged(t) {
		if e.Type == EventRefused {
			n++
		}
	}
	return n
}

func TestD02_OlderObjectUnderTheCurrentName(t *testing.T) {
	a, h, id := hostileAgent(t)
	names := h.Written()
	h.Set(storetest.Hooks{Rename: func(n columnar.ObjectName) columnar.ObjectName {
		if n == names[1] {
			return names[0]
		}
		return n
	}})
	got, err := a.read(ReadRequest{Dataset: id})
	if c := fault.CodeOf(err); err == nil || (c != fault.NotAuthentic && c != fault.RolledBack && c != fault.Incomplete) {
		t.Fatalf("read %q, %v", got, err)
	}
	if strings.Contains(got, "old") {
		t.Errorf("the old row came out: %q", got)
	}
	if n := a.refused(t); n != 1 {
		t.Errorf("%d events, want one", n)
	}
}

func TestD05_ExtraObjectsAreIgnored(t *testing.T) {
	a, h, id := hostileAgent(t)
	var extra []storetest.Listed
	for range 10_000 {
		extra = append(extra, storetest.Listed{Name: columnar.NewObjectName(), Size: 9, Created: time.Now()})
	}
	for _, n := range []int{1, 10_000} {
		h.Set(storetest.Hooks{Listing: func(l []storetest.Listed) []storetest.Listed { return append(l, extra[:n]...) }})
		if got := a.mustRead(ReadRequest{Dataset: id}); got != "x,y\n1,new\n" {
			t.Errorf("read %q", got)
		}
		if _, err := a.CheckStore(t.Context()); err != nil {
			t.Fatal(err)
		}
		events := a.logged(t)
		if e := events[len(events)-1]; e.Type != EventStoreExtra || e.Count != int64(n) {
			t.Errorf("event %+v, want %d extra objects", e, n)
		}
	}
}

func TestD17_OtherBytesWithSuccess(t *testing.T) {
	a, h, id := hostileAgent(t)
	names := h.Written()
	for what, change := range map[string]func([]byte) []byte{
		"bit":      func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b },
		"shorter":  func(b []byte) []byte { return b[:len(b)-1] },
		"longer":   func(b []byte) []byte { return append(bytes.Clone(b), 0) },
		"empty":    func([]byte) []byte { return []byte{} },
		"not here": func([]byte) []byte { return nil },
	} {
		h.Set(storetest.Hooks{Content: func(n columnar.ObjectName, b []byte) []byte {
			if n != names[1] {
				return b
			}
			return change(b)
		}})
		got, err := a.read(ReadRequest{Dataset: id})
		if c := fault.CodeOf(err); what != "longer" && (err == nil || (c != fault.NotAuthentic && c != fault.Incomplete)) {
			t.Errorf("%s: read %q, %v", what, got, err)
		}
		if strings.Contains(got, "1,") && err != nil {
			t.Errorf("%s: rows came out: %q", what, got)
		}
	}
	h.Set(storetest.Hooks{})
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "x,y\n1,new\n" {
		t.Errorf("with an honest store again: %q", got)
	}
}

func TestD18_ListingIsNotTheTruth(t *testing.T) {
	a, h, id := hostileAgent(t)
	h.Set(storetest.Hooks{Listing: func([]storetest.Listed) []storetest.Listed { return nil }})
	a.sweep(nil)
	if got := a.mustRead(ReadRequest{Dataset: id, Version: 1}); got != "x,y\n1,old\n" {
		t.Errorf("read %q", got)
	}
	invented := storetest.Listed{Name: columnar.NewObjectName(), Size: 1}
	h.Set(storetest.Hooks{Listing: func(l []storetest.Listed) []storetest.Listed { return []storetest.Listed{invented} }})
	a.sweep(nil)
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "x,y\n1,new\n" {
		t.Errorf("read %q", got)
	}
}

func TestF12_CancelledInTheMiddle(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "a,b\n1,x\n")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // moments
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(random.IntN(100))*time.Millisecond, cancel)
		_, err := a.WriteData(ctx, user, WriteRequest{Dataset: id, Format: format.CSV}, &endless{line: "1,abcdefgh\n", head: "a,b\n"})
		cancel()
		if err == nil {
			t.Fatal("an endless body was written")
		}
		if len(a.objectFiles()) != 1 || a.uploads() != 0 {
			t.Fatalf("objects %v, journal %d", a.objectFiles(), a.uploads())
		}
	}
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "a,b\n1,x\n" {
		t.Errorf("read %q", got)
	}
}

func TestF12_StoreGoneUntilTheNextStart(t *testing.T) {
	home := t.TempDir()
	var h *storetest.Hostile
	wrap := func(_ *Config, o *Options) {
		o.WrapStore = func(s columnar.Store) columnar.Store {
			h = storetest.NewHostile(s, storetest.Hooks{})
			return h
		}
	}
	a := startAgent(t, home, wrap)
	a.register()
	id := a.create("x")
	gone := fault.New(fault.Unavailable, "gone")
	h.Set(storetest.Hooks{Before: func(_ context.Context, op string, _ columnar.ObjectName) error {
		if op == "delete" || op == "abort" {
			return gone
		}
		return nil
	}})
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, "a,b\n") //nolint:errcheck // a pipe
		for a.uploads() == 0 {
			io.WriteString(w, strings.Repeat("1,abcdefgh\n", 4096)) //nolint:errcheck // a pipe
		}
		w.CloseWithError(errors.New("client gone")) //nolint:errcheck // returns nil
	}()
	_, err := a.WriteData(t.Context(), user, WriteRequest{Dataset: id, Format: format.CSV}, r)
	if err == nil {
		t.Fatal("no error")
	}
	half := a.leaveHalfUpload()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a = startAgent(t, home, wrap)
	if a.uploads() == 0 {
		t.Fatal("the journal forgot an upload that could not be removed")
	}
	if files := a.objectFiles(); len(files) == 0 || !slices.ContainsFunc(files, func(p string) bool { return strings.HasPrefix(filepath.Base(p), half+".") }) {
		t.Fatalf("no half upload under the name in the journal before the unlock: %v", files)
	}
	a.unlock()
	eventually(t, "the end of the journal", func() bool { return a.uploads() == 0 })
	if left := a.objectFiles(); len(left) != 0 {
		t.Errorf("left in the store: %v", left)
	}
}

// leaveHalfUpload puts a half upload under the first name in the journal, as a dying process does, and returns the name.
func (r *running) leaveHalfUpload() string {
	r.t.Helper()
	var name string
	err := r.db.View(func(tx *kv.Tx) error {
		keys, err := keysUnder(tx, uploadPrefix)
		if err == nil && len(keys) > 0 {
			name = strings.TrimPrefix(keys[0], uploadPrefix)
		}
		return err
	})
	if err != nil || name == "" {
		r.t.Fatalf("no name in the journal: %v", err)
	}
	store, err := dir.New(filepath.Join(r.Config().Folders.Data, "objects"), dir.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { store.Close() }) //nolint:errcheck // end of the test
	u, err := store.Create(r.t.Context(), columnar.ObjectName(name), columnar.CreateOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := u.Write([]byte("half")); err != nil {
		r.t.Fatal(err)
	}
	return name
}

func TestAppendUploadsOnlyWhatIsNew(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	if _, err := a.WriteData(t.Context(), user, WriteRequest{Dataset: id, Format: format.CSV}, &tableBody{left: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	old := a.objectFiles()
	w, err := a.WriteData(t.Context(), user, WriteRequest{Dataset: id, Format: format.CSV, Append: true}, &tableBody{left: 512 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if w.Bytes > 600<<10 {
		t.Errorf("512 KiB onto 8 MiB stored %d bytes", w.Bytes)
	}
	if n := len(a.objectFiles()); n != len(old)+1 {
		t.Errorf("%d objects, before %d", n, len(old))
	}
	for _, p := range old {
		if _, err := os.Stat(p); err != nil {
			t.Errorf("an old part is gone: %v", err)
		}
	}
	s, err := a.ReadData(t.Context(), user, ReadRequest{Dataset: id, Columns: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Rows != w.Rows || w.Written >= w.Rows {
		t.Errorf("%d rows to read, %d in the version, %d written", s.Rows, w.Rows, w.Written)
	}
	if err := s.WriteTo(t.Context(), io.Discard, format.NDJSON); err != nil {
		t.Fatal(err)
	}
}

func TestF07_FailedCommitKeepsTheObject(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	store, err := a.session.objects()
	if err != nil {
		t.Fatal(err)
	}
	name := columnar.ObjectName(filepath.Base(a.objectFiles()[0]))
	j := journal{a: a.Agent, dataset: columnar.DatasetID(id)}
	if err := j.register(name); err != nil {
		t.Fatal(err)
	}
	_, token, err := a.CreateApp(t.Context(), user, AppRequest{Name: "n", Scopes: []Scope{ScopeRead}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.db.Close(); err != nil { // from here on the local store refuses writes, as after a failed fsync
		t.Fatal(err)
	}
	a.keepOpen = true
	j.end(t.Context(), store)
	if len(a.objectFiles()) != 1 {
		t.Error("an object was removed although nobody knows whether a version on the disk names it")
	}
	_, err = a.Authenticate(string(token))
	wantCode(t, "a good token", err, fault.Unavailable)
}

func TestF19_GoroutinesComeBack(t *testing.T) {
	before := runtime.NumGoroutine()
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			a.write(WriteRequest{Dataset: id, Append: true}, fmt.Sprintf("x\n%d\n", i)) //nolint:errcheck // some lose
			a.read(ReadRequest{Dataset: id})                                            //nolint:errcheck // the first may find nothing
		}()
	}
	sub, err := a.Subscribe(t.Context(), user, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.ReadData(t.Context(), user, ReadRequest{Dataset: id})
	if err == nil {
		s.Close() //nolint:errcheck // it returns nil
	}
	wg.Wait()
	sub.Close()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "goroutines back to the start", func() bool { return runtime.NumGoroutine() <= before+5 })
}
