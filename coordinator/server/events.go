package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
)

// maxStreams is how many agents of one user may wait for events at once.
const maxStreams = 16

// StreamEvents begins a stream of server-sent events.
func (h *handlers) StreamEvents(ctx context.Context, r StreamEventsRequestObject) (StreamEventsResponseObject, error) {
	epoch, after, err := parseEventID(deref(r.Params.LastEventID))
	if err != nil {
		return nil, err
	}
	e := &eventStream{handlers: h, epoch: epoch, after: after}
	e.ctx, e.end = context.WithCancel(ctx)
	if !h.addStream(e) {
		e.end()
		return nil, fault.New(fault.Busy, "at most %d agents of a user wait for events", maxStreams)
	}
	return e, nil
}

// parseEventID reads a Last-Event-ID, epoch and number; an empty one is of no epoch.
func parseEventID(s string) (epoch string, id uint64, err error) {
	if s == "" {
		return "", 0, nil
	}
	epoch, n, ok := strings.Cut(s, "-")
	if ok {
		id, err = strconv.ParseUint(n, 10, 63)
	}
	if !ok || err != nil {
		return "", 0, apicheck.InvalidField("Last-Event-ID", "is not the id of an event")
	}
	return epoch, id, nil
}

// addStream counts a stream. It takes the place of another one of its device, which nobody reads any more: where a network went away a connection seems to be
// there for a quarter of an hour, and who comes back often would have all places taken by those.
func (s *Server) addStream(e *eventStream) bool {
	c := callOf(e.ctx).caller
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.streams[c.User]
	if before := of[c.Device]; before != nil {
		before.end()
	} else if len(of) >= maxStreams {
		return false
	}
	if of == nil {
		of = map[state.DeviceID]*eventStream{}
		s.streams[c.User] = of
	}
	of[c.Device] = e
	s.metrics.streams.Inc()
	return true
}

func (s *Server) removeStream(e *eventStream) {
	c := callOf(e.ctx).caller
	s.mu.Lock()
	defer s.mu.Unlock()
	e.end()
	of := s.streams[c.User]
	if of[c.Device] == e {
		delete(of, c.Device)
	}
	if len(of) == 0 {
		delete(s.streams, c.User)
	}
	s.metrics.streams.Dec()
}

// eventStream writes events as they come, and comments in between (WHATWG HTML, section 9.2). It ends with the session, when a write takes too long,
// when the device begins another, and when the server stops.
type eventStream struct {
	*handlers
	ctx   context.Context //nolint:containedctx // the generated interface has no parameter for it
	end   context.CancelFunc
	epoch string
	after uint64
}

// VisitStreamEventsResponse implements StreamEventsResponseObject.
func (e *eventStream) VisitStreamEventsResponse(w http.ResponseWriter) error {
	c := callOf(e.ctx)
	defer e.removeStream(e)
	woken, cancel := e.state.Watch(c.caller.User) // before the first look, so that nothing falls between
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	ticker := time.NewTicker(e.o.Heartbeat)
	defer ticker.Stop()
	out := []byte("retry: 1000\n\n")
	for {
		if _, err := e.state.Authenticate(e.ctx, c.token); err != nil {
			return nil //nolint:nilerr // logged out, turned off, or the token's time is over
		}
		b, err := e.next()
		if err != nil {
			return nil //nolint:nilerr // the stream ends, and the agent comes back
		}
		if out = append(out, b...); len(out) > 0 {
			if _, err := w.Write(out); err != nil {
				return err
			}
			if err := control.Flush(); err != nil {
				return err
			}
		}
		out = nil
		select {
		case <-woken:
		case <-ticker.C:
			out = []byte(":\n\n")
		case <-e.ctx.Done():
			return nil
		case <-e.stopped.Done():
			return nil
		}
	}
}

// next returns what there is to write.
func (e *eventStream) next() ([]byte, error) {
	list, err := e.state.Events(e.ctx, callOf(e.ctx).caller.User, e.epoch, e.after)
	if err != nil {
		return nil, err
	}
	e.epoch = e.state.Epoch()
	var out []byte
	for _, event := range list {
		e.after = event.ID
		b, err := json.Marshal(Event{Type: string(event.Type), Name: optional(event.Name), Number: optional(int64(event.Number))})
		if err != nil {
			return nil, err
		}
		out = fmt.Appendf(out, "id: %s-%d\nevent: %s\ndata: %s\n\n", e.epoch, event.ID, event.Type, b)
	}
	return out, nil
}
