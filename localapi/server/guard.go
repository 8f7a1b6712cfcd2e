package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"coldframe/columnar/format"
	"coldframe/daemon"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
)

// gate is what the guard asks the agent.
type gate interface {
	Authenticate(token string) (daemon.Caller, error)
	Touch()
	Refused(code fault.Code)
}

// guard checks every request before a handler sees it, in the order of docs/localapi.md: framing, Host, origin, preflight, upgrade, token, route,
// scope, type and parameters, limits, body.
type guard struct {
	gate  gate
	next  http.Handler
	slots chan struct{} // requests in work
	times times
	log   *accessLog
}

// times are the time limits of THREATS L11.
type times struct {
	head, idle, progress, heartbeat time.Duration
}

var defaultTimes = times{head: 5 * time.Second, idle: time.Minute, progress: 30 * time.Second, heartbeat: 15 * time.Second}

// ServeHTTP answers one request.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{id: newRequestID(), start: time.Now(), host: r.Host, accept: r.Header.Values("Accept"), contentLength: r.ContentLength}
	out := newAnswer(w, g.times.progress)
	out.unread = r.ContentLength != 0
	defer g.finish(out, r, c)
	err := g.admit(out, r, c)
	if err == nil {
		err = g.serve(out, r, c)
	}
	if err != nil {
		if out.started {
			panic(http.ErrAbortHandler) // the caller must see that the answer is not whole
		}
		writeProblem(out, err, c)
		g.log.internal(r, c, err)
	}
}

// finish logs the request. A panic becomes an error without its text, or the end of the connection if an answer had begun.
func (g *guard) finish(out *answer, r *http.Request, c *call) {
	p := recover()
	aborted := p != nil && (p == http.ErrAbortHandler || out.started) //nolint:errorlint // net/http compares it in the same way
	if p != nil && !aborted {
		writeProblem(out, fault.Internal, c)
	}
	g.log.request(out, r, c, aborted, p)
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// admit runs the checks that need no body.
func (g *guard) admit(out *answer, r *http.Request, c *call) error {
	k := connOf(r.Context())
	c.network = k.network
	for _, check := range []func(*http.Request, *call, *conn) error{checkFraming, checkHostList, checkOrigin, checkMethod} {
		if err := check(r, c, k); err != nil {
			g.gate.Refused(fault.CodeOf(err))
			return err
		}
	}
	if err := g.authenticate(r, c); err != nil {
		return err
	}
	if err := findOperation(out, r, c); err != nil {
		return err
	}
	if err := checkScope(c); err != nil {
		return err
	}
	return checkRequest(r, c)
}

// checkFraming answers in the place of a request that never became one.
func checkFraming(r *http.Request, _ *call, k *conn) error {
	if r.URL.Path != refusedPath {
		return nil
	}
	why := k.refused
	return withStatus(why.status, why.code, why.reason)
}

// checkHostList wants the Host to be one of the listener's, byte for byte (L02).
func checkHostList(r *http.Request, _ *call, k *conn) error {
	if !slices.Contains(k.hosts, r.Host) {
		return withStatus(http.StatusMisdirectedRequest, fault.InvalidRequest, "")
	}
	return nil
}

// checkOrigin refuses what a page in a browser sends (L04).
func checkOrigin(r *http.Request, _ *call, _ *conn) error {
	for _, name := range []string{"Origin", "Referer", "Sec-Fetch-Site"} {
		if _, ok := r.Header[name]; ok {
			return fault.New(fault.Forbidden, "requests of browsers are refused")
		}
	}
	return nil
}

// checkMethod refuses preflights (L05) and upgrades (L09).
func checkMethod(r *http.Request, _ *call, _ *conn) error {
	if r.Method == http.MethodOptions {
		return fault.New(fault.Forbidden, "there is no preflight")
	}
	if _, ok := r.Header["Upgrade"]; ok || strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade") {
		return fault.New(fault.Forbidden, "there is no upgrade")
	}
	return nil
}

// authenticate wants a valid token, except for GET /healthz (L03).
func (g *guard) authenticate(r *http.Request, c *call) error {
	if r.URL.Path == "/healthz" && r.Method == http.MethodGet {
		return nil
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return fault.Unauthorized
	}
	caller, err := g.gate.Authenticate(token)
	if err != nil {
		if errors.Is(err, fault.Unauthorized) {
			g.gate.Refused(fault.Unauthorized)
			return fault.Unauthorized
		}
		return err
	}
	c.caller, c.authenticated = caller, true
	return nil
}

// findOperation looks the request up in the table.
func findOperation(out *answer, r *http.Request, c *call) error {
	if r.URL.RawPath != "" {
		return fault.New(fault.NotFound, "there is nothing at this path")
	}
	rt, id, allow := findRoute(r.Method, r.URL.Path)
	switch {
	case rt == nil && allow != nil:
		out.Header().Set("Allow", strings.Join(allow, ", "))
		return withStatus(http.StatusMethodNotAllowed, fault.InvalidRequest, "this path takes "+strings.Join(allow, ", "))
	case rt == nil:
		return fault.New(fault.NotFound, "there is nothing at this path")
	case id != "" && !validID(id):
		return apicheck.InvalidField("id", "must be at most 64 lower-case letters, digits and hyphens")
	}
	c.route, c.object = rt, id
	return nil
}

// checkScope wants the token to be good for this operation, and for this dataset.
func checkScope(c *call) error {
	if c.route.scope == scopeNone || c.route.scope == scopeAny {
		return nil
	}
	id := ""
	if c.route.dataset {
		id = c.object
	}
	return c.caller.May(c.route.scope, id)
}

// checkRequest wants the right type (L06) and parameters that fit.
func checkRequest(r *http.Request, c *call) error {
	if err := checkType(r, c.route); err != nil {
		return err
	}
	op := checks[c.route.operation]
	if err := op.CheckQuery(r.URL.RawQuery); err != nil {
		return err
	}
	return op.CheckHeaders(r.Header)
}

func checkType(r *http.Request, rt *route) error {
	got := r.Header.Get("Content-Type")
	var accepted []string
	switch rt.body {
	case noBody:
		if r.ContentLength != 0 {
			return fault.New(fault.InvalidRequest, "this request takes no body")
		}
		return nil
	case jsonBody:
		accepted = []string{"application/json"}
	case tableBody:
		for _, k := range format.Kinds() {
			accepted = append(accepted, k.MediaType())
		}
	}
	if !slices.Contains(accepted, got) || r.Header.Get("Content-Encoding") != "" {
		e := &statusError{cause: fault.New(fault.UnsupportedMediaType, "the Content-Type must be exactly %s", strings.Join(accepted, " or "))}
		e.accepted = accepted
		return e
	}
	return nil
}

// serve takes a slot, prepares the body and calls the handler.
func (g *guard) serve(out *answer, r *http.Request, c *call) error {
	if !c.route.events {
		select {
		case g.slots <- struct{}{}:
			defer func() { <-g.slots }()
		default:
			e := &statusError{cause: fault.New(fault.Busy, "too many requests in work")}
			e.retryAfter = 1
			return e
		}
	}
	if !c.route.quiet && c.authenticated {
		g.gate.Touch()
	}
	if err := g.prepareBody(out, r, c); err != nil {
		return err
	}
	g.next.ServeHTTP(out, r.WithContext(withCall(r.Context(), c)))
	return out.failure
}

// prepareBody reads and checks a JSON body, or puts the time limit on a streamed one.
func (g *guard) prepareBody(out *answer, r *http.Request, c *call) error {
	if c.route.body == noBody {
		return nil
	}
	src := &progressBody{body: r.Body, out: out, limit: g.times.progress}
	if c.route.body == tableBody {
		r.Body = src
		return nil
	}
	src.by = time.Now().Add(g.times.progress)
	limit := c.route.bodyLimit()
	if r.ContentLength > limit {
		return fault.New(fault.TooLarge, "the body is larger than %d bytes", limit)
	}
	b, err := io.ReadAll(io.LimitReader(src, limit+1))
	if err != nil {
		return err
	}
	if int64(len(b)) > limit {
		return fault.New(fault.TooLarge, "the body is larger than %d bytes", limit)
	}
	if err := checks[c.route.operation].CheckBody(b); err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return nil
}
