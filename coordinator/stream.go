package coordinator

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/sse"
)

const (
	maxEventID = 64
	retryMin   = 500 * time.Millisecond
	retryMax   = 30 * time.Second
	silence    = 45 * time.Second // three heartbeats: nobody is there any more
)

// Notice is an event with the id after which Events resumes.
type Notice struct {
	ID    string
	Event Event
}

// Events hands out what happens, beginning after the event with the id after; with a `resync` if it is empty. When the connection breaks or falls silent it
// comes back, at random times that grow to 30 s, and asks for what it missed. It ends with the context, or with an error that another try would meet again.
func (c *Client) Events(ctx context.Context, after string) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		wait := retryMin
		for {
			last, more, err := c.eventsOnce(ctx, after, yield)
			if !more {
				return
			}
			if last != after {
				after, wait = last, retryMin
			}
			if ctx.Err() == nil && fatal(err) {
				yield(Notice{ID: after}, err)
				return
			}
			select {
			case <-ctx.Done():
				yield(Notice{ID: after}, ctx.Err())
				return
			case <-time.After(rand.N(wait) + retryMin/2): //nolint:gosec // spreads agents out, no secret
				wait = min(2*wait, retryMax)
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
	return ok && !e.Is(fault.Busy) && !e.Is(fault.Unavailable)
}

// eventsOnce follows one connection. more is false once the caller wants no more.
func (c *Client) eventsOnce(ctx context.Context, after string, yield func(Notice, error) bool) (last string, more bool, err error) {
	access, err := c.access(ctx, "")
	if err != nil {
		return after, true, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	p := &StreamEventsParams{}
	if after != "" {
		p.LastEventID = &after
	}
	r, err := c.raw.StreamEvents(ctx, p, bearer(access))
	if err != nil {
		return after, true, fault.Wrap(fault.Unavailable, err, "the coordinator does not answer")
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		err := errorOf(r)
		if errors.Is(err, fault.Unauthorized) {
			_, err = c.access(ctx, access)
		}
		return after, true, err
	}
	s := sse.NewReader[Event](&heard{r.Body, func() { alive.Reset(silence) }}, after, eventFormat)
	for s.Next() {
		if !yield(Notice{ID: s.ID, Event: s.Event}, nil) {
			return s.ID, false, nil
		}
	}
	return s.ID, true, s.Err
}

// heard tells whenever something has come.
type heard struct {
	io.Reader
	tell func()
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.tell()
	return n, err
}

var eventFormat = sse.Format{MaxLine: 4 << 10, ValidID: validEventID}

// validEventID keeps what comes from a coordinator out of a header of ours.
func validEventID(s string) bool {
	return s != "" && len(s) <= maxEventID && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}
