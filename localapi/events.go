package localapi

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"
	"time"

	"coldframe/internal/sse"
)

const (
	eventRetryMin = 200 * time.Millisecond
	eventRetryMax = 10 * time.Second
)

// Notice is an event with the id after which Events resumes; progress events have none of their own and carry the last one.
type Notice struct {
	ID    string
	Event Event
}

// Events hands out what happens, beginning after the event with the id after, or with the next one if it is empty. When the connection breaks it comes
// back and asks for what it missed. It ends with the context, or with an error that another try would meet again.
func (c *Client) Events(ctx context.Context, after string) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		wait := eventRetryMin
		for {
			last, more, err := c.eventsOnce(ctx, after, yield)
			if !more {
				return
			}
			if last != after {
				after, wait = last, eventRetryMin
			}
			if e, ok := errors.AsType[*Error](err); ok && !errors.Is(e, Busy) && !errors.Is(e, Unavailable) {
				yield(Notice{ID: after}, err)
				return
			}
			select {
			case <-ctx.Done():
				yield(Notice{ID: after}, ctx.Err())
				return
			case <-time.After(wait):
				wait = min(2*wait, eventRetryMax)
			}
		}
	}
}

// eventsOnce follows one connection. more is false once the caller wants no more.
func (c *Client) eventsOnce(ctx context.Context, after string, yield func(Notice, error) bool) (last string, more bool, err error) {
	r, err := c.raw.StreamEvents(ctx, &StreamEventsParams{LastEventID: optional(after)})
	if err != nil {
		return after, true, transportError(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return after, true, errorOf(r)
	}
	s := sse.NewReader[Event](r.Body, after, eventFormat)
	for s.Next() {
		if !yield(Notice{ID: s.ID, Event: s.Event}, nil) {
			return s.ID, false, nil
		}
	}
	return s.ID, true, s.Err
}

var eventFormat = sse.Format{MaxLine: 64 << 10, ValidID: func(s string) bool { return strings.Trim(s, "0123456789") == "" && len(s) <= 19 }}
