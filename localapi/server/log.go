package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"coldframe/internal/fault"
)

// accessLog writes one line a request. Its fields are these and no others (L16): nothing that the caller chose gets in, save the method, and that only if the
// table has it.
type accessLog struct{ logger *slog.Logger }

func (l *accessLog) request(out *answer, r *http.Request, c *call, aborted bool, panicked any) {
	operation, method := "", "other"
	if c.route != nil {
		operation, method = c.route.operation, c.route.method
	}
	level := slog.LevelInfo
	if c.route != nil && c.route.quiet {
		level = slog.LevelDebug
	}
	l.logger.LogAttrs(r.Context(), level, "request",
		slog.String("request_id", c.id),
		slog.String("network", c.network),
		slog.String("method", method),
		slog.String("operation", operation),
		slog.String("token", c.caller.ID),
		slog.Int("status", out.status),
		slog.String("code", string(c.code)),
		slog.Bool("aborted", aborted),
		slog.Int64("bytes_in", max(0, c.contentLength)),
		slog.Int64("bytes_out", out.bytes),
		slog.Duration("took", time.Since(c.start)),
	)
	if panicked != nil && panicked != http.ErrAbortHandler { //nolint:errorlint // net/http compares it in the same way
		// The value of a panic may hold data of a request; its type and the place do not.
		l.logger.Error("panic in a handler", slog.String("request_id", c.id), slog.String("type", fmt.Sprintf("%T", panicked)), slog.String("stack", frames()))
	}
}

// internal logs the cause of a failure that the caller is told nothing about.
func (l *accessLog) internal(r *http.Request, c *call, err error) {
	if c.code == fault.Internal {
		l.logger.LogAttrs(r.Context(), slog.LevelError, "internal failure", slog.String("request_id", c.id), slog.String("error", err.Error()))
	}
}

// frames names the functions on the stack, without their arguments.
func frames() string {
	pc := make([]uintptr, 32)
	it := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	var b strings.Builder
	for {
		f, more := it.Next()
		fmt.Fprintf(&b, "%s:%d ", f.Function, f.Line)
		if !more {
			return strings.TrimSpace(b.String())
		}
	}
}
