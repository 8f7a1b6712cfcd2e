package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"syscall"

	"coldframe/internal/fault"
)

// logFields are the only fields that reach the log (L16): ids, codes and numbers. Fields of other names are dropped, whoever logs them.
var logFields = []string{
	slog.TimeKey, slog.LevelKey, slog.MessageKey,
	"app", "attempts", "bytes", "caller", "cause", "code", "count", "dataset", "duration", "event", "format", "kind", "method", "port",
	"pid", "request", "route", "rows", "state", "status", "transfer", "uid", "version",
}

// maxLogText is the longest text of a field in bytes; longer ones are cut.
const maxLogText = 200

// NewLogger returns the logger of an agent's process: to w, in the format and from the level of l, with the allowed fields only.
func NewLogger(w io.Writer, l Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.SlogLevel()}
	if l.Format == "json" {
		return slog.New(newSafeHandler(slog.NewJSONHandler(w, o)))
	}
	return slog.New(newSafeHandler(slog.NewTextHandler(w, o)))
}

// safeHandler lets allowed fields through. Groups are dropped whole.
type safeHandler struct{ next slog.Handler }

func newSafeHandler(h slog.Handler) slog.Handler {
	if _, already := h.(safeHandler); already {
		return h
	}
	return safeHandler{next: h}
}

func (h safeHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h safeHandler) Handle(ctx context.Context, r slog.Record) error {
	safe := slog.NewRecord(r.Time, r.Level, r.Message, 0)
	r.Attrs(func(a slog.Attr) bool {
		safe.AddAttrs(allowed([]slog.Attr{a})...)
		return true
	})
	return h.next.Handle(ctx, safe)
}

func (h safeHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return safeHandler{next: h.next.WithAttrs(allowed(as))}
}

func (h safeHandler) WithGroup(string) slog.Handler { return h }

func allowed(as []slog.Attr) []slog.Attr {
	var out []slog.Attr
	for _, a := range as {
		v := a.Value.Resolve()
		if !slices.Contains(logFields, a.Key) || v.Kind() == slog.KindGroup || v.Kind() == slog.KindAny {
			continue
		}
		if v.Kind() == slog.KindString && len(v.String()) > maxLogText {
			v = slog.StringValue(v.String()[:maxLogText])
		}
		out = append(out, slog.Attr{Key: a.Key, Value: v})
	}
	return out
}

// failure are the fields that say why something failed: the code, and of the cause what cannot hold anybody's data.
func failure(err error) []any {
	return []any{"code", string(fault.CodeOf(err)), "cause", causeOf(err)}
}

// causeOf names the innermost error: the system's error number, or its Go type. Its text might quote what it read.
func causeOf(err error) string {
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return n.Error()
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return fmt.Sprintf("%T", err)
		}
		err = next
	}
}
