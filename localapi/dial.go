package localapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"coldframe/internal/fault"
)

// Options say where the agent is and who calls.
type Options struct {
	Socket    string // path of the Unix socket; if empty, TCP is used
	TCP       string // address on this machine, such as 127.0.0.1:7878
	Token     string // if empty, TokenFile is read
	TokenFile string // a 0600 file of this user that holds the token; read anew when the agent has restarted
}

const (
	dialTimeout  = 5 * time.Second
	maxTokenFile = 256
)

// Client is a caller of one agent. Its methods may be called from many goroutines.
type Client struct {
	raw       *Raw
	transport *http.Transport
	base      string
}

// Dial returns a client once a connection to the agent stands and was checked.
// Errors: fault.Unavailable (nobody listens), fault.NotAuthentic (somebody else does), fault.Policy (socket or token file open to others).
func Dial(ctx context.Context, o Options) (*Client, error) {
	token, err := o.token()
	if errors.Is(err, fault.Unavailable) && o.Socket != "" {
		token, err = o.awaken(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	c := &Client{base: "http://localhost"}
	dial := func(ctx context.Context) (net.Conn, error) { return dialSocket(ctx, o.Socket) }
	if o.Socket == "" {
		if err := loopback(o.TCP); err != nil {
			return nil, err
		}
		c.base = "http://" + o.TCP
		dial = func(ctx context.Context) (net.Conn, error) { return dialTCP(ctx, o.TCP, token) }
	}
	c.transport = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
		ExpectContinueTimeout: time.Minute,
		WriteBufferSize:       256 << 10, ReadBufferSize: 256 << 10,
	}
	h := &http.Client{Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c.raw, err = NewClient(c.base, WithHTTPClient(h), WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("User-Agent", "coldframe")
		if r.Method != http.MethodGet && r.Header.Get("Content-Type") == "" {
			r.Header.Set("Content-Type", "application/json")
		}
		return nil
	}))
	if err != nil {
		panic("localapi: " + err.Error()) // the address was checked above
	}
	r, err := c.raw.GetHealth(ctx, &GetHealthParams{})
	if err := done(r, err); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

func (o Options) token() (string, error) {
	if o.Token != "" {
		return o.Token, nil
	}
	return ReadTokenFile(o.TokenFile)
}

// awaken knocks at a socket that a service manager holds for an agent that has not started yet (socket activation), and waits for the
// agent's token. Without a socket, or when nothing comes of it, the failure is missing.
func (o Options) awaken(ctx context.Context, missing error) (string, error) {
	conn, err := dialSocket(ctx, o.Socket)
	if err != nil {
		if errors.Is(err, fault.Unavailable) {
			return "", missing
		}
		return "", err
	}
	defer conn.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(dialTimeout); time.Now().Before(end); {
		token, err := o.token()
		if !errors.Is(err, fault.Unavailable) {
			return token, err
		}
		select {
		case <-ctx.Done():
			return "", missing
		case <-tick.C:
		}
	}
	return "", missing
}

// ReadTokenFile reads a token from a file of one line. The file must be regular, belong to this user and be closed to others.
func ReadTokenFile(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "", fault.Wrap(fault.Unavailable, err, "there is no token: the agent does not run")
	}
	if err != nil {
		return "", fault.Wrap(fault.Policy, err, "the token file cannot be read")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fault.Wrap(fault.Policy, err, "the token file cannot be read")
	}
	if !info.Mode().IsRegular() {
		return "", fault.New(fault.Policy, "the token file is not a regular file")
	}
	if err := ours(info); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	defer clear(b)
	if err != nil || len(b) > maxTokenFile {
		return "", fault.Wrap(fault.Policy, err, "the token file does not hold a token")
	}
	token := strings.TrimSuffix(string(b), "\n")
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.New(fault.Policy, "the token file does not hold a token")
	}
	return token, nil
}

// ours refuses a file that belongs to another user or that others may use.
func ours(info os.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || int(st.Uid) != os.Geteuid():
		return fault.New(fault.Policy, "%s belongs to another user", info.Name())
	case info.Mode().Perm()&0o077 != 0:
		return fault.New(fault.Policy, "%s is open to other users (mode %04o)", info.Name(), info.Mode().Perm())
	}
	return nil
}

// dialSocket connects to the agent's socket after it looked at the socket and its folder, and checks who listens.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	for _, p := range []string{filepath.Dir(path), path} {
		info, err := os.Lstat(p)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fault.Wrap(fault.Unavailable, err, "there is no socket: the agent does not run")
		}
		if err != nil {
			return nil, fault.Wrap(fault.Policy, err, "the socket cannot be looked at")
		}
		if p == path && info.Mode().Type() != os.ModeSocket {
			return nil, fault.New(fault.Policy, "what lies at the socket's place is no socket")
		}
		if err := ours(info); err != nil {
			return nil, err
		}
	}
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "nobody listens at the socket")
	}
	// Under socket activation the listener is the service manager: root, or the user's own.
	uid, err := PeerUID(conn.(*net.UnixConn))
	if err != nil || (uid != os.Geteuid() && uid != 0) {
		conn.Close()
		return nil, fault.Wrap(fault.NotAuthentic, err, "another user listens at the socket")
	}
	return conn, nil
}
