package server

import (
	"context"
	"errors"
	"math"
	"net/http"

	"github.com/labstack/echo/v4"

	"coldframe/daemon"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
	"coldframe/internal/httpapi"
	"coldframe/localapi"
)

// statusOf maps a failure's code to a status.
var statusOf = map[fault.Code]int{
	fault.UntrustedKey:         http.StatusConflict,
	fault.KeyChanged:           http.StatusConflict,
	fault.NotAuthentic:         http.StatusUnprocessableEntity,
	fault.RolledBack:           http.StatusConflict,
	fault.Forked:               http.StatusConflict,
	fault.Stale:                http.StatusConflict,
	fault.Incomplete:           http.StatusBadGateway,
	fault.Policy:               http.StatusUnprocessableEntity,
	fault.TooLarge:             http.StatusRequestEntityTooLarge,
	fault.Replayed:             http.StatusConflict,
	fault.Revoked:              http.StatusForbidden,
	fault.Conflict:             http.StatusConflict,
	fault.StorageFull:          http.StatusInsufficientStorage,
	fault.Unavailable:          http.StatusServiceUnavailable,
	fault.Locked:               http.StatusLocked,
	fault.InvalidRequest:       http.StatusBadRequest,
	fault.Unauthorized:         http.StatusUnauthorized,
	fault.Forbidden:            http.StatusForbidden,
	fault.NotFound:             http.StatusNotFound,
	fault.UnsupportedMediaType: http.StatusUnsupportedMediaType,
	fault.Busy:                 http.StatusServiceUnavailable,
	fault.Internal:             http.StatusInternalServerError,
}

var titleOf = map[fault.Code]string{
	fault.UntrustedKey:         "The key is not trusted",
	fault.KeyChanged:           "The key has changed",
	fault.NotAuthentic:         "The check of authenticity failed",
	fault.RolledBack:           "Older than what was seen before",
	fault.Forked:               "Two histories",
	fault.Stale:                "Too old to act on",
	fault.Incomplete:           "Something is missing",
	fault.Policy:               "Refused by policy",
	fault.TooLarge:             "Too large",
	fault.Replayed:             "Seen before",
	fault.Revoked:              "Revoked",
	fault.Conflict:             "In conflict with the present state",
	fault.StorageFull:          "No room left",
	fault.Unavailable:          "Not available now",
	fault.Locked:               "The vault is locked",
	fault.InvalidRequest:       "The request is not valid",
	fault.Unauthorized:         "A valid token is needed",
	fault.Forbidden:            "Not allowed",
	fault.NotFound:             "Not found",
	fault.UnsupportedMediaType: "Not one of the accepted types",
	fault.Busy:                 "Busy; try again later",
	fault.Internal:             "Something went wrong in the agent",
}

// problemExtra is what a failure adds to its problem.
type problemExtra struct {
	status     int // 0: that of the code
	field      string
	retryAfter int64
	accepted   []string
	passphrase string
}

// statusError is a failure with a status other than that of its code.
type statusError struct {
	cause *fault.Error
	problemExtra
}

func (e *statusError) Error() string { return e.cause.Error() }
func (e *statusError) Unwrap() error { return e.cause }

func withStatus(status int, code fault.Code, detail string) error {
	return &statusError{cause: fault.New(code, "%s", detail), problemExtra: problemExtra{status: status}}
}

// problemOf makes the problem of a failure. The detail goes only to a caller with a valid token (L20).
func problemOf(err error, c *call) localapi.Problem {
	code, detail, extra := classify(err)
	if c.authenticated && code == fault.Unauthorized {
		code = fault.Unavailable // the coordinator's, to this agent: the caller's token is good
	}
	status := statusOf[code]
	if extra.status != 0 {
		status = extra.status
	}
	p := localapi.Problem{
		Type: "urn:coldframe:problem:" + string(code), Title: titleOf[code], Status: status, Code: string(code), RequestId: c.id,
	}
	if extra.retryAfter > 0 {
		p.RetryAfter = &extra.retryAfter
	}
	if !c.authenticated {
		return p
	}
	p.Detail, p.Field = text(detail), text(extra.field)
	p.SuggestedPassphrase = text(extra.passphrase)
	if extra.accepted != nil {
		p.Accepted = &extra.accepted
	}
	return p
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// classify finds the code, the detail and the rest of a failure. What has no code of its own is internal, without a detail.
func classify(err error) (fault.Code, string, problemExtra) {
	extra := extraOf(err)
	if e, ok := errors.AsType[*fault.Error](err); ok {
		if _, known := statusOf[e.Code]; known {
			if e.Code == fault.Internal {
				return fault.Internal, "", extra
			}
			return e.Code, e.Detail, extra
		}
	}
	if c, ok := errors.AsType[fault.Code](err); ok && statusOf[c] != 0 {
		return c, "", extra
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok && e.Code/100 == 4 {
		return fault.InvalidRequest, "", extra
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Unavailable, "the request was ended before it was done", extra
	}
	return fault.Internal, "", extra
}

func extraOf(err error) problemExtra {
	var extra problemExtra
	if e, ok := errors.AsType[*statusError](err); ok {
		extra = e.problemExtra
	}
	if e, ok := errors.AsType[*apicheck.FieldError](err); ok {
		extra.field = e.Field
	}
	if d := daemon.RetryAfter(err); d > 0 {
		extra.retryAfter = int64(math.Ceil(d.Seconds()))
	}
	return extra
}

// writeProblem answers with a failure.
func writeProblem(w http.ResponseWriter, err error, c *call) {
	p := problemOf(err, c)
	c.code = fault.Code(p.Code)
	for _, name := range []string{"Content-Encoding", "Coldframe-Version", "Coldframe-Proof"} {
		w.Header().Del(name)
	}
	httpapi.WriteProblem(w, p.Status, p.RetryAfter, p)
}
