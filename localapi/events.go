package localapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"coldframe/internal/fault"
)

const (
	maxEventLine  = 64 << 10
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
	s := newEventScanner(r.Body, after)
	for s.next() {
		if !yield(s.notice, nil) {
			return s.notice.ID, false, nil
		}
	}
	return s.notice.ID, true, s.err
}

// eventScanner reads server-sent events (WHATWG HTML, section 9.2): the fields id and data; others are not needed.
type eventScanner struct {
	lines  *bufio.Scanner
	notice Notice
	err    error
}

func newEventScanner(r io.Reader, after string) *eventScanner {
	s := &eventScanner{lines: bufio.NewScanner(r), notice: Notice{ID: after}}
	s.lines.Buffer(make([]byte, 4096), maxEventLine)
	return s
}

// next reads up to the next event with data; false at the end or at an error.
func (s *eventScanner) next() bool {
	id, data := s.notice.ID, ""
	for s.lines.Scan() {
		line := strings.TrimSuffix(s.lines.Text(), "\r")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && data != "":
			s.notice.ID, s.notice.Event = id, Event{}
			if err := json.Unmarshal([]byte(data), &s.notice.Event); err != nil {
				s.err = fault.Wrap(fault.Incomplete, err, "an event cannot be read")
				return false
			}
			return true
		case field == "id" && strings.Trim(value, "0123456789") == "" && len(value) <= 19:
			id = value
		case field == "data" && len(data)+len(value) <= maxEventLine:
			data += value
		}
	}
	if s.err = s.lines.Err(); s.err == nil {
		s.err = io.ErrUnexpectedEOF
	}
	return false
}
