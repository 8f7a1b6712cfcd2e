package localapi

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"coldframe/internal/fault"
)

// Code is the kind of a failure; a Code is an error, the target of errors.Is.
type Code = fault.Code

// The codes. The list only grows.
const (
	UntrustedKey         = fault.UntrustedKey
	KeyChanged           = fault.KeyChanged
	NotAuthentic         = fault.NotAuthentic
	RolledBack           = fault.RolledBack
	Forked               = fault.Forked
	Stale                = fault.Stale
	Incomplete           = fault.Incomplete
	Policy               = fault.Policy
	TooLarge             = fault.TooLarge
	Replayed             = fault.Replayed
	Revoked              = fault.Revoked
	Conflict             = fault.Conflict
	StorageFull          = fault.StorageFull
	Unavailable          = fault.Unavailable
	Locked               = fault.Locked
	InvalidRequest       = fault.InvalidRequest
	Unauthorized         = fault.Unauthorized
	Forbidden            = fault.Forbidden
	NotFound             = fault.NotFound
	UnsupportedMediaType = fault.UnsupportedMediaType
	Busy                 = fault.Busy
	Internal             = fault.Internal
)

// ProblemType is the media type of a failure (RFC 9457).
const ProblemType = "application/problem+json"

const maxProblem = 64 << 10 // bytes of a problem that the client reads

// Error is a failure that the agent reported.
type Error struct{ Problem Problem }

func (e *Error) Error() string {
	s := e.Problem.Code
	if d := e.Problem.Detail; d != nil {
		s += ": " + *d
	} else if e.Problem.Title != "" {
		s += ": " + e.Problem.Title
	}
	return s
}

// Is reports whether target is the code of this failure.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && string(c) == e.Problem.Code
}

// RetryAfter is how long to wait before the next try; 0 if the agent did not say.
func (e *Error) RetryAfter() time.Duration {
	if e.Problem.RetryAfter == nil {
		return 0
	}
	return time.Duration(*e.Problem.RetryAfter) * time.Second
}

// errorOf reads the failure that a response holds.
func errorOf(r *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxProblem))
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the agent's answer broke off")
	}
	e := &Error{}
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || t != ProblemType || json.Unmarshal(b, &e.Problem) != nil || e.Problem.Code == "" {
		return fault.New(fault.Unavailable, "no agent of this kind: it answered with status %d and no problem", r.StatusCode)
	}
	return e
}

// transportError is the failure of a request that got no answer.
func transportError(err error) error {
	if fault.CodeOf(err) != fault.Internal {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "the agent does not answer")
}

// answer reads the JSON of a success into a T, or returns the failure. It closes the body.
func answer[T any](r *http.Response, err error) (T, error) {
	var v T
	if err != nil {
		return v, transportError(err)
	}
	defer r.Body.Close()
	if r.StatusCode/100 != 2 {
		return v, errorOf(r)
	}
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		return v, fault.Wrap(fault.Incomplete, err, "the agent's answer broke off")
	}
	return v, nil
}

// done is answer for a success without a body.
func done(r *http.Response, err error) error {
	if err != nil {
		return transportError(err)
	}
	defer r.Body.Close()
	if r.StatusCode/100 != 2 {
		return errorOf(r)
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}
