package link

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"coldframe/internal/fault"
)

const (
	headTime = 20 * time.Second // until an answer begins
	callTime = 30 * time.Second // until it ends, unless it is the stream of events
)

// transport makes the requests of a link: it ends calls that take too long, and tells a watch in the context about the stream of events.
type transport struct{ next *http.Transport }

// watch is told about the stream of events of its context.
type watch struct {
	up  func()      // the stream is open
	end func(error) // it has ended, or there will be none
}

type watchKey struct{}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	w, _ := r.Context().Value(watchKey{}).(*watch)
	if w == nil || !strings.HasSuffix(r.URL.Path, "/v1/events") {
		return t.call(r)
	}
	res, err := t.next.RoundTrip(r)
	switch {
	case err != nil:
		w.end(fault.Wrap(fault.Unavailable, err, "the coordinator does not answer"))
		return nil, err
	case res.StatusCode == http.StatusOK:
		w.up()
		res.Body = &watched{res.Body, w.end, errStreamEnded}
	default:
		res.Body = &watched{res.Body, w.end, fault.New(codeOfStatus(res.StatusCode), "the coordinator gives no events")}
	}
	return res, nil
}

// call is a request whose answer has an end.
func (t *transport) call(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	res, err := t.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = &watched{res.Body, func(error) { cancel() }, nil}
	return res, nil
}

var errStreamEnded = fault.New(fault.Unavailable, "the stream of events ended")

func codeOfStatus(status int) fault.Code {
	switch status {
	case http.StatusUnauthorized:
		return fault.Unauthorized
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return fault.Busy
	}
	return fault.Unavailable
}

// watched is a body that tells when it is done with.
type watched struct {
	io.ReadCloser
	end   func(error)
	cause error
}

// Close implements io.Closer.
func (b *watched) Close() error {
	err := b.ReadCloser.Close()
	b.end(b.cause)
	return err
}
