package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"coldframe/daemon"
	"coldframe/internal/apicheck"
)

// StreamEvents begins a stream of server-sent events.
func (h *handlers) StreamEvents(ctx context.Context, r StreamEventsRequestObject) (StreamEventsResponseObject, error) {
	after, err := parseEventID(r.Params.LastEventID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(stopOf(ctx), cancel)
	s, err := h.agent.Subscribe(ctx, callOf(ctx).caller, after)
	if err != nil {
		cancel()
		return nil, err
	}
	return &eventAnswer{events: s.C, close: func() { s.Close(); cancel() }, heartbeat: h.heartbeat}, nil
}

// parseEventID reads a Last-Event-ID; without one the stream begins with what happens next.
func parseEventID(s *string) (uint64, error) {
	if s == nil {
		return daemon.FromNow, nil
	}
	id, err := strconv.ParseUint(*s, 10, 64)
	if err != nil || id == daemon.FromNow {
		return 0, apicheck.InvalidField("Last-Event-ID", "is not the id of an event")
	}
	return id, nil
}

// eventAnswer writes events as they come, and comments in between (WHATWG HTML, section 9.2). It ends when the agent drops a reader that is too slow, when a
// write takes longer than the time for progress, and when the server stops.
type eventAnswer struct {
	events    <-chan daemon.Event
	close     func()
	heartbeat time.Duration
}

// VisitStreamEventsResponse implements StreamEventsResponseObject.
func (a *eventAnswer) VisitStreamEventsResponse(w http.ResponseWriter) error {
	defer a.close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	ticker := time.NewTicker(a.heartbeat)
	defer ticker.Stop()
	if err := send(w, control, []byte("retry: 1000\n\n")); err != nil {
		return err
	}
	for {
		select {
		case e, ok := <-a.events:
			if !ok {
				return nil
			}
			if err := send(w, control, encodeEvent(e)); err != nil {
				return err
			}
		case <-ticker.C:
			if err := send(w, control, []byte(":\n\n")); err != nil {
				return err
			}
		}
	}
}

func send(w http.ResponseWriter, control *http.ResponseController, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return err
	}
	return control.Flush()
}

// encodeEvent writes one event. Progress has no id: it cannot be asked for again.
func encodeEvent(e daemon.Event) []byte {
	out := Event{
		Type: e.Type, Time: e.Time, Dataset: text(e.Dataset), App: text(e.App), Contact: text(e.Contact), Code: text(string(e.Code)), Transfer: text(e.Transfer),
		Version: positive(int64(e.Version)), Rows: positive(e.Rows), Bytes: positive(e.Bytes), Total: positive(e.Total), Count: positive(e.Count),
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic("server: " + err.Error()) // strings and numbers always encode
	}
	if e.ID == 0 {
		return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", e.Type, b)
	}
	return fmt.Appendf(nil, "id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Type, b)
}

func positive(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}
