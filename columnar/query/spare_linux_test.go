package query_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"coldframe/columnar/query"
	"coldframe/columnar/query/querytest"
	"coldframe/internal/fault"
)

// warmed is an engine that keeps a process ready, and that one's number.
func warmed(t *testing.T, o query.Options) (query.Engine, int) {
	t.Helper()
	if o.Spare == 0 {
		o.Spare = time.Hour
	}
	e := query.New(o)
	t.Cleanup(func() {
		e.Rest()
		wantNoEngine(t)
	})
	return e, warm(t, e)
}

func warm(t *testing.T, e query.Engine) int {
	t.Helper()
	if err := e.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	pids := querytest.Running()
	if len(pids) != 1 {
		t.Fatalf("engines %v, want one", pids)
	}
	return pids[0]
}

// A process that was started ahead answers one statement, and then another one waits.
func TestSpare(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(1000)
	e, first := warmed(t, o)
	if again := warm(t, e); again != first {
		t.Error("a second one was started")
	}
	rss, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", first))
	t.Logf("one that waits: %s, of which its own %s", regexp.MustCompile(`VmRSS.*`).Find(rss), regexp.MustCompile(`RssAnon.*`).Find(rss))
	for range 3 {
		before := warm(t, e)
		got, err := w.ask(t.Context(), e, `SELECT count(*) FROM mixed WHERE id < 10`)
		if err != nil || cells(got) != "10" {
			t.Fatalf("%s, %v", cells(got), err)
		}
		if after := warm(t, e); after == before {
			t.Error("a process was used twice")
		}
	}
}

// One that died while it waited is no failure of the next statement.
func TestDeadSpare(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(1000)
	e, pid := warmed(t, o)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if got, err := w.ask(t.Context(), e, `SELECT count(*) FROM mixed`); err != nil || cells(got) != "1000" {
		t.Errorf("%s, %v", cells(got), err)
	}
}

// Nothing is left running: neither when time is over, nor after Rest, whenever that comes.
func TestSpareEnds(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(1000)
	o.Spare = 2 * time.Second
	warmed(t, o)
	for i := 0; len(querytest.Running()) > 0; i++ {
		if time.Sleep(20 * time.Millisecond); i > 500 {
			t.Fatal("it waits for ever")
		}
	}
	o.Spare = time.Hour
	e := query.New(o)
	for i := range 10 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			e.Warm(t.Context())
		}()
		time.Sleep(time.Duration(i) * time.Millisecond)
		e.Rest()
		<-done
		e.Rest()
		wantNoEngine(t)
	}
	// A statement that began before Rest, or that was cancelled, starts no next one.
	r, err := e.Query(t.Context(), `SELECT 1`, w.find)
	if err != nil {
		t.Fatal(err)
	}
	e.Rest()
	r.Close()
	wantNoEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	if r, err = e.Query(ctx, `SELECT 1`, w.find); err != nil {
		t.Fatal(err)
	}
	cancel()
	r.Close()
	wantNoEngine(t)
}

// Many statements over one dataset go on at once, and one whose process is killed takes none of the others along.
func TestManyAtOnceWithSpare(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(20_000)
	e, _ := warmed(t, o)
	failed := make(chan error)
	go func() {
		_, err := w.ask(context.Background(), e, endless)
		failed <- err
	}()
	victim := waitForEngine(t)
	var g sync.WaitGroup
	for i := range 4 {
		g.Go(func() {
			got, err := w.ask(t.Context(), e, fmt.Sprintf(`SELECT id FROM mixed WHERE id = %d`, i))
			if err != nil || cells(got) != fmt.Sprint(i) {
				t.Errorf("query %d: %s, %v", i, cells(got), err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, fault.Internal) {
		t.Errorf("the query of the killed process: %v", err)
	}
	g.Wait()
}
