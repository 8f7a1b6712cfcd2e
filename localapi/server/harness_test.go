package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"coldframe/daemon"
	"coldframe/internal/fault"
	"coldframe/internal/httpapi/httpapitest"
)

// bench is the server without an agent: what the guard does about bytes, time and numbers needs none. Everything that needs an agent is tested with a real
// one, in the files of package server_test.
type bench struct {
	t    *testing.T
	addr string
	host string
	api  *benchAPI
	logs *httpapitest.Buffer
	srv  *Server
}

const benchToken = "cf_user_bench"

// benchGate knows one token.
type benchGate struct{}

func (benchGate) Authenticate(token string) (daemon.Caller, error) {
	if token != benchToken {
		return daemon.Caller{}, fault.Unauthorized
	}
	return daemon.Caller{ID: daemon.UserTokenID}, nil
}

func (benchGate) Touch() {}

func (benchGate) Refused(fault.Code) {}

// benchAPI answers three operations as a test wants; others are not called.
type benchAPI struct {
	StrictServerInterface
	status func(ctx context.Context) (GetStatusResponseObject, error)
	write  func(ctx context.Context, body io.Reader) error
	read   func(w io.Writer) error

	mu   sync.Mutex
	seen []string // bodies of PUT …/data
}

func (a *benchAPI) GetHealth(context.Context, GetHealthRequestObject) (GetHealthResponseObject, error) {
	return healthAnswer{GetHealth200TextResponse{Body: "ok"}}, nil
}

func (a *benchAPI) GetStatus(ctx context.Context, _ GetStatusRequestObject) (GetStatusResponseObject, error) {
	if a.status != nil {
		return a.status(ctx)
	}
	return GetStatus200JSONResponse{State: StatusStateLocked}, nil
}

func (a *benchAPI) Lock(context.Context, LockRequestObject) (LockResponseObject, error) {
	return Lock204Response{}, nil
}

func (a *benchAPI) Unlock(context.Context, UnlockRequestObject) (UnlockResponseObject, error) {
	return Unlock204Response{}, nil
}

func (a *benchAPI) ReplaceData(ctx context.Context, r ReplaceDataRequestObject) (ReplaceDataResponseObject, error) {
	if a.write != nil {
		if err := a.write(ctx, r.Body); err != nil {
			return nil, err
		}
		return ReplaceData200JSONResponse{}, nil
	}
	b, err := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen = append(a.seen, string(b))
	a.mu.Unlock()
	return ReplaceData200JSONResponse{Written: int64(len(b))}, err
}

func (a *benchAPI) ReadData(context.Context, ReadDataRequestObject) (ReadDataResponseObject, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return readFunc(a.read), nil
}

// setRead changes what GET …/data answers.
func (a *benchAPI) setRead(f func(io.Writer) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read = f
}

type readFunc func(io.Writer) error

func (f readFunc) VisitReadDataResponse(w http.ResponseWriter) error {
	return streamed{"text/csv", f}.send(w)
}

func startBench(t *testing.T, l limits) *bench {
	t.Helper()
	if l.connections == 0 {
		l.connections = 128
	}
	if l.requests == 0 {
		l.requests = 32
	}
	for _, d := range []struct{ have, want *time.Duration }{
		{&l.times.head, &defaultTimes.head}, {&l.times.idle, &defaultTimes.idle}, {&l.times.progress, &defaultTimes.progress}, {&l.times.heartbeat, &defaultTimes.heartbeat},
	} {
		if *d.have == 0 {
			*d.have = *d.want
		}
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, addr: listener.Addr().String(), host: listener.Addr().String(), api: &benchAPI{}, logs: &httpapitest.Buffer{}}
	b.srv = newServer(benchGate{}, b.api, slog.New(slog.NewJSONHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), l)
	b.srv.use([]net.Listener{listener}, l)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.srv.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return b
}

// dial opens a connection for raw bytes.
func (b *bench) dial() net.Conn {
	b.t.Helper()
	c, err := net.Dial("tcp4", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		b.t.Fatal(err)
	}
	return c
}

// head fills the place holders of a raw request.
func (b *bench) fill(raw string) string {
	return strings.NewReplacer("{host}", "Host: "+b.host, "{auth}", "Authorization: Bearer "+benchToken, "{csv}", "Content-Type: text/csv").Replace(raw)
}

// exchange sends raw bytes and reads answers until the server closes or n came.
func (b *bench) exchange(raw string, n int) (answers []*http.Response, bodies []string, closed bool) {
	b.t.Helper()
	c := b.dial()
	go io.WriteString(c, b.fill(raw)) //nolint:errcheck // the server may close before it took everything
	br := bufio.NewReader(c)
	answers, bodies = readAnswers(b.t, br, n)
	_, err := br.ReadByte()
	return answers, bodies, err != nil && !isTimeout(err)
}

// readAnswers reads n answers, or fewer if the connection ends.
func readAnswers(t *testing.T, br *bufio.Reader, n int) (answers []*http.Response, bodies []string) {
	t.Helper()
	for len(answers) < n {
		r, err := http.ReadResponse(br, nil)
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %d answers: %v", len(answers), err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatalf("answer %d: %v", len(answers), err)
		}
		answers, bodies = append(answers, r), append(bodies, string(body))
	}
	return answers, bodies
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}
