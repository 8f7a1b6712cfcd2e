package server

import (
	"log/slog"
	"net/http"
	"time"

	"coldframe/internal/httpapi"
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
	httpapi.LogPanic(l.logger, c.id, panicked)
}

// failure logs the cause of a failure that the caller is told nothing about.
func (l accessLog) failure(r *http.Request, c *call, err error) {
	l.logger.LogAttrs(r.Context(), slog.LevelError, "failure", slog.String("request_id", c.id), slog.String("error", err.Error()))
}
