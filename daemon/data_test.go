package daemon

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

func TestIdempotencyKey(t *testing.T) {
	clock := newFakeClock()
	a := startAgent(t, t.TempDir(), func(_ *Config, o *Options) { o.Clock = clock })
	a.register()
	create := CreateDatasetRequest{Title: "once", IdempotencyKey: "k1"}
	first, err := a.CreateDataset(t.Context(), user, create)
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.CreateDataset(t.Context(), user, create)
	if err != nil || again.ID != first.ID {
		t.Fatalf("again: %+v, %v", again, err)
	}
	_, err = a.CreateDataset(t.Context(), user, CreateDatasetRequest{Title: "other", IdempotencyKey: "k1"})
	wantCode(t, "other request, same key", err, fault.Conflict)
	w := WriteRequest{Dataset: first.ID, Append: true, IdempotencyKey: "k2"}
	one := a.mustWrite(w, "x\n1\n")
	two := a.mustWrite(w, "x\n1\n")
	if !two.Replayed || two.Version != one.Version || two.Rows != one.Rows || two.Bytes != one.Bytes || two.Transfer != one.Transfer {
		t.Fatalf("first %+v, again %+v", one, two)
	}
	_, err = a.write(w, "x\n2\n")
	wantCode(t, "other body, same key", err, fault.Conflict)
	if got := a.mustRead(ReadRequest{Dataset: first.ID}); got != "x\n1\n" {
		t.Fatalf("read %q", got)
	}
	_, err = a.write(WriteRequest{Dataset: first.ID, Append: true, IdempotencyKey: "with space"}, "x\n1\n")
	wantCode(t, "malformed key", err, fault.InvalidRequest)

	app := AppRequest{Name: "n", Scopes: []Scope{ScopeRead}, IdempotencyKey: "k3"}
	_, token, err := a.CreateApp(t.Context(), user, app)
	if err != nil {
		t.Fatal(err)
	}
	_, same, err := a.CreateApp(t.Context(), user, app)
	if err != nil || !bytes.Equal(token, same) {
		t.Fatalf("another token came back (%v)", err)
	}
	clock.pass(IdempotencyLife+time.Minute, 0)
	if err := a.sweepIdempotency(); err != nil {
		t.Fatal(err)
	}
	a.unlockIfLocked()
	later := a.mustWrite(w, "x\n1\n")
	if later.Replayed || later.Version != 2 {
		t.Fatalf("after a day: %+v", later)
	}
}

func (r *running) unlockIfLocked() {
	r.t.Helper()
	eventually(r.t, "locked by the idle timer", func() bool { return r.state() == StateLocked })
	r.unlock()
}

func TestConcurrentDuplicateIsRefused(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	r, w := io.Pipe()
	done := make(chan error, 1)
	req := WriteRequest{Dataset: id, Format: format.CSV, IdempotencyKey: "k"}
	go func() {
		_, err := a.WriteData(context.Background(), user, req, r)
		done <- err
	}()
	if _, err := io.WriteString(w, "x\n"); err != nil {
		t.Fatal(err)
	}
	_, err := a.write(req, "x\n1\n")
	wantCode(t, "duplicate while the first is in work", err, fault.Conflict)
	io.WriteString(w, "1\n") //nolint:errcheck // the write's own error shows
	w.Close()                //nolint:errcheck // as above
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestTwoWritersOneWins(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n0\n")
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := a.WriteData(context.Background(), user, WriteRequest{Dataset: id, Format: format.CSV}, r)
		done <- err
	}()
	if _, err := io.WriteString(w, "x\n1\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a transfer", func() bool { return a.counter.uploads.Load() == 1 })
	time.Sleep(50 * time.Millisecond) // until it has loaded the dataset; a later load would only make both succeed
	a.mustWrite(WriteRequest{Dataset: id}, "x\n2\n")
	w.Close() //nolint:errcheck // a pipe
	if err := <-done; !errors.Is(err, fault.Conflict) {
		t.Fatalf("the slower writer: %v", err)
	}
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "x\n2\n" {
		t.Fatalf("read %q", got)
	}
	if a.uploads() != 0 || len(a.objectFiles()) != 2 {
		t.Errorf("%d journal entries, objects %v", a.uploads(), a.objectFiles())
	}
	stale := uint64(1)
	_, err := a.write(WriteRequest{Dataset: id, Expect: &stale}, "x\n3\n")
	wantCode(t, "another version expected", err, fault.Conflict)
}

func TestBodyThatEndsEarly(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "a,b\n1,x\n")
	sub, err := a.Subscribe(t.Context(), user, FromNow)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	body := io.MultiReader(strings.NewReader("a,b\n"+strings.Repeat("1,abc\n", 10000)), failingReader{})
	_, err = a.WriteData(t.Context(), user, WriteRequest{Dataset: id, Format: format.CSV, Transfer: "t-1"}, body)
	wantCode(t, "cut body", err, fault.Incomplete)
	if d, err := a.Dataset(t.Context(), user, id); err != nil || d.Version != 1 {
		t.Errorf("dataset %+v, %v", d, err)
	}
	if len(a.objectFiles()) != 1 || a.uploads() != 0 {
		t.Errorf("objects %v, journal %d", a.objectFiles(), a.uploads())
	}
	for e := range sub.C {
		if e.Type == EventTransferFailed {
			if e.Transfer != "t-1" || e.Code != fault.Incomplete || e.Dataset != id {
				t.Errorf("event %+v", e)
			}
			return
		}
	}
	t.Error("no event of the failed transfer")
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAppsAreBoundToScopesAndDatasets(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	mine, other := a.create("mine"), a.create("other")
	_, token, err := a.CreateApp(t.Context(), user, AppRequest{Name: "reader", Scopes: []Scope{ScopeRead}, Datasets: []string{mine}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Authenticate(string(token))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "write", c.May(ScopeWrite, mine), fault.Forbidden)
	wantCode(t, "other dataset", c.May(ScopeRead, other), fault.Forbidden)
	if err := c.May(ScopeRead, mine); err != nil {
		t.Error(err)
	}
	list, err := a.Datasets(t.Context(), c, "")
	if err != nil || len(list) != 1 || list[0].ID != mine {
		t.Errorf("list %+v, %v", list, err)
	}
	_, err = a.ReadData(t.Context(), c, ReadRequest{Dataset: other})
	wantCode(t, "read another dataset", err, fault.NotFound)
	_, err = a.CreateDataset(t.Context(), c, CreateDatasetRequest{Title: "t"})
	wantCode(t, "create", err, fault.Forbidden)
	_, _, err = a.CreateApp(t.Context(), c, AppRequest{Name: "n", Scopes: []Scope{ScopeRead}})
	wantCode(t, "create a token", err, fault.Forbidden)
	wrong := bytes.Clone(token)
	wrong[len(wrong)-2] ^= 1
	_, err = a.Authenticate(string(wrong))
	wantCode(t, "changed token", err, fault.Unauthorized)
	apps, err := a.Apps(t.Context())
	if err != nil || len(apps) != 1 || apps[0].Name != "reader" || len(apps[0].Datasets) != 1 {
		t.Fatalf("apps %+v, %v", apps, err)
	}
	if err := a.DeleteApp(t.Context(), user, apps[0].ID); err != nil {
		t.Fatal(err)
	}
	_, err = a.Authenticate(string(token))
	wantCode(t, "revoked token", err, fault.Unauthorized)
	wantCode(t, "delete again", a.DeleteApp(t.Context(), user, apps[0].ID), fault.NotFound)
}

func TestDeleteAndRetention(t *testing.T) {
	clock := newFakeClock()
	a := startAgent(t, t.TempDir(), func(c *Config, o *Options) { o.Clock, c.Lock = clock, Lock{} })
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")               // 1
	a.mustWrite(WriteRequest{Dataset: id, Append: true}, "x\n2\n") // 2 names the part of 1
	clock.pass(31*24*time.Hour, 0)
	a.mustWrite(WriteRequest{Dataset: id, Append: true}, "x\n3\n") // 3
	a.sweep(clock)
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n2\n3\n" {
		t.Fatalf("read %q", got)
	}
	_, err := a.read(ReadRequest{Dataset: id, Version: 1})
	wantCode(t, "version 1", err, fault.NotFound)
	if got := a.mustRead(ReadRequest{Dataset: id, Version: 2}); got != "x\n1\n2\n" {
		t.Fatalf("version 2, replaced today: %q", got)
	}
	a.mustWrite(WriteRequest{Dataset: id}, "x\n4\n") // 4 names none of them
	clock.pass(31*24*time.Hour, 0)
	a.mustWrite(WriteRequest{Dataset: id}, "x\n5\n") // 5
	a.sweep(clock)
	clock.pass(25*time.Hour, 0)
	a.sweep(clock)
	if n := len(a.objectFiles()); n != 2 {
		t.Errorf("%d objects, want those of versions 4 and 5", n)
	}
	if ids, err := a.vault.List(kindVersion); err != nil || len(ids) != 2 {
		t.Errorf("keys of %v, %v", ids, err)
	}
	if err := a.DeleteDataset(t.Context(), user, id); err != nil {
		t.Fatal(err)
	}
	_, err = a.Dataset(t.Context(), user, id)
	wantCode(t, "deleted dataset", err, fault.NotFound)
	if ids, err := a.vault.List(kindVersion); err != nil || len(ids) != 0 {
		t.Errorf("keys of %v are left, %v", ids, err)
	}
	clock.pass(6*24*time.Hour, 0)
	a.sweep(clock)
	if n := len(a.objectFiles()); n != 2 {
		t.Errorf("%d objects after six days, want 2", n)
	}
	clock.pass(25*time.Hour, 0)
	a.sweep(clock)
	if n := len(a.objectFiles()); n != 0 {
		t.Errorf("%d objects after a week", n)
	}
}

func (r *running) sweep(*fakeClock) { r.round(r.t.Context(), true) }

func TestEventsResumeAndDropTheSlow(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	all, err := a.Subscribe(t.Context(), user, 0)
	if err != nil {
		t.Fatal(err)
	}
	var last Event
	for last.Type != EventDatasetCreated {
		e := <-all.C
		if e.ID <= last.ID {
			t.Fatalf("event %d after %d", e.ID, last.ID)
		}
		last = e
	}
	all.Close()
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	rest, err := a.Subscribe(t.Context(), user, last.ID)
	if err != nil {
		t.Fatal(err)
	}
	if e := <-rest.C; e.Type != EventVersion || e.Dataset != id || e.Version != 1 || e.ID != last.ID+1 {
		t.Errorf("resumed with %+v", e)
	}
	stranger, err := a.Subscribe(t.Context(), Caller{ID: "app", Scopes: []Scope{ScopeRead}, Datasets: []string{}}, 0)
	if err != nil || len(stranger.C) != 0 {
		t.Errorf("a token without datasets sees %d events, %v", len(stranger.C), err)
	}
	for range 2 * subscriberBuffer {
		rest.log.mu.Lock()
		rest.offer(Event{ID: 1 << 40, Type: EventLocked})
		rest.log.mu.Unlock()
	}
	n := 0
	for range rest.C {
		n++
	}
	if n > subscriberBuffer+1 {
		t.Errorf("a slow subscriber got %d events", n)
	}
}

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
	dir := t.TempDir()
	var h *storetest.Hostile
	wrap := func(_ *Config, o *Options) {
		o.WrapStore = func(s columnar.Store) columnar.Store {
			h = storetest.NewHostile(s, storetest.Hooks{})
			return h
		}
	}
	a := startAgent(t, dir, wrap)
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
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a = startAgent(t, dir, wrap)
	if a.uploads() == 0 {
		t.Fatal("the journal forgot an upload that could not be removed")
	}
	a.unlock()
	eventually(t, "the sweep", func() bool { return a.uploads() == 0 && len(a.objectFiles()) == 0 })
}

func TestAppendUploadsOnlyWhatIsNew(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	id := a.create("x")
	if _, err := a.WriteData(t.Context(), user, WriteRequest{Dataset: id, Format: format.CSV}, &tableBody{left: 32 << 20}); err != nil {
		t.Fatal(err)
	}
	old := a.objectFiles()
	w, err := a.WriteData(t.Context(), user, WriteRequest{Dataset: id, Format: format.CSV, Append: true}, &tableBody{left: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if w.Bytes > 1200<<10 {
		t.Errorf("1 MiB onto 32 MiB stored %d bytes", w.Bytes)
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
	if err := a.db.Close(); err != nil { // from here on the local store refuses writes, as after a failed fsync
		t.Fatal(err)
	}
	a.keepOpen = true
	j.end(t.Context(), store)
	if len(a.objectFiles()) != 1 {
		t.Error("an object was removed although nobody knows whether a version on the disk names it")
	}
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

// canaries are what must be found nowhere.
func canaries() map[string][]byte {
	out := map[string][]byte{}
	for _, w := range []string{testMail, testPassword, "canarytitle", "canaryname", "canarycolumn", "canaryvalue", "73914662805517"} {
		out[w] = []byte(w)
		out["hex of "+w] = []byte(hex.EncodeToString([]byte(w)))
		out["base64 of "+w] = []byte(base64.RawStdEncoding.EncodeToString([]byte(w))[:8])
	}
	return out
}

// scenario does everything once, with canaries in every place where a user can put text.
func scenario(t *testing.T, a *running) {
	t.Helper()
	a.register()
	id := a.create("canarytitle")
	row := "canarycolumn,n\ncanaryvalue,73914662805517\n"
	a.mustWrite(WriteRequest{Dataset: id, IdempotencyKey: "i"}, row)
	a.mustWrite(WriteRequest{Dataset: id, Append: true}, row)
	if got := a.mustRead(ReadRequest{Dataset: id, Columns: []string{"canarycolumn"}}); !strings.Contains(got, "canaryvalue") {
		t.Fatalf("read %q", got)
	}
	app, token, err := a.CreateApp(t.Context(), user, AppRequest{Name: "canaryname", Scopes: []Scope{ScopeRead, ScopeAdmin}, Password: []byte(testPassword)})
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []func() error{
		func() error {
			_, err := a.read(ReadRequest{Dataset: id, Columns: []string{"canarycolumnx"}})
			return err
		},
		func() error { _, err := a.write(WriteRequest{Dataset: id}, "canarycolumn\ncanaryvalue\n"); return err },
		func() error {
			_, err := a.write(WriteRequest{Dataset: id}, "canarycolumn,n\ncanaryvalue,canaryvalue\n")
			return err
		},
		func() error { return a.tryUnlock(testPassword + "x") },
		func() error { _, err := a.Authenticate(string(token) + "x"); return err },
	} {
		if err := call(); err == nil {
			t.Error("a call that must fail did not")
		}
	}
	if _, err := a.RenameDataset(t.Context(), user, id, "canarytitle 2", ""); err != nil {
		t.Fatal(err)
	}
	if err := a.DeleteApp(t.Context(), user, app.ID); err != nil {
		t.Fatal(err)
	}
	gone := a.create("canarytitle")
	a.mustWrite(WriteRequest{Dataset: gone}, row)
	if err := a.DeleteDataset(t.Context(), user, gone); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Lock(t.Context()), a.tryUnlock(testPassword)); err != nil {
		t.Fatal(err)
	}
}

func searchTree(t *testing.T, dir string, words map[string][]byte) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		files++
		for name, w := range words {
			if bytes.Contains(b, w) || strings.Contains(p, string(w)) {
				t.Errorf("%s is in %s", name, p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestG01_CanaryIsFoundNowhere(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	a := startAgent(t, dir, func(_ *Config, o *Options) { o.Logger = debugLog(&log) })
	scenario(t, a)
	words := canaries()
	for name, key := range map[string][]byte{"signing key": a.session.signer.Key.Bytes(), "local key": a.session.local.key.Bytes()} {
		words[name] = bytes.Clone(key)
		words["hex of "+name] = []byte(hex.EncodeToString(key))
	}
	if n := searchTree(t, dir, words); n < 5 {
		t.Fatalf("only %d files were searched", n)
	}
	if log.String() == "" {
		t.Fatal("nothing was logged")
	}
	for name, w := range words {
		if strings.Contains(log.String(), string(w)) {
			t.Errorf("%s is in the log", name)
		}
	}
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile("/proc/self/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for word, w := range words {
			if bytes.Contains(b, w) {
				t.Errorf("%s is in %s", word, name)
			}
		}
	}
}

func TestG03_NoPlaintextLeaves(t *testing.T) {
	dir := t.TempDir()
	capture := map[columnar.ObjectName][]byte{}
	var mu sync.Mutex
	a := startAgent(t, dir, func(_ *Config, o *Options) {
		o.WrapStore = func(s columnar.Store) columnar.Store {
			return storetest.NewHostile(s, storetest.Hooks{Keep: func(n columnar.ObjectName, b []byte) []byte {
				mu.Lock()
				defer mu.Unlock()
				capture[n] = bytes.Clone(b)
				return b
			}})
		}
	})
	scenario(t, a)
	if len(capture) < 3 {
		t.Fatalf("%d objects were captured", len(capture))
	}
	for n, b := range capture {
		for name, w := range canaries() {
			if bytes.Contains(b, w) || strings.Contains(string(n), string(w)) {
				t.Errorf("%s is in an object", name)
			}
		}
	}
	if n := searchTree(t, filepath.Join(a.Config().Folders.Data, "kv"), canaries()); n == 0 {
		t.Fatal("no file of the local store was searched")
	}
	if err := a.db.View(func(tx *kv.Tx) error {
		return tx.Scan("", func(key string, value []byte) error {
			for name, w := range canaries() {
				if strings.Contains(key, string(w)) || bytes.Contains(value, w) {
					t.Errorf("%s is in the record %s", name, key)
				}
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
}
