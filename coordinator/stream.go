package coordinator

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/sse"
)

const (
	maxEventID = 64
	silence    = 45 * time.Second // three heartbeats: nobody is there any more
	look       = 5 * time.Second  // how often the agent's clock is looked at, which goes on while the machine sleeps
)

// Notice is an event with the id after which Follow resumes.
type Notice struct {
	ID    string
	Event Event
}

// Follow hands out what happens, beginning after the event with the id after; with a `resync` if it is empty, or none that the coordinator takes. It is one
// connection, and ends with ctx or with why that ended, and the id of the last event. A connection that falls silent is ended within a minute, and after the
// machine slept within seconds of its waking. Who follows makes the next one, after a time that grows and differs between agents.
// opened is called once the coordinator has let the client in, before the first event.
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
