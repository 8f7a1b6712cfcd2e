package coordinator

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"coldframe/internal/fault"
)

const (
	maxEventLine = 4 << 10
	maxEventID   = 64
	retryMin     = 500 * time.Millisecond
	retryMax     = 30 * time.Second
	silence      = 45 * time.Second // three heartbeats: nobody is there any more
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
	s := newEventScanner(r.Body, after, func() { alive.Reset(silence) })
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
	heard  func()
	notice Notice
	err    error
}

func newEventScanner(r io.Reader, after string, heard func()) *eventScanner {
	s := &eventScanner{lines: bufio.NewScanner(r), notice: Notice{ID: after}, heard: heard}
	s.lines.Buffer(make([]byte, 512), maxEventLine)
	return s
}

// next reads up to the next event with data; false at the end or at an error.
func (s *eventScanner) next() bool {
	id, data := s.notice.ID, ""
	for s.lines.Scan() {
		s.heard()
		line := strings.TrimSuffix(s.lines.Text(), "\r")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && data != "":
			s.notice = Notice{ID: id}
			if err := json.Unmarshal([]byte(data), &s.notice.Event); err != nil {
				s.err = fault.Wrap(fault.Incomplete, err, "an event cannot be read")
				return false
			}
			return true
		case field == "id" && validEventID(value):
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

// validEventID keeps what comes from a coordinator out of a header of ours.
func validEventID(s string) bool {
	return s != "" && len(s) <= maxEventID && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}
