package pme

import (
	"context"
	"errors"
	"runtime"

	"coldframe/internal/fault"
)

var errUndecodable = errors.New("pme: the decoder panicked")

// Guard runs fn, which reads a plain file with an outside decoder. Pages that their author sealed can still be nonsense, and decoders
// panic over nonsense: a panic becomes fault.NotAuthentic, as does an error without a code, the end of fn's context aside. Goroutines
// that fn starts are not covered.
func Guard(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			cause := errUndecodable // what a library panics with may quote the data
			if e, ok := r.(runtime.Error); ok {
				cause = e
			}
			err = fault.Wrap(fault.NotAuthentic, cause, "the data of a column cannot be decoded")
		}
	}()
	err = fn()
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case fault.CodeOf(err) == fault.Internal:
		return fault.Wrap(fault.NotAuthentic, err, "the data of a column cannot be decoded")
	}
	return err
}
