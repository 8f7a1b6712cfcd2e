package coordinator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// line is a coordinator's stream of events without a network, in the time of the test. The clock of the process stands still while the machine sleeps, and
// the agent's does not.
type line struct {
	tries  atomic.Int32
	slept  atomic.Int64                          // nanoseconds
	stream func(context.Context, *io.PipeWriter) // writes one stream
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.tries.Add(1)
	pr, pw := io.Pipe()
	context.AfterFunc(r.Context(), func() { pw.CloseWithError(r.Context().Err()) })
	go l.stream(r.Context(), pw)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: pr, Request: r}, nil
}

func (l *line) now() time.Time { return time.Now().Add(time.Duration(l.slept.Load())) }

// follow follows one connection, and sends why it ended.
func (l *line) follow(t *testing.T) <-chan error {
	c, err := New("http://coordinator.example", Options{
		HTTP: &http.Client{Transport: l}, Now: l.now, Session: Session{User: "me", Access: "a", Until: time.Now().Add(1000 * time.Hour), Refresh: "r"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		var last error
		for _, err := range c.Follow(ctx, "", func() {}) {
			last = err
		}
		ended <- last
	}()
	t.Cleanup(cancel)
	return ended
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

// A machine sleeps for hours with a stream open, whose other end is gone without a word. Awake again it knows within 10 s. A stream with heartbeats goes on.
func TestF27_Suspend(t *testing.T) {
	for i := range 20 {
		synctest.Test(t, func(t *testing.T) {
			l := &line{stream: func(_ context.Context, w *io.PipeWriter) { io.WriteString(w, ":\n\n") }}
			ended := l.follow(t)
			time.Sleep(time.Duration(i+1) * time.Second)
			l.slept.Add(int64(8 * time.Hour))
			before := time.Now()
			if err := <-ended; err == nil || time.Since(before) > 10*time.Second {
				t.Errorf("after %v: %v", time.Since(before), err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l := &line{stream: func(ctx context.Context, w *io.PipeWriter) { beat(ctx, w, time.Hour) }}
		before := time.Now()
		if err := <-l.follow(t); !errors.Is(err, io.ErrUnexpectedEOF) || time.Since(before) < time.Hour || l.tries.Load() != 1 {
			t.Errorf("after %v: %v", time.Since(before), err)
		}
	})
}

// A stream that falls silent is ended within a minute, also where nobody slept.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{stream: func(_ context.Context, w *io.PipeWriter) { io.WriteString(w, ":\n\n") }}
		before := time.Now()
		if err := <-l.follow(t); err == nil || time.Since(before) < silence || time.Since(before) > time.Minute {
			t.Errorf("after %v: %v", time.Since(before), err)
		}
	})
}
