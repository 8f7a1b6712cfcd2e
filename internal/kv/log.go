package kv

import (
	"context"
	"errors"
	"log/slog"
	"strings"
)

// logger passes Badger's messages on at debug level: the text alone, as the values in it may be keys of records or paths.
//
// It also listens. Badger reports some failures nowhere else: an fsync of the value log that failed, a table that it left out because
// its checksum is wrong, a memory table that it cannot write out. All of these it prints as errors, and prints no others, so each
// one counts as a failed disk.
type logger struct {
	out    *slog.Logger
	health *health
}

func (l logger) Errorf(format string, args ...any) {
	l.log("error", format)
	err := errors.New("badger: " + strings.TrimSpace(format))
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			err = errors.Join(err, cause)
		}
	}
	l.health.fail(err)
}
func (l logger) Warningf(format string, _ ...any) { l.log("warning", format) }
func (l logger) Infof(format string, _ ...any)    { l.log("info", format) }
func (l logger) Debugf(format string, _ ...any)   { l.log("debug", format) }

func (l logger) log(kind, format string) {
	l.out.LogAttrs(context.Background(), slog.LevelDebug, "badger", slog.String("kind", kind), slog.String("message", strings.TrimSpace(format)))
}
