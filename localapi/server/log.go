package server

import (
	"log/slog"
	"net/http"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/httpapi"
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
	httpapi.LogPanic(l.logger, c.id, panicked)
}

// internal logs the cause of a failure that the caller is told nothing about.
func (l *accessLog) internal(r *http.Request, c *call, err error) {
	if c.code == fault.Internal {
		l.logger.LogAttrs(r.Context(), slog.LevelError, "internal failure", slog.String("request_id", c.id), slog.String("error", err.Error()))
	}
}
