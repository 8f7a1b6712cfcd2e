package main

import (
	"errors"

	"coldframe/internal/fault"
	"coldframe/localapi"
)

// Exit codes, documented in docs/cli.md. A script can tell what to do next from them alone.
const (
	exitOK          = 0
	exitFailure     = 1 // anything that has no code of its own
	exitUsage       = 2 // wrong arguments or bad input; nothing was done
	exitLocked      = 3 // unlock first
	exitUntrusted   = 4 // what came from store or vault is not what was signed, or the password is wrong (the two look the same)
	exitNotFound    = 5
	exitConflict    = 6 // somebody else changed it, or the same key was used for another request
	exitUnavailable = 7 // agent, store or network not there, or busy: try again later
	exitStorageFull = 8
	exitRefused     = 9 // policy, missing permission
	exitInterrupted = 130
)

var exitCodes = map[fault.Code]int{
	fault.Locked:               exitLocked,
	fault.NotAuthentic:         exitUntrusted,
	fault.RolledBack:           exitUntrusted,
	fault.Forked:               exitUntrusted,
	fault.Incomplete:           exitUntrusted,
	fault.Stale:                exitUntrusted,
	fault.Replayed:             exitUntrusted,
	fault.UntrustedKey:         exitUntrusted,
	fault.KeyChanged:           exitUntrusted,
	fault.Revoked:              exitUntrusted,
	fault.NotFound:             exitNotFound,
	fault.Conflict:             exitConflict,
	fault.Unavailable:          exitUnavailable,
	fault.Busy:                 exitUnavailable,
	fault.StorageFull:          exitStorageFull,
	fault.Policy:               exitRefused,
	fault.Unauthorized:         exitRefused,
	fault.Forbidden:            exitRefused,
	fault.InvalidRequest:       exitUsage,
	fault.TooLarge:             exitUsage,
	fault.UnsupportedMediaType: exitUsage,
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[interrupted](err); ok {
		return exitInterrupted
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[badInput](err); ok {
		return exitUsage
	}
	if code, ok := exitCodes[codeOf(err)]; ok {
		return code
	}
	return exitFailure
}

// badInput is a failure for which the file that was to be written is to blame.
type badInput struct{ error }

func (e badInput) Unwrap() error { return e.error }

// interrupted is what any failure is once the command was interrupted.
type interrupted struct{ error }

// advised is a failure with what can be done about it, for a person.
type advised struct {
	error
	advice string
}

func (e advised) Unwrap() error { return e.error }

// codeOf returns the code of a failure here or in the agent.
func codeOf(err error) fault.Code {
	if e, ok := errors.AsType[*localapi.Error](err); ok {
		return fault.Code(e.Problem.Code)
	}
	return fault.CodeOf(err)
}

// usageError is a call of the command line that cannot be taken.
type usageError struct{ error }
