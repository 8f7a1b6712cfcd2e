package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"coldframe/internal/fault"
)

// answer writes the headers of THREATS L08 with every answer and ends one that makes no progress.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration // for one write

	unread  bool // the body has not been read to its end
	status  int
	bytes   int64
	started bool  // the status has gone
	failure error // what the handler answers with; the guard makes the problem
}

// drainTime is how long the rest of the body of a refused request is read, so that its answer arrives.
const drainTime = time.Second

func newAnswer(w http.ResponseWriter, limit time.Duration) *answer {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	return &answer{ResponseWriter: w, control: http.NewResponseController(w), limit: limit, status: http.StatusOK}
}

// WriteHeader sends the status, once.
func (a *answer) WriteHeader(status int) {
	if a.started {
		return
	}
	a.started, a.status = true, status
	a.allowWrite()
	if a.unread {
		// net/http reads what is left of the body before it answers; a caller that sends nothing must not hold it up.
		a.control.SetReadDeadline(time.Now().Add(min(drainTime, a.limit/2))) //nolint:errcheck // a dead connection shows in the write
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if !a.started {
		a.WriteHeader(http.StatusOK)
	}
	a.allowWrite()
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// Flush sends what is buffered.
func (a *answer) Flush() { a.FlushError() } //nolint:errcheck // http.Flusher has no error

// FlushError is what http.ResponseController calls.
func (a *answer) FlushError() error {
	a.allowWrite()
	return a.control.Flush()
}

// Fail keeps the failure of the handler.
func (a *answer) Fail(err error) { a.failure = err }

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// allowWrite gives the next write its time. The deadline also covers what net/http flushes after the handler.
func (a *answer) allowWrite() {
	a.control.SetWriteDeadline(time.Now().Add(a.limit)) //nolint:errcheck // a dead connection shows in the write
}

// progressBody ends a body that makes no progress: each read has limit, or all of them until by.
type progressBody struct {
	body  io.ReadCloser
	out   *answer
	limit time.Duration
	by    time.Time

	interrupted atomic.Bool
}

// Interrupt ends the read that waits and all that follow: the caller's work was ended by something other than its body.
func (b *progressBody) Interrupt() {
	b.interrupted.Store(true)
	b.out.control.SetReadDeadline(time.Now()) //nolint:errcheck // a dead connection shows in the read
}

func (b *progressBody) Read(p []byte) (int, error) {
	by := b.by
	if by.IsZero() {
		by = time.Now().Add(b.limit)
	}
	b.out.control.SetReadDeadline(by) //nolint:errcheck // a dead connection shows in the read
	if b.interrupted.Load() {         // looked at after the deadline was moved, so that an interrupt is never lost
		return 0, bodyError(os.ErrDeadlineExceeded)
	}
	n, err := b.body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.out.unread = false
		b.out.control.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	case err != nil:
		err = bodyError(err)
	}
	return n, err
}

func (b *progressBody) Close() error { return b.body.Close() }

// bodyError gives a failure to read the body its code.
func bodyError(err error) error {
	switch {
	case errors.Is(err, errFraming):
		return &statusError{cause: errFraming}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &statusError{
			cause:        fault.Wrap(fault.Incomplete, err, "the body made no progress"),
			problemExtra: problemExtra{status: http.StatusRequestTimeout},
		}
	}
	return &statusError{
		cause:        fault.Wrap(fault.Incomplete, err, "the body ended early"),
		problemExtra: problemExtra{status: http.StatusBadRequest},
	}
}
