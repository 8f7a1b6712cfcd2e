package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// accessLog writes one line a request. Its fields are these and no others: nothing that the caller chose gets in, save the user's id.
type accessLog struct{ logger *slog.Logger }

func (l accessLog) request(r *http.Request, c *call, status int, aborted bool, panicked any) {
	operation, level := "", slog.LevelInfo
	if c.route != nil {
		operation = c.route.operation
	}
	if operation == "getHealth" {
		level = slog.LevelDebug
	}
	l.logger.LogAttrs(r.Context(), level, "request",
		slog.String("request_id", c.id), slog.String("operation", operation), slog.String("user", string(c.caller.User)),
		slog.Int("status", status), slog.String("code", string(c.code)), slog.Bool("aborted", aborted), slog.Duration("took", time.Since(c.start)),
	)
	if panicked != nil && panicked != http.ErrAbortHandler { //nolint:errorlint // net/http compares it in the same way
		// The value of a panic may hold data of a request; its type and the place do not.
		l.logger.Error("panic in a handler", slog.String("request_id", c.id), slog.String("type", fmt.Sprintf("%T", panicked)), slog.String("stack", frames()))
	}
}

// failure logs the cause of a failure that the caller is told nothing about.
func (l accessLog) failure(r *http.Request, c *call, err error) {
	l.logger.LogAttrs(r.Context(), slog.LevelError, "failure", slog.String("request_id", c.id), slog.String("error", err.Error()))
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
