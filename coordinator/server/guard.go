package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"coldframe/coordinator/state"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
)

const (
	requestsInWork = 512
	bodiesInWork   = 64 << 20 // bytes of all bodies that are read at once
	writeTime      = 30 * time.Second
	bodyTime       = 8 * time.Second // to send a body, and a second more for each slowBody bytes
	slowBody       = 64 << 10
)

// checks holds the compiled schemas of every operation in openapi.yaml.
var checks = mustCompile()

func mustCompile() map[string]*apicheck.Operation {
	text, err := decodeSpec()
	if err != nil {
		panic("server: " + err.Error())
	}
	c, err := apicheck.Compile(text)
	if err != nil {
		panic("server: " + err.Error())
	}
	return c
}

// call is what the guard knows of a request. Handlers find it in the context.
type call struct {
	id      string
	route   *route
	caller  state.Caller
	token   string
	address string // key of it, empty if it says nothing
	start   time.Time
	code    fault.Code // of the failure that was answered
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// guard checks every request before a handler sees it.
type guard struct {
	*Server
	next   http.Handler
	slots  chan struct{}
	bodies *semaphore.Weighted
}

// answer remembers what has gone out.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	failure error // what the handler answers with; the guard makes the problem
}

// WriteHeader sends the status, once.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
		a.allowWrite()
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write gives each write its time.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.allowWrite()
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) allowWrite() {
	a.control.SetWriteDeadline(time.Now().Add(writeTime)) //nolint:errcheck // a dead connection shows in the write
}

// ServeHTTP answers one request.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{id: strings.ToLower(rand.Text()), start: time.Now()}
	if !g.o.Proxied {
		c.address = addressKey(r.RemoteAddr)
	}
	out := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
	if r.ContentLength != 0 {
		// net/http reads what is left of a body before it answers; a caller that sends nothing must not hold it up.
		out.control.SetReadDeadline(time.Now().Add(bodyTime)) //nolint:errcheck // a dead connection shows in the read
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	defer g.finish(out, r, c)
	err := g.admit(out, r, c)
	if err == nil {
		err = g.serve(out, r, c)
	}
	if err != nil {
		g.fail(out, r, c, err)
	}
}

func (g *guard) fail(out *answer, r *http.Request, c *call, err error) {
	if out.status != 0 {
		panic(http.ErrAbortHandler) // the caller must see that the answer is not whole
	}
	writeProblem(out, err, c)
	if c.code == fault.Internal || c.code == fault.Unavailable {
		g.log.failure(r, c, err)
	}
}

// finish logs the request. A panic becomes an error without its text, or the end of the connection if an answer had begun.
func (g *guard) finish(out *answer, r *http.Request, c *call) {
	p := recover()
	aborted := p != nil && (p == http.ErrAbortHandler || out.status != 0) //nolint:errorlint // net/http compares it in the same way
	if p != nil && !aborted {
		writeProblem(out, fault.Internal, c)
	}
	g.log.request(r, c, out.status, aborted, p)
	g.metrics.request(c, out.status)
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// admit runs the checks that need no body: route, rate of the address, browser, token, rate of the account, type and parameters.
func (g *guard) admit(out *answer, r *http.Request, c *call) error {
	name, value, err := g.findOperation(out, r, c)
	if err != nil {
		return err
	}
	if err := g.limits.take(limitAddress, c.address); err != nil {
		return err
	}
	if _, ok := r.Header["Origin"]; ok || r.Header.Get("Upgrade") != "" {
		return fault.New(fault.Forbidden, "requests of browsers are refused")
	}
	key := c.address
	if !c.route.open {
		if err := g.authenticate(r, c); err != nil {
			return err
		}
		key = string(c.caller.User)
	}
	if c.route.limit != limitAddress {
		if err := g.limits.take(c.route.limit, key); err != nil {
			return err
		}
	}
	return checkRequest(r, c, name, value)
}

func (g *guard) findOperation(out *answer, r *http.Request, c *call) (name, value string, err error) {
	rt, name, value, allow := findRoute(r.Method, r.URL.Path)
	switch {
	case r.URL.RawPath != "" || rt == nil && allow == nil:
		return "", "", fault.New(fault.NotFound, "there is nothing at this path")
	case rt == nil:
		out.Header().Set("Allow", strings.Join(allow, ", "))
		e := &statusError{cause: fault.New(fault.InvalidRequest, "this path takes %s", strings.Join(allow, ", "))}
		e.status = http.StatusMethodNotAllowed
		return "", "", e
	}
	c.route = rt
	return name, value, nil
}

func (g *guard) authenticate(r *http.Request, c *call) error {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(token) > 128 {
		return fault.Unauthorized
	}
	caller, err := g.state.Authenticate(r.Context(), token)
	if err != nil {
		return err
	}
	c.caller, c.token = caller, token
	if caller.Recovery && !c.route.recovery {
		return fault.New(fault.Forbidden, "the session of a recovery proof reads blobs and replaces the login proof")
	}
	return nil
}

// checkRequest wants the right type, a length, and parameters that fit.
func checkRequest(r *http.Request, c *call, name, value string) error {
	op := checks[c.route.operation]
	if name != "" {
		if err := op.CheckPath(name, value); err != nil {
			return err
		}
	}
	if err := checkType(r, c.route); err != nil {
		return err
	}
	if err := op.CheckQuery(r.URL.RawQuery); err != nil {
		return err
	}
	return op.CheckHeaders(r.Header)
}

func checkType(r *http.Request, rt *route) error {
	switch {
	case !rt.body && r.ContentLength != 0:
		return fault.New(fault.InvalidRequest, "this request takes no body")
	case !rt.body:
		return nil
	case r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Content-Encoding") != "":
		return fault.New(fault.UnsupportedMediaType, "the Content-Type must be exactly application/json")
	case r.ContentLength < 0:
		e := &statusError{cause: fault.New(fault.InvalidRequest, "the length of the body is needed")}
		e.status = http.StatusLengthRequired
		return e
	case r.ContentLength > rt.bodyLimit():
		return fault.New(fault.TooLarge, "the body is larger than %d bytes", rt.bodyLimit())
	}
	return nil
}

var errBusy = &statusError{cause: fault.New(fault.Busy, "too many requests in work"), problemExtra: problemExtra{retryAfter: 1}}

// serve takes a slot, reads and checks the body and calls the handler.
func (g *guard) serve(out *answer, r *http.Request, c *call) error {
	if !c.route.streaming {
		select {
		case g.slots <- struct{}{}:
			defer func() { <-g.slots }()
		default:
			return errBusy
		}
	}
	if c.route.body {
		if !g.bodies.TryAcquire(r.ContentLength) {
			return errBusy
		}
		defer g.bodies.Release(r.ContentLength)
		if err := readBody(out, r, c); err != nil {
			return err
		}
	}
	g.next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	return out.failure
}

// readBody reads a JSON body whole and checks it. A caller that is too slow is not waited for.
func readBody(out *answer, r *http.Request, c *call) error {
	until := bodyTime + time.Duration(r.ContentLength/slowBody)*time.Second
	out.control.SetReadDeadline(time.Now().Add(until)) //nolint:errcheck // a dead connection shows in the read
	b := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, b); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			e := &statusError{cause: fault.Wrap(fault.Incomplete, err, "the body came too slowly")}
			e.status = http.StatusRequestTimeout
			return e
		}
		return fault.Wrap(fault.Incomplete, err, "the body ended early")
	}
	out.control.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	if err := checks[c.route.operation].CheckBody(b); err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return nil
}
