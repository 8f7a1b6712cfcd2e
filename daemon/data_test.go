package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"coldframe/columnar/format"
	"coldframe/internal/fault"
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
	revoked, err := a.Subscribe(t.Context(), Caller{ID: apps[0].ID, Scopes: apps[0].Scopes}, FromNow)
	if err != nil {
		t.Fatal(err)
	}
	defer revoked.Close()
	users, err := a.Subscribe(t.Context(), user, FromNow)
	if err != nil {
		t.Fatal(err)
	}
	defer users.Close()
	if err := a.DeleteApp(t.Context(), user, apps[0].ID); err != nil {
		t.Fatal(err)
	}
	for e, open := <-revoked.C; open; e, open = <-revoked.C {
		t.Errorf("a revoked token was told of %+v", e)
	}
	if e, open := <-users.C; !open || e.Type != EventAppDeleted {
		t.Errorf("the user was told of %+v, %v", e, open)
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

// A condition chooses rows; what is wrong with it is told before anything is sent, whatever the limit.
func TestReadWhere(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	d, err := a.CreateDataset(t.Context(), user, CreateDatasetRequest{Title: "weather"})
	if err != nil {
		t.Fatal(err)
	}
	a.mustWrite(WriteRequest{Dataset: d.ID}, "day,temp,note\n2026-01-01,4.5,cold\n2026-01-02,,\n2026-01-03,6.25,\n")
	a.mustWrite(WriteRequest{Dataset: d.ID, Append: true}, "day,temp,note\n2026-01-04,8,mild\n")
	two := int64(2)
	for want, r := range map[string]ReadRequest{
		"day\n2026-01-03\n2026-01-04\n":        {Columns: []string{"day"}, Where: "temp > 5"},
		"temp\n4.5\n6.25\n":                    {Columns: []string{"temp"}, Where: "temp IS NOT NULL", Limit: &two},
		"note,day\nmild,2026-01-04\n":          {Columns: []string{"note", "day"}, Where: "note != 'cold' AND day >= '2026-01-03'"},
		"day,temp,note\n2026-01-02,,\n":        {Where: "temp is null"},
		"day,temp,note\n":                      {Where: "temp = 5"},
		"day,temp,note\n2026-01-01,4.5,cold\n": {Where: "note = 'cold'", Version: 1},
	} {
		r.Dataset = d.ID
		if got := a.mustRead(r); got != want {
			t.Errorf("%s: read %q, want %q", r.Where, got, want)
		}
	}
	none := int64(0)
	for where, names := range map[string]string{"temp > ": "position 8", "temp = 'x'": `column "temp"`, "rain = 1": `column "rain"`} {
		for _, limit := range []*int64{nil, &none} {
			_, err := a.ReadData(t.Context(), user, ReadRequest{Dataset: d.ID, Where: where, Limit: limit})
			wantCode(t, where, err, fault.InvalidRequest)
			if !strings.Contains(err.Error(), names) {
				t.Errorf("%s: %v does not name %s", where, err, names)
			}
		}
	}
}
