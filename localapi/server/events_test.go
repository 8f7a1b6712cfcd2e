package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

// TestEventsResume reads events, breaks off, goes on after the last id and misses nothing; progress of a transfer is among them.
func TestEventsResume(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := w.Registered()
	d, err := c.CreateDataset(t.Context(), "weather", "")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var last string
	for n, err := range c.Events(ctx, "0") {
		must(t, err)
		last = n.ID
		if n.Event.Type == "dataset.created" {
			break
		}
	}
	_, err = c.Put(t.Context(), d.Id, strings.NewReader(weather), localapi.PutOptions{Format: "csv"})
	must(t, err)
	for n, err := range c.Events(ctx, last) {
		must(t, err)
		if n.Event.Type == "dataset.created" {
			t.Fatal("an event came twice")
		}
		if n.Event.Type == "dataset.version" {
			if n.Event.Dataset == nil || *n.Event.Dataset != d.Id || n.Event.Version == nil || *n.Event.Version != 1 {
				t.Errorf("%+v", n.Event)
			}
			break
		}
	}
}

// TestEventsOfATokenForNamedDatasets: a token sees nothing of other datasets.
func TestEventsOfATokenForNamedDatasets(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user := w.Registered()
	mine, err := user.CreateDataset(t.Context(), "mine", "")
	must(t, err)
	app := w.Caller(w.App(user, []localapi.Scope{"read"}, mine.Id))
	other, err := user.CreateDataset(t.Context(), "other", "")
	must(t, err)
	_, err = user.RenameDataset(t.Context(), mine.Id, "mine too", "")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n, err := range app.Events(ctx, "0") {
		must(t, err)
		if n.Event.Dataset != nil && *n.Event.Dataset == other.Id {
			t.Fatalf("saw %+v", n.Event)
		}
		if n.Event.Type == "dataset.renamed" {
			return
		}
	}
}

// TestEventsEndWithTheServer: a stream ends when the server stops, and as a stream does.
func TestEventsEndWithTheServer(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.TCP+"/v1/events", http.NoBody)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+w.Token())
	r, err := http.DefaultClient.Do(req)
	must(t, err)
	defer r.Body.Close()
	in := bufio.NewReader(r.Body)
	if line, err := in.ReadString('\n'); err != nil || line != "retry: 1000\n" || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%q, %v", line, err)
	}
	go w.Stop()
	if _, err := io.Copy(io.Discard, in); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	w.Stop()
	http.DefaultClient.CloseIdleConnections()
}

// TestIdempotencyKeyAndExpect: the same write twice has one effect, and a write on an old version is refused.
func TestIdempotencyKeyAndExpect(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c := w.Registered()
	d, err := c.CreateDataset(t.Context(), "weather", "make-1")
	must(t, err)
	again, err := c.CreateDataset(t.Context(), "weather", "make-1")
	must(t, err)
	if again.Id != d.Id {
		t.Errorf("two datasets: %s, %s", d.Id, again.Id)
	}
	for i := range 2 {
		r, err := c.Put(t.Context(), d.Id, strings.NewReader(weather), localapi.PutOptions{Format: "csv", IdempotencyKey: "put-1"})
		must(t, err)
		if r.Version != 1 || r.Replayed != (i == 1) {
			t.Errorf("%+v", r)
		}
	}
	_, err = c.Put(t.Context(), d.Id, strings.NewReader(weather), localapi.PutOptions{Format: "csv", Expect: ptr(int64(0))})
	if !errors.Is(err, localapi.Conflict) {
		t.Errorf("on an old version: %v", err)
	}
}
