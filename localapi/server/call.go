package server

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"time"

	"coldframe/daemon"
	"coldframe/internal/fault"
)

// call is what the guard knows of a request. Handlers find it in the context.
type call struct {
	id            string // of the request, for the log and the caller
	route         *route
	caller        daemon.Caller
	authenticated bool
	object        string // the {id} of the path
	host          string
	network       string // "unix" or "tcp"
	accept        []string
	contentLength int64
	start         time.Time
	code          fault.Code // of the failure that was answered
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callOf returns the call of a request that came through the guard.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

var requestIDCoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func newRequestID() string {
	var b [10]byte
	rand.Read(b[:]) //nolint:errcheck // ends the process instead of failing
	return requestIDCoding.EncodeToString(b[:])
}
