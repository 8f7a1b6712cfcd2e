package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
)

// room is how much of everything there is for requests in work. Requests are counted from the moment in which it is known who sends them; a body has its
// room before it is read, an answer before it is made. Nobody has more than a sixteenth of anything by one account, and of decoded a quarter: what
// they have of large. Logins, and small bodies, have room of their own, so that nobody who sends large ones, or messages, keeps others from logging in.
type room struct {
	requests amounts // that are known by account or address; their number as a whole is bounded by the connections
	handlers amounts // requests whose handler runs or whose answer is being sent
	logins   amounts // bytes of bodies of callers without a session
	small    amounts // bytes of bodies of up to smallBody
	large    amounts // bytes of other bodies
	decoded  amounts // bytes of those that are there and in work: each takes four times as much beside it then
	answers  amounts // bytes of answers of more than smallAnswer, as they are stored, until their readers have them
}

const (
	smallBody   = 264 << 10
	leastBody   = 4 << 10  // what the smallest body counts for
	smallAnswer = 32 << 10 // an answer of so many stored bytes is made without a loan, whoever has all the room; it is less than unlent then
)

var defaultRoom = room{
	requests: amounts{all: 1 << 20, account: 16, address: 256},
	handlers: amounts{all: 512},
	logins:   amounts{all: 16 << 20, address: 1 << 20},
	small:    amounts{all: 32 << 20, account: 2 << 20, address: 4 << 20},
	large:    amounts{all: 88 << 20, account: 5632 << 10, address: 24 << 20},
	decoded:  amounts{all: 22 << 20},
	answers:  amounts{all: 72 << 20, account: 4608 << 10, address: 36 << 20},
}

// checks holds the compiled schemas of every operation in openapi.yaml.
var checks = apicheck.MustCompile(decodeSpec)

// call is what the guard knows of a request. Handlers find it in the context.
type call struct {
	id      string
	route   *route
	caller  state.Caller
	token   string
	address string // key of it, empty if it says nothing
	site    string // the same, of its site
	start   time.Time
	code    fault.Code // of the failure that was answered

	lend func(ctx context.Context, n int64) error // makes room for an answer of n bytes, or returns errBusy
	loan *loan                                    // for the answer; nil if it needs little
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// guard checks every request before a handler sees it.
type guard struct {
	*Server
	next http.Handler

	requests, handlers, logins, small, large, decoded, answers *pool
}

func newGuard(s *Server, next http.Handler) *guard {
	r := s.o.room
	return &guard{
		Server: s, next: next,
		requests: newPool(r.requests), handlers: newPool(r.handlers), logins: newPool(r.logins), small: newPool(r.small), large: newPool(r.large),
		decoded: newPool(r.decoded), answers: newPool(r.answers),
	}
}

// ServeHTTP answers one request.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{id: strings.ToLower(rand.Text()), start: time.Now()}
	if !g.o.Proxied {
		c.address, c.site = addressKey(r.RemoteAddr), siteKey(r.RemoteAddr)
	}
	out := &answer{ResponseWriter: w, control: http.NewResponseController(w), pace: g.o.pace, call: c}
	if r.ContentLength != 0 {
		// net/http reads what is left of a body before it answers; a caller that sends nothing must not hold it up.
		out.control.SetReadDeadline(time.Now().Add(g.o.pace.body)) //nolint:errcheck // a dead connection shows in the read
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if g.nearlyFull() {
		w.Header().Set("Connection", "close")
	}
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
	if err := g.limits.takeAddress(limitAddress, c); err != nil {
		return err
	}
	if _, ok := r.Header["Origin"]; ok || r.Header.Get("Upgrade") != "" {
		return fault.New(fault.Forbidden, "requests of browsers are refused")
	}
	if err := g.takeRate(r, c); err != nil {
		return err
	}
	return checkRequest(r, c, name, value)
}

// takeRate finds out who sends a request, and counts it for the account, or for the address where nobody needs to be known.
func (g *guard) takeRate(r *http.Request, c *call) error {
	if !c.route.open {
		if err := g.authenticate(r, c); err != nil {
			return err
		}
		return g.limits.take(c.route.limit, string(c.caller.User))
	}
	if c.route.limit == limitAddress { // it was counted
		return nil
	}
	return g.limits.takeAddress(c.route.limit, c)
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

// serve makes room for the request, reads and checks the body and calls the handler.
func (g *guard) serve(out *answer, r *http.Request, c *call) error {
	out.endless = c.route.streaming
	if c.route.streaming {
		return g.handle(out, r, c)
	}
	own, err := g.borrow(r.Context(), g.requests, c, 1)
	if err != nil {
		return err
	}
	defer own.release()
	if c.route.body {
		body, err := g.takeBody(out, r, c)
		defer body.release()
		if err != nil {
			return err
		}
	}
	place, err := g.borrow(r.Context(), g.handlers, c, 1)
	if err != nil {
		return err
	}
	defer place.release()
	if c.route.body && !c.route.open { // the session may have ended while the body came
		if err := g.authenticate(r, c); err != nil {
			return err
		}
	}
	c.lend = func(ctx context.Context, n int64) (err error) {
		if n > smallAnswer {
			c.loan, err = g.borrow(ctx, g.answers, c, n)
		}
		return err
	}
	defer func() { c.loan.release() }()
	return g.handle(out, r, c)
}

func (g *guard) borrow(ctx context.Context, p *pool, c *call, n int64) (*loan, error) {
	ctx, cancel := context.WithTimeout(ctx, g.o.pace.place)
	defer cancel()
	return p.take(ctx, c, n)
}

// loans are what a body has, while it comes and while it is in work.
type loans []*loan

func (l loans) release() {
	for _, own := range l {
		own.release()
	}
}

// takeBody makes room for the body, reads it and checks it. A large one waits, once it is there, until few others are in work.
func (g *guard) takeBody(out *answer, r *http.Request, c *call) (all loans, err error) {
	p, n := g.small, max(leastBody, r.ContentLength)
	switch {
	case c.route.open:
		p = g.logins
	case n > smallBody:
		p = g.large
	}
	l, err := g.borrow(r.Context(), p, c, n)
	if err != nil {
		return nil, err
	}
	all = loans{l}
	b, err := out.readBody(r)
	if err == nil && p == g.large {
		if l, err = g.borrow(r.Context(), g.decoded, c, n); err == nil {
			all = append(all, l)
		}
	}
	if err == nil {
		err = checks[c.route.operation].CheckBody(b)
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return all, err
}

func (g *guard) handle(out *answer, r *http.Request, c *call) error {
	g.next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	return out.failure
}
