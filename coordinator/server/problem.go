package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"coldframe/coordinator/state"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
	"coldframe/internal/httpapi"
)

// kinds gives the codes that occur here their status and title.
var kinds = map[fault.Code]struct {
	status int
	title  string
}{
	fault.Incomplete:           {http.StatusBadRequest, "The request broke off"},
	fault.Policy:               {http.StatusUnprocessableEntity, "Refused by policy"},
	fault.TooLarge:             {http.StatusRequestEntityTooLarge, "Too large"},
	fault.Conflict:             {http.StatusConflict, "In conflict with the present state"},
	fault.StorageFull:          {http.StatusInsufficientStorage, "No room left"},
	fault.Unavailable:          {http.StatusServiceUnavailable, "Not available now"},
	fault.InvalidRequest:       {http.StatusBadRequest, "The request is not valid"},
	fault.Unauthorized:         {http.StatusUnauthorized, "Not logged in"},
	fault.Forbidden:            {http.StatusForbidden, "Not allowed"},
	fault.NotFound:             {http.StatusNotFound, "Not found"},
	fault.UnsupportedMediaType: {http.StatusUnsupportedMediaType, "Not one of the accepted types"},
	fault.Busy:                 {http.StatusServiceUnavailable, "Busy; try again later"},
	fault.Internal:             {http.StatusInternalServerError, "Something went wrong in the coordinator"},
}

// problemExtra is what a failure adds to its problem.
type problemExtra struct {
	status     int // 0: that of the code
	field      string
	retryAfter int64
	resource   state.Resource
}

// statusError is a failure with a status other than that of its code, or with a time to wait.
type statusError struct {
	cause *fault.Error
	problemExtra
}

func (e *statusError) Error() string { return e.cause.Error() }

// Unwrap returns the failure.
func (e *statusError) Unwrap() error { return e.cause }

// operator is the caller of what comes over the operator's socket. No user has such an id.
const operator state.UserID = "operator"

// problemOf makes the problem of a failure. The detail goes only to callers with a session, and to the operator alone where it is about this machine: how
// much room the disk has, or what failed.
func problemOf(err error, c *call) Problem {
	code, detail, extra := classify(err)
	kind := kinds[code]
	if extra.status != 0 {
		kind.status = extra.status
	}
	p := Problem{Type: "urn:coldframe:problem:" + string(code), Title: kind.title, Status: kind.status, Code: string(code), RequestId: c.id}
	if extra.retryAfter > 0 {
		p.RetryAfter = &extra.retryAfter
	}
	p.Resource = optional(string(extra.resource))
	ofMachine := code == fault.Unavailable || extra.resource == state.DiskResource
	if c.caller.User == operator || c.caller.User != "" && !ofMachine {
		p.Detail, p.Field = optional(detail), optional(extra.field)
	}
	return p
}

func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// classify finds the code, the detail and the rest of a failure. What has no code of its own is internal, without a detail.
func classify(err error) (code fault.Code, detail string, extra problemExtra) {
	if e, ok := errors.AsType[*statusError](err); ok {
		extra = e.problemExtra
	}
	if e, ok := errors.AsType[*state.WaitError](err); ok {
		extra.status, extra.retryAfter = http.StatusTooManyRequests, int64((e.After+time.Second-1)/time.Second)
	}
	if e, ok := errors.AsType[*apicheck.FieldError](err); ok {
		extra.field = e.Field
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok && e.Code/100 == 4 { // a body that the generated code cannot bind
		return fault.InvalidRequest, "", extra
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Unavailable, "", extra
	}
	code = fault.CodeOf(err)
	if _, known := kinds[code]; !known || code == fault.Internal {
		return fault.Internal, "", extra
	}
	if code == fault.StorageFull {
		extra.resource = state.DiskResource
		if e, ok := errors.AsType[*state.FullError](err); ok {
			extra.resource = e.Resource
		}
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		detail = e.Detail
	}
	return code, detail, extra
}

// writeProblem answers with a failure.
func writeProblem(w http.ResponseWriter, err error, c *call) {
	p := problemOf(err, c)
	c.code = fault.Code(p.Code)
	httpapi.WriteProblem(w, p.Status, p.RetryAfter, p)
}
