package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"coldframe/internal/fault"
)

// pieceSize is how many bytes have to move within one time for progress, in either direction.
const pieceSize = 16 << 10

// pace is how slow a caller may be. Somebody on a slow line goes on for as long as it takes; somebody who stops, or nearly, is let go.
type pace struct {
	body    time.Duration // for each piece of a body
	answer  time.Duration // for each piece of an answer
	start   time.Duration // for an answer as a whole, in addition to its bytes at the slowest rate
	slowest int64         // bytes a second on average
	large   int64         // the same, for what an answer has beyond unlent: while it is read there is less room for others
	place   time.Duration // how long a request waits for room
}

// unlent is how many bytes an answer may have without a loan.
const unlent = 64 << 10

var defaultPace = pace{body: 8 * time.Second, answer: 10 * time.Second, start: 30 * time.Second, slowest: 16 << 10, large: 32 << 10, place: 5 * time.Second}

// bytes is how long n bytes may take on average.
func (p pace) bytes(n int64) time.Duration {
	return atRate(n, p.slowest)
}

// sent is how long n bytes of an answer may take on average.
func (p pace) sent(n int64) time.Duration {
	return atRate(min(n, unlent), p.slowest) + atRate(max(0, n-unlent), p.large)
}

func atRate(n, rate int64) time.Duration {
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// answer remembers what has gone out, and ends when its reader makes no progress.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	pace    pace
	endless bool // a stream of events: each write has its time, the whole has none
	call    *call

	status  int
	begun   time.Time
	written int64
	failure error // what the handler answers with; the guard makes the problem
}

// WriteHeader sends the status, once.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status, a.begun = status, time.Now()
		a.allowWrite()
		a.ResponseWriter.WriteHeader(status)
	}
}

// errUnlent is a mistake of a handler that makes large answers.
var errUnlent = errors.New("an answer has more bytes than there is room for without a loan")

// Write sends p piece by piece, each with its time.
func (a *answer) Write(p []byte) (n int, err error) {
	if a.call.loan == nil && !a.endless && a.written+int64(len(p)) > unlent {
		return 0, errUnlent
	}
	a.WriteHeader(http.StatusOK)
	for n < len(p) && err == nil {
		a.allowWrite()
		var m int
		m, err = a.ResponseWriter.Write(p[n:min(len(p), n+pieceSize)])
		n, a.written = n+m, a.written+int64(m)
	}
	return n, err
}

// Fail keeps the failure of the handler.
func (a *answer) Fail(err error) { a.failure = err }

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// allowWrite gives the next piece its time. The deadline also covers what net/http flushes after the handler.
func (a *answer) allowWrite() {
	by := time.Now().Add(a.pace.answer)
	if end := a.begun.Add(a.pace.start + a.pace.sent(a.written)); !a.endless && end.Before(by) {
		by = end
	}
	a.control.SetWriteDeadline(by) //nolint:errcheck // a dead connection shows in the write
}

// readBody reads a JSON body whole and checks it. A caller that makes no progress is not waited for.
func (a *answer) readBody(r *http.Request) ([]byte, error) {
	b := make([]byte, r.ContentLength)
	start := time.Now()
	for n := 0; n < len(b); {
		by, end := time.Now().Add(a.pace.body), start.Add(a.pace.body+a.pace.bytes(r.ContentLength))
		if end.Before(by) {
			by = end
		}
		a.control.SetReadDeadline(by) //nolint:errcheck // a dead connection shows in the read
		m, err := io.ReadFull(r.Body, b[n:min(len(b), n+pieceSize)])
		if err != nil {
			return nil, bodyError(err)
		}
		n += m
	}
	a.control.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	return b, nil
}

func bodyError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e := &statusError{cause: fault.Wrap(fault.Incomplete, err, "the body came too slowly")}
		e.status = http.StatusRequestTimeout
		return e
	}
	return fault.Wrap(fault.Incomplete, err, "the body ended early")
}
