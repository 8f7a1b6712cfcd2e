package coordinatortest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"coldframe/coordinator"
)

// Exchange is one request and its answer. It belongs to the hook while that runs.
type Exchange struct {
	Number    int                // counts from 1
	Operation string             // its id in openapi.yaml; empty if there is none
	Caller    coordinator.UserID // whose token it is, or who logs in; empty if that is not known
	Method    string
	Path      string // escaped
	Query     string
	Header    http.Header
	Body      []byte

	Branch  *Branch                   // who answers
	Answer  *Answer                   // what is sent; of Forward, or the hook's own
	OnEvent func(event string) string // changes each event of a stream, as it stands there with its empty line; "" takes it out; it may wait

	c       *Coordinator
	ctx     context.Context //nolint:containedctx // as http.Request
	dropped bool
	closers []func()
}

// Answer is what is sent. A Status of 0 is none: the server was not there or ended, and the connection is cut.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // empty for a stream of events
	Cut    int    // if positive: the connection is cut after so many bytes of the body

	stream io.Reader
}

// Context ends when the caller has gone.
func (e *Exchange) Context() context.Context { return e.ctx }

// Drop cuts the connection instead of answering; within OnEvent, instead of going on.
func (e *Exchange) Drop() { e.dropped = true }

// Forward lets the branch do what is asked, sets Answer and returns it. Each call is another request to the branch.
func (e *Exchange) Forward() *Answer {
	e.Answer = e.Branch.answer(e)
	e.c.answered(e)
	return e.Answer
}

func (e *Exchange) close() {
	for _, fn := range e.closers {
		fn()
	}
}

// Clone returns a copy that may be used as an answer at another time. Streams of events cannot be copied.
func (a *Answer) Clone() *Answer {
	return &Answer{Status: a.Status, Header: a.Header.Clone(), Body: bytes.Clone(a.Body), Cut: a.Cut}
}

// JSON makes an answer.
func JSON(status int, v any) *Answer { return answerOf("application/json", status, v) }

// Problem makes the answer of a failure.
func Problem(status int, code string) *Answer {
	return answerOf(coordinator.ProblemType, status, coordinator.Problem{Type: "urn:coldframe:problem:" + code, Title: code, Status: status, Code: code, RequestId: "test"})
}

func answerOf(kind string, status int, v any) *Answer {
	b, err := json.Marshal(v)
	if err != nil {
		panic("coordinatortest: " + err.Error()) // what a test says is JSON
	}
	return &Answer{Status: status, Header: http.Header{"Content-Type": {kind}}, Body: b}
}

// answer sends the request to the branch's server.
func (b *Branch) answer(e *Exchange) *Answer {
	b.mu.Lock()
	url, alive := b.url, b.alive
	b.mu.Unlock()
	if alive == nil {
		return &Answer{}
	}
	ctx, cancel := context.WithCancel(e.ctx)
	stop := context.AfterFunc(alive, cancel)
	target := url + e.Path
	if e.Query != "" {
		target += "?" + e.Query
	}
	r, err := http.NewRequestWithContext(ctx, e.Method, target, bytes.NewReader(e.Body))
	if err != nil {
		cancel()
		return &Answer{}
	}
	r.Header = e.Header.Clone()
	for _, name := range []string{"Connection", "Content-Length", "Accept-Encoding"} {
		r.Header.Del(name)
	}
	res, err := b.transport.RoundTrip(r)
	if err != nil {
		cancel()
		b.c.server.Logger.Debug("no answer", slog.Int("exchange", e.Number), slog.String("error", err.Error()))
		return &Answer{}
	}
	e.closers = append(e.closers, sync.OnceFunc(func() { stop(); cancel(); res.Body.Close() }))
	return e.read(res)
}

func (e *Exchange) read(res *http.Response) *Answer {
	a := &Answer{Status: res.StatusCode, Header: res.Header.Clone()}
	if res.Header.Get("Content-Type") == "text/event-stream" {
		a.stream = res.Body
		return a
	}
	a.Header.Del("Content-Length")
	var err error
	if a.Body, err = io.ReadAll(res.Body); err != nil {
		return &Answer{}
	}
	e.c.learn(a.Body)
	return a
}
