package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"coldframe/internal/fault"
)

const early = 30 * time.Second // before its end an access token is exchanged

// Session is what an agent keeps of its login. It is a secret.
type Session struct {
	User    UserID    `json:"user"`
	Access  string    `json:"access"`
	Until   time.Time `json:"until"` // of the access token, by the agent's own clock
	Refresh string    `json:"refresh"`
	Device  DeviceID  `json:"device"`
	Request string    `json:"request"` // id under which Refresh will be exchanged
}

// String hides the tokens.
func (s Session) String() string { return "session of " + s.User }

// GoString hides the tokens.
func (s Session) GoString() string { return s.String() }

// Options of a client.
type Options struct {
	// HTTP makes the requests: it knows which certificates and addresses are good. It is not changed; redirects are not followed, and its time limit is not
	// used, as the client has limits of its own. Its transport is best one of NewTransport, which is the default.
	HTTP *http.Client
	// Session is that of an earlier client, or empty. One session has one client at a time: two that exchange its refresh token are a thief and an owner to the
	// coordinator, which ends it.
	Session Session
	// Device is the id of this agent's device, under which it logs in: a UUID that it keeps for good. If it is empty it is that of Session, or a new one.
	Device DeviceID
	// Save stores a session durably before it is used: a refresh token is good once, and whoever forgets the new one has to log in again. It may call User
	// and Device, and wait for who does; no other method.
	Save func(Session) error
	// Now is the agent's clock.
	Now func() time.Time

	pace pace
}

// Client talks to one coordinator as one user. Its methods may be called by several goroutines. Failures carry the coordinator's code: errors.Is(err,
// fault.Conflict). fault.Unavailable is also a coordinator that does not answer; whether it did what was asked is open then, and asking again is right.
//
// Nothing that a coordinator sends is taken without a bound: answers have at most 6 MiB and a few levels (fault.TooLarge), come with some progress
// (fault.Unavailable), and report only failures that a coordinator can know about; what is left of them for people to read is short and printable.
type Client struct {
	url  string
	raw  *Raw
	http *http.Client
	o    Options

	exchange chan struct{} // holds a value while tokens are asked for and saved, by one caller at a time

	mu      sync.Mutex // held around session alone, never over a request or Save: those of other packages wait for locks of their own
	session Session
}

// New returns a client of the coordinator at an address, https://host[:port]. Plain http is for loopback addresses, and for whoever gives a transport of their own
// and judges addresses there; anything else is fault.InvalidRequest.
func New(address string, o Options) (*Client, error) {
	if err := checkURL(address, o.HTTP != nil && o.HTTP.Transport != nil); err != nil {
		return nil, err
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{}
	}
	if o.pace == (pace{}) {
		o.pace = defaultPace
	}
	if o.Save == nil {
		o.Save = func(Session) error { return nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Device == "" {
		o.Device = o.Session.Device
	}
	if o.Device == "" {
		o.Device = NewRequestID()
	}
	own := *o.HTTP
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar, own.Timeout = nil, 0
	if own.Transport == nil {
		own.Transport = NewTransport()
	}
	own.Transport = &paced{own.Transport, o.pace}
	raw, err := NewClient(address, WithHTTPClient(&own))
	if err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "not the address of a coordinator")
	}
	return &Client{url: address, raw: raw, http: &own, o: o, exchange: make(chan struct{}, 1), session: o.Session}, nil
}

// URL returns the address that the client was made with.
func (c *Client) URL() string { return c.url }

var errAddress = fault.New(fault.InvalidRequest, "a coordinator's address is https://host[:port]")

// checkURL refuses what is more than an address, and plain http to others than this machine unless it is judged elsewhere.
func checkURL(text string, judged bool) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return errAddress
	}
	ip, err := netip.ParseAddr(u.Hostname())
	local := err == nil && ip.IsLoopback() || u.Hostname() == "localhost"
	if u.Scheme != "https" && (u.Scheme != "http" || !local && !judged) {
		return errAddress
	}
	return nil
}

// Close closes connections that no request uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// NewRequestID returns a random UUID (RFC 9562, version 4).
func NewRequestID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // ends the process instead of failing
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// IsUUID reports whether s is a UUID in lower case, as ids of users, devices and requests are.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !strings.Contains("0123456789abcdef", s[i:i+1]) {
			return false
		}
	}
	return true
}

type empty struct{}

// do calls fn as the user, with an access token that is good for a while; once more if the coordinator refuses it all the same.
func do[T any](ctx context.Context, c *Client, fn func(RequestEditorFn) (*http.Response, error)) (T, error) {
	access, err := c.access(ctx, "")
	if err != nil {
		var v T
		return v, err
	}
	v, err := read[T](fn(bearer(access)))
	if e, ok := err.(*Error); ok && errors.Is(e, fault.Unauthorized) { //nolint:errorlint // read makes it
		if access, err = c.access(ctx, access); err != nil {
			return v, err
		}
		v, err = read[T](fn(bearer(access)))
	}
	return v, err
}

func bearer(access string) RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+access)
		return nil
	}
}

// begin waits until nobody else exchanges tokens, and lets the others wait until done is called.
func (c *Client) begin(ctx context.Context) (done func(), err error) {
	done = func() { <-c.exchange }
	select {
	case c.exchange <- struct{}{}:
		return done, nil
	default:
	}
	select {
	case c.exchange <- struct{}{}:
		return done, nil
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "the call ended while it waited for tokens of the coordinator")
	}
}

func (c *Client) present() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// access returns an access token other than the one that was refused, exchanging the refresh token if need be.
func (c *Client) access(ctx context.Context, refused string) (string, error) {
	good := func(s Session) bool {
		return s.Access != "" && s.Access != refused && c.o.Now().Add(early).Before(s.Until)
	}
	if s := c.present(); good(s) {
		return s.Access, nil
	}
	done, err := c.begin(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	s := c.present()
	switch {
	case good(s): // somebody else's exchange
		return s.Access, nil
	case s.Refresh == "":
		return "", fault.New(fault.Unauthorized, "not logged in to the coordinator")
	}
	t, err := read[Tokens](c.raw.Refresh(ctx, RefreshRequest{RefreshToken: s.Refresh, Request: s.Request}))
	if err == nil {
		s, err = c.sessionOf(s, t)
	}
	if err == nil {
		err = c.keep(s)
	}
	if err != nil {
		return "", err
	}
	return s.Access, nil
}

// sessionOf is what tokens make of the session before, of the same user and device.
func (c *Client) sessionOf(before Session, t Tokens) (Session, error) {
	if t.User != before.User || t.AccessToken == "" || t.RefreshToken == "" {
		return Session{}, fault.New(fault.NotAuthentic, "the coordinator's tokens are somebody else's")
	}
	return Session{
		User: t.User, Device: before.Device, Access: t.AccessToken, Refresh: t.RefreshToken, Request: NewRequestID(),
		Until: c.o.Now().Add(time.Duration(min(max(0, t.AccessSeconds), 15*60)) * time.Second),
	}, nil
}

// keep stores a session, then uses it. The caller has begun.
func (c *Client) keep(s Session) error {
	if err := c.o.Save(s); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = s
	return nil
}

// loggedIn keeps the tokens of a registration or login of a user's device.
func (c *Client) loggedIn(ctx context.Context, user UserID, device DeviceID, t Tokens) error {
	s, err := c.sessionOf(Session{User: user, Device: device}, t)
	if err != nil {
		return err
	}
	done, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return c.keep(s)
}

// forget drops the tokens of a session that has ended.
func (c *Client) forget(ctx context.Context) error {
	done, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	s := c.present()
	return c.keep(Session{User: s.User, Device: s.Device})
}
