// Package httpapi is what the HTTP servers of the agent and of the coordinator do in the same way: the router below the guard, the writing of a problem
// (RFC 9457), and what a panic leaves in the log. What each of them checks and tells is its own.
package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// Failing is an answer that keeps the failure of its handler, of which the guard makes the problem.
type Failing interface{ Fail(err error) }

// NewRouter returns a router that writes nothing by itself: failures go to the answer, which is a Failing, and addresses are those of connections.
func NewRouter() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.Logger.SetOutput(io.Discard)
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if out, ok := c.Response().Writer.(Failing); ok {
			out.Fail(err)
		}
	}
	return e
}

// WriteProblem answers with a problem, which encodes to JSON. retryAfter is in seconds; nil is none.
func WriteProblem(w http.ResponseWriter, status int, retryAfter *int64, problem any) {
	b, err := json.Marshal(problem)
	if err != nil {
		panic("httpapi: " + err.Error()) // strings and numbers always encode
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if retryAfter != nil {
		h.Set("Retry-After", strconv.FormatInt(*retryAfter, 10))
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(status)
	w.Write(b) //nolint:errcheck // the caller has gone
}

// LogPanic logs what a handler panicked with, if it did: the type and the place. The value may hold data of a request.
func LogPanic(l *slog.Logger, requestID string, panicked any) {
	if panicked == nil || panicked == http.ErrAbortHandler { //nolint:errorlint // net/http compares it in the same way
		return
	}
	l.Error("panic in a handler", slog.String("request_id", requestID), slog.String("type", fmt.Sprintf("%T", panicked)), slog.String("stack", frames()))
}

// frames names the functions on the stack above the caller of LogPanic, without their arguments.
func frames() string {
	pc := make([]uintptr, 32)
	it := runtime.CallersFrames(pc[:runtime.Callers(4, pc)])
	var b strings.Builder
	for {
		f, more := it.Next()
		fmt.Fprintf(&b, "%s:%d ", f.Function, f.Line)
		if !more {
			return strings.TrimSpace(b.String())
		}
	}
}
