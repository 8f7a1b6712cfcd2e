// Package fault gives every failure that a caller can meet one of a short list of codes. The codes are those of the threat model
// (section 2): the list only grows, and a code survives the wire, so that a client can use errors.Is on what came back.
package fault

import (
	"errors"
	"fmt"
)

// Code is the kind of a failure. A Code is itself an error, so errors.Is(err, fault.NotAuthentic) asks for the kind.
type Code string

// The codes, in the order of the threat model.
const (
	UntrustedKey         Code = "untrusted_key"
	KeyChanged           Code = "key_changed"
	NotAuthentic         Code = "not_authentic"
	RolledBack           Code = "rolled_back"
	Forked               Code = "forked"
	Stale                Code = "stale"
	Incomplete           Code = "incomplete"
	Policy               Code = "policy"
	TooLarge             Code = "too_large"
	Replayed             Code = "replayed"
	Revoked              Code = "revoked"
	Conflict             Code = "conflict"
	StorageFull          Code = "storage_full"
	Unavailable          Code = "unavailable"
	Locked               Code = "locked"
	InvalidRequest       Code = "invalid_request"
	Unauthorized         Code = "unauthorized"
	Forbidden            Code = "forbidden"
	NotFound             Code = "not_found"
	UnsupportedMediaType Code = "unsupported_media_type"
	Busy                 Code = "busy"
	Internal             Code = "internal"
)

// Error makes a Code an error, the target of errors.Is.
func (c Code) Error() string { return string(c) }

// Error is a failure of a known kind. Detail may be shown to the caller whose request failed: it never holds a secret, a path or
// another caller's data. Err is the cause, for the log.
type Error struct {
	Code   Code
	Detail string
	Err    error
}

// New returns a failure of kind c with a detail that its caller may see.
func New(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Detail: fmt.Sprintf(format, args...)}
}

// Wrap returns a failure of kind c caused by err. The cause is for the log alone; the caller sees the detail.
func Wrap(c Code, err error, format string, args ...any) *Error {
	return &Error{Code: c, Detail: fmt.Sprintf(format, args...), Err: err}
}

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is this failure's code.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// Transient reports whether a failure says nothing about what it failed with: the other end was not there, busy or full, the keys were
// locked, or somebody else was faster. Another try may succeed.
func Transient(err error) bool {
	switch CodeOf(err) {
	case Unavailable, Busy, Locked, StorageFull, Conflict, Unauthorized:
		return true
	}
	return false
}

// CodeOf returns the code of the outermost failure in err's chain, or Internal if there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if c, ok := errors.AsType[Code](err); ok {
		return c
	}
	return Internal
}
