package coordinator

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/sse"
)

const (
	maxEventID = 64
	retryMin   = time.Second
	retryMax   = 20 * time.Second
	lived      = 30 * time.Second // a stream that ends after this long was a good one
	silence    = 45 * time.Second // three heartbeats: nobody is there any more
	look       = 5 * time.Second  // how often the agent's clock is looked at, which goes on while the machine sleeps
)

// Notice is an event with the id after which Events resumes.
type Notice struct {
	ID    string
	Event Event
}

// Events hands out what happens, beginning after the event with the id after; with a `resync` if it is empty, or none that the coordinator takes. When the connection breaks or falls silent it
// comes back, after a random part of a time that doubles from 1 s to 20 s until a connection lived for a while, and asks for what it missed. A machine that
// slept finds out within seconds of its waking. Events ends with the context, or with an error that another try would meet again.
func (c *Client) Events(ctx context.Context, after string) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		for most := retryMin; ; most = min(2*most, retryMax) {
			begun := time.Now()
			var err error
			for n, failed := range c.Follow(ctx, after, func() {}) {
				after, err = n.ID, failed
				if failed == nil && !yield(n, nil) {
					return
				}
			}
			if ctx.Err() == nil && fatal(err) {
				yield(Notice{ID: after}, err)
				return
			}
			if time.Since(begun) >= lived {
				most = retryMin
			}
			if err := c.sleep(ctx, pause(most, err)); err != nil {
				yield(Notice{ID: after}, err)
				return
			}
		}
	}
}

// pause is how long to wait before the next try: a random part of most, so that agents that were cut off together do not come back together, or as
// long as the coordinator asks for if that is not more than retryMax.
func pause(most time.Duration, err error) time.Duration {
	d := rand.N(most) //nolint:gosec // spreads agents out, no secret
	if e, ok := errors.AsType[*Error](err); ok {
		d = max(d, min(e.RetryAfter(), retryMax))
	}
	return d
}

// sleep waits for a while, by the agent's clock or by that of the process, whichever comes first: the latter stands still while the machine sleeps.
func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	until := c.o.Now().Round(0).Add(d)
	timer, ticker := time.NewTimer(d), time.NewTicker(look)
	defer timer.Stop()
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-ticker.C:
			if !c.o.Now().Before(until) {
				return nil
			}
		}
	}
}

// fatal reports whether another try would meet the failure again.
func fatal(err error) bool {
	if errors.Is(err, fault.Unauthorized) {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	return ok && !errors.Is(e, fault.Busy) && !errors.Is(e, fault.Unavailable) && !errors.Is(e, fault.StorageFull)
}

// Follow is Events for one connection, which it does not make again: it ends with ctx, or with why the connection ended. A connection that falls silent is
// ended within a minute, by the agent's clock. opened is called once the coordinator has let the client in, before the first event.
func (c *Client) Follow(ctx context.Context, after string, opened func()) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		alive := &life{now: c.o.Now, heard: c.o.Now().Round(0)}
		go alive.watch(ctx, func() {
			cancel()
			c.Close() // connections that no request uses have not survived either
		})
		body, err := c.openStream(ctx, after)
		if err != nil {
			yield(Notice{ID: after}, err)
			return
		}
		defer body.Close()
		opened()
		s := sse.NewReader[Event](io.TeeReader(body, alive), after, eventFormat)
		for s.Next() {
			if !yield(Notice{ID: s.ID, Event: s.Event}, nil) {
				return
			}
		}
		yield(Notice{ID: s.ID}, s.Err) // of a stream that ended well, too: it has no end
	}
}

// openStream asks for the events after an id; once more if the access token is refused, as do does, or the id: it may be of another coordinator.
func (c *Client) openStream(ctx context.Context, after string) (io.ReadCloser, error) {
	p := &StreamEventsParams{}
	if validEventID(after) {
		p.LastEventID = &after
	}
	refused := ""
	for {
		access, err := c.access(ctx, refused)
		if err != nil {
			return nil, err
		}
		r, err := c.raw.StreamEvents(endless(ctx), p, bearer(access))
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "the coordinator does not answer")
		}
		if r.StatusCode == http.StatusOK {
			return r.Body, nil
		}
		err = errorOf(r)
		r.Body.Close()
		switch {
		case errors.Is(err, fault.Unauthorized) && refused == "":
			refused = access
		case errors.Is(err, fault.InvalidRequest) && p.LastEventID != nil:
			p.LastEventID = nil
		default:
			return nil, err
		}
	}
}

// life is when something was heard last, by the agent's clock.
type life struct {
	now   func() time.Time
	mu    sync.Mutex
	heard time.Time
}

// Write notes that something was heard.
func (l *life) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = l.now().Round(0)
	return len(p), nil
}

// watch calls end once nothing was heard for a time of silence; until then, or until ctx ends, it waits.
func (l *life) watch(ctx context.Context, end func()) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if l.silent() {
				end()
				return
			}
		}
	}
}

func (l *life) silent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().Round(0)
	if now.Before(l.heard) { // the clock was set back
		l.heard = now
	}
	return now.Sub(l.heard) >= silence
}

var eventFormat = sse.Format{MaxLine: 4 << 10, ValidID: validEventID}

// validEventID keeps what comes from a coordinator out of a header of ours.
func validEventID(s string) bool {
	return s != "" && len(s) <= maxEventID && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}
