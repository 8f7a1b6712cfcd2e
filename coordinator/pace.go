package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"coldframe/internal/fault"
)

// pace is how slow a coordinator may be. A call on a slow line goes on for as long as bytes move; one that stops, or nearly, ends.
type pace struct {
	silence time.Duration // without a byte in either direction; longer until the answer begins, as what was sent may still be on its way
	start   time.Duration // for a call as a whole, in addition to its bytes at the slowest rate
	slowest int64         // bytes a second on average
}

var defaultPace = pace{silence: 30 * time.Second, start: time.Minute, slowest: 8 << 10}

var errSlow = fault.New(fault.Unavailable, "the coordinator makes no progress")

// NewTransport returns a transport for a client's requests with bounds on what net/http itself does: TLS 1.3, and no proxy, which the environment of a process
// would choose. An agent gives it its certificates and its dialler.
func NewTransport() *http.Transport {
	return &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}, MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
	}
}

// paced ends requests that make no progress.
type paced struct {
	next http.RoundTripper
	pace pace
}

type endlessKey struct{}

// endless marks a request whose answer has no end and its own sign of life.
func endless(ctx context.Context) context.Context { return context.WithValue(ctx, endlessKey{}, true) }

// RoundTrip makes one request. Its answer comes as it is sent: nothing is unpacked, so a byte read is a byte that came.
func (p *paced) RoundTrip(r *http.Request) (*http.Response, error) {
	w := newWatch(r.Context(), p.pace)
	r = r.Clone(w.ctx)
	r.Header.Set("Accept-Encoding", "identity")
	if r.ContentLength > 0 {
		r.Body = &watched{r.Body, w}
		w.again(r)
	}
	res, err := p.next.RoundTrip(r)
	if err != nil {
		defer w.end()
		return nil, w.cause(err)
	}
	w.answer()
	res.Body = &answerBody{watched{res.Body, w}}
	return res, nil
}

// CloseIdleConnections closes connections that no request uses.
func (p *paced) CloseIdleConnections() { (&http.Client{Transport: p.next}).CloseIdleConnections() }

// watch ends the context of a request that makes no progress.
type watch struct {
	ctx    context.Context //nolint:containedctx // it is what is ended
	cancel context.CancelCauseFunc
	pace   pace
	begun  time.Time
	stream bool // the answer's sign of life is somebody else's to see

	mu       sync.Mutex
	timer    *time.Timer
	bytes    int64
	answered bool // the answer has begun
}

func newWatch(ctx context.Context, p pace) *watch {
	w := &watch{pace: p, begun: time.Now(), stream: ctx.Value(endlessKey{}) != nil}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(p.silence, func() { w.cancel(errSlow) })
	return w
}

// again watches the body, too, of another try that the transport makes by itself.
func (w *watch) again(r *http.Request) {
	body := r.GetBody
	if body == nil {
		return
	}
	r.GetBody = func() (io.ReadCloser, error) {
		b, err := body()
		if err != nil {
			return nil, err
		}
		return &watched{b, w}, nil
	}
}

// moved says that n more bytes were sent or came.
func (w *watch) moved(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes += int64(n)
	slow := time.Duration(float64(w.bytes) / float64(w.pace.slowest) * float64(time.Second))
	left := w.pace.silence
	if !w.answered {
		left += slow
	}
	switch {
	case w.answered && w.stream:
		w.timer.Stop()
	case w.ctx.Err() == nil:
		w.timer.Reset(max(0, min(left, w.pace.start+slow-time.Since(w.begun))))
	}
}

func (w *watch) answer() {
	w.mu.Lock()
	w.answered = true
	w.mu.Unlock()
	w.moved(0)
}

// cause tells an end that the watch made from others.
func (w *watch) cause(err error) error {
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(w.ctx), errSlow) {
		return errSlow
	}
	return err
}

func (w *watch) end() {
	w.cancel(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
}

// watched is a body that is being sent.
type watched struct {
	io.ReadCloser
	w *watch
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.w.moved(n)
	return n, b.w.cause(err)
}

// answerBody is a body that is being received. Closing it ends the watch.
type answerBody struct{ watched }

// Close ends the request.
func (b *answerBody) Close() error {
	defer b.w.end()
	return b.ReadCloser.Close()
}
