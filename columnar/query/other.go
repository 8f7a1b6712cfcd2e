//go:build !linux

package query

import (
	"context"

	"coldframe/internal/fault"
)

type none struct{}

// New returns an engine that refuses: only Linux can confine it.
func New(Options) Engine { return none{} }

// Query implements Engine.
func (none) Query(context.Context, string, Find) (Result, error) {
	return nil, fault.New(fault.Unavailable, "queries need Linux")
}

// Warm implements Engine.
func (none) Warm(context.Context) error { return nil }

// Rest implements Engine.
func (none) Rest() {}
