package kv

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// logger passes Badger's messages on at debug level.
type logger struct{ out *slog.Logger }

func (l logger) Errorf(format string, args ...any)   { l.log("error", format, args) }
func (l logger) Warningf(format string, args ...any) { l.log("warning", format, args) }
func (l logger) Infof(format string, args ...any)    { l.log("info", format, args) }
func (l logger) Debugf(format string, args ...any)   { l.log("debug", format, args) }

// quoted are the parts of a message that may be keys of records.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"`)

func (l logger) log(kind, format string, args []any) {
	ctx := context.Background()
	if !l.out.Enabled(ctx, slog.LevelDebug) {
		return
	}
	message := quoted.ReplaceAllString(strings.TrimSpace(fmt.Sprintf(format, args...)), `"…"`)
	l.out.LogAttrs(ctx, slog.LevelDebug, "badger", slog.String("kind", kind), slog.String("message", message))
}
