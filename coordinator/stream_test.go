package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"coldframe/internal/fault"
)

// line is a coordinator's stream of events without a network, in the time of the test. The clock of the process stands still while the machine sleeps, and
// the agent's does not.
type line struct {
	tries  atomic.Int32
	slept  atomic.Int64                          // nanoseconds
	down   atomic.Bool                           // there is no network
	stream func(context.Context, *io.PipeWriter) // writes one stream
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.tries.Add(1)
	if l.down.Load() {
		return nil, errors.New("no network")
	}
	pr, pw := io.Pipe()
	context.AfterFunc(r.Context(), func() { pw.CloseWithError(r.Context().Err()) })
	go l.stream(r.Context(), pw)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: pr, Request: r}, nil
}

func (l *line) now() time.Time { return time.Now().Add(time.Duration(l.slept.Load())) }

// follow reads events until the test ends.
func (l *line) follow(t *testing.T) {
	c, err := New("http://coordinator.example", Options{
		HTTP: &http.Client{Transport: l}, Now: l.now, Session: Session{User: "me", Access: "a", Until: time.Now().Add(1000 * time.Hour), Refresh: "r"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range c.Events(ctx, "") {
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// beat writes heartbeats for a while, and closes the stream.
func beat(ctx context.Context, w *io.PipeWriter, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	for ctx.Err() == nil {
		io.WriteString(w, ":\n\n")
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	w.Close()
}

// A machine sleeps for hours with a stream open. Awake again it is back within 30 s, after one try; and without a network it does not try in bursts.
func TestF27_Suspend(t *testing.T) {
	for i := range 20 {
		synctest.Test(t, func(t *testing.T) {
			var asleep atomic.Bool
			l := &line{stream: func(ctx context.Context, w *io.PipeWriter) {
				if !asleep.Load() {
					io.WriteString(w, ":\n\n")
					return // and nobody ends this connection
				}
				beat(ctx, w, time.Hour)
			}}
			l.follow(t)
			time.Sleep(time.Duration(i+1) * time.Second)
			l.slept.Add(int64(8 * time.Hour))
			asleep.Store(true)
			l.down.Store(i%2 == 1)
			time.Sleep(30 * time.Second)
			if i%2 == 0 {
				if n := l.tries.Load(); n != 2 {
					t.Fatalf("%d streams, one before and one after", n)
				}
				return
			}
			time.Sleep(10 * time.Minute)
			if n := l.tries.Load(); n < 30 || n > 150 {
				t.Fatalf("%d tries in 10 minutes without a network", n)
			}
			before := l.tries.Load()
			l.down.Store(false)
			l.slept.Add(int64(8 * time.Hour)) // and once more, between two tries
			time.Sleep(30 * time.Second)
			if n := l.tries.Load() - before; n != 1 {
				t.Fatalf("%d streams with a network", n)
			}
		})
	}
}

// A coordinator that accepts and closes, with an event of its own each time, meets fewer and fewer tries; a stream that lived for a while is followed by another soon.
func TestStreamsThatCloseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n, good atomic.Int32
		l := &line{}
		l.stream = func(ctx context.Context, w *io.PipeWriter) {
			fmt.Fprintf(w, "id: ABC-%d\ndata: {\"type\":\"message\"}\n\n", n.Add(1))
			if good.Load() == 1 {
				beat(ctx, w, time.Minute)
			}
			w.Close()
		}
		l.follow(t)
		time.Sleep(time.Hour)
		if got := l.tries.Load(); got < 100 || got > 720 {
			t.Errorf("%d streams in an hour", got)
		}
		good.Store(1)
		before := l.tries.Load()
		time.Sleep(time.Hour)
		if got := l.tries.Load() - before; got < 55 || got > 62 {
			t.Errorf("%d streams of a minute in an hour", got)
		}
	})
}

// What another try may not meet again ends no stream.
func TestFatal(t *testing.T) {
	for code, want := range map[fault.Code]bool{
		fault.StorageFull: false, fault.Busy: false, fault.Unavailable: false, fault.Unauthorized: true, fault.Forbidden: true, fault.Policy: true,
	} {
		if got := fatal(&Error{Problem{Code: string(code)}}); got != want {
			t.Errorf("%s: %v", code, got)
		}
	}
}

// How long a coordinator asks to be left alone counts, up to a bound.
func TestPause(t *testing.T) {
	ask := func(s int64) error {
		return &Error{Problem{Code: string(fault.Busy), RetryAfter: &s}}
	}
	for range 100 {
		if d := pause(time.Second, nil); d < 0 || d >= time.Second {
			t.Fatal(d)
		}
		if d := pause(time.Second, ask(7)); d != 7*time.Second {
			t.Fatal(d)
		}
		if d := pause(time.Second, ask(1<<40)); d != retryMax {
			t.Fatal(d)
		}
	}
}
