package pme

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"coldframe/internal/fault"
)

var errUndecodable = errors.New("pme: the decoder panicked")

// Guard runs fn, which reads a plain file with an outside decoder. Pages that their author sealed can still be nonsense, and decoders
// panic over nonsense: a panic becomes fault.NotAuthentic, as does an error without a code, the end of fn's context aside. A panic with
// a *fault.Error is that error. Goroutines that fn starts are not covered.
func Guard(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if e, ok := r.(*fault.Error); ok { // an allocator that is ours
				err = e
				return
			}
			cause := errUndecodable // what a library panics with may quote the data
			if e, ok := r.(runtime.Error); ok {
				cause = e
			}
			err = fault.Wrap(fault.NotAuthentic, cause, "the data of a column cannot be decoded")
		}
	}()
	err = fn()
	switch {
	case err == nil, stopped(err):
		return err
	case fault.CodeOf(err) == fault.Internal:
		return fault.Wrap(fault.NotAuthentic, err, "the data of a column cannot be decoded")
	}
	return err
}

// stopped reports whether err says that a context ended, and nothing else: arrow-go joins that to the error for which it ended its own.
func stopped(err error) bool {
	switch e := err.(type) { //nolint:errorlint // the whole tree is walked here
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !stopped(err) })
	case interface{ Unwrap() error }:
		return stopped(e.Unwrap())
	}
	return err == context.Canceled || err == context.DeadlineExceeded //nolint:errorlint // a leaf of the tree
}
