package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/state"
	"coldframe/coordinator/storetest"
	"coldframe/internal/fault"
	"coldframe/internal/httpapi/httpapitest"
)

// clock is moved by tests.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// bench is a server over a store on disk, in this process.
type bench struct {
	t     *testing.T
	url   string
	state *state.State
	*Server
	clock *clock
	log   *httpapitest.Buffer
	full  atomic.Bool // the disk
}

// free lets tests do much in little time.
var free = Rates{}

func newBench(t *testing.T, so state.Options, o Options) *bench {
	t.Helper()
	b := &bench{t: t, clock: &clock{t: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}, log: &httpapitest.Buffer{}}
	so.Now, so.Cost = b.clock.now, storetest.CheapCost
	o.now, o.Logger = b.clock.now, slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Rates == nil {
		o.Rates = free
	}
	st, err := badgerstore.Open(t.TempDir(), badgerstore.Options{FreeSpace: func(string) (uint64, error) {
		if b.full.Load() {
			return 96 << 20, nil // what Badger needs by itself is there
		}
		return 1 << 40, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if b.state, err = state.New(t.Context(), st, so); err != nil {
		t.Fatal(err)
	}
	b.Server = New(b.state, o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.url = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

var open = state.Options{Registration: state.Open}

// reply is what came back.
type reply struct {
	*http.Response
	body    []byte
	problem Problem
}

// send makes one request; body may be nil, text or something for JSON.
func (b *bench) send(method, path, token string, body any, headers ...string) reply {
	b.t.Helper()
	var r io.Reader
	switch v := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(v)
	default:
		j, err := json.Marshal(v)
		if err != nil {
			b.t.Fatal(err)
		}
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, r)
	if err != nil {
		b.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	out := reply{Response: res}
	if out.body, err = io.ReadAll(res.Body); err != nil {
		b.t.Fatal(err)
	}
	if err := theDocument().check(method, req.URL.Path, res, out.body); err != nil {
		b.t.Errorf("%s %s: %d %.200s: %v", method, path, res.StatusCode, out.body, err)
	}
	if res.StatusCode >= 400 {
		if err := json.Unmarshal(out.body, &out.problem); err != nil {
			b.t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, out.body)
		}
	}
	return out
}

func (r reply) want(t *testing.T, status int, code fault.Code) {
	t.Helper()
	if r.StatusCode != status || r.problem.Code != string(code) {
		t.Errorf("%s %s: %d %s, want %d %s", r.Request.Method, r.Request.URL.Path, r.StatusCode, r.body, status, code)
	}
}

// into reads a success.
func into[T any](t *testing.T, r reply) (v T) {
	t.Helper()
	if r.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %d %s", r.Request.Method, r.Request.URL.Path, r.StatusCode, r.body)
	}
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func fill(n byte, size int) []byte { return bytes.Repeat([]byte{n}, size) }

func userID(n int) string { return string(storetest.UserN(n)) }

func deviceID(n int) string { return string(storetest.DeviceN(n)) }

// user registers the nth user and returns the tokens.
func (b *bench) user(n int) Tokens {
	b.t.Helper()
	return into[Tokens](b.t, b.send("POST", "/v1/accounts", "", Registration{User: userID(n), Device: deviceID(n), EmailHash: fill(byte(n), 32), Proof: fill(byte(n), 32)}))
}

// agent returns a client that is logged in as the nth user.
func (b *bench) agent(n int, o coordinator.Options) *coordinator.Client {
	b.t.Helper()
	o.Now = b.clock.now
	c, err := coordinator.New(b.url, o)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := c.Register(b.t.Context(), coordinator.Registration{User: userID(n), EmailHash: fill(byte(n), 32), Proof: fill(byte(n), 32)}); err != nil {
		b.t.Fatal(err)
	}
	return c
}
