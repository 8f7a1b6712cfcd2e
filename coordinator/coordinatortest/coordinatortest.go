package coordinatortest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator"
	"coldframe/coordinator/server"
	"coldframe/coordinator/state"
	"coldframe/internal/httpapi/httpapitest"
)

// Options change a coordinator before it starts. It registers everybody, makes login proofs cheap and has no rate limits.
type Options struct {
	Dir    string                // for the stores; default: a folder of the test
	State  func(*state.Options)  // Now is the coordinator's clock
	Server func(*server.Options) // of every branch
}

// Coordinator is one address with the branches behind it. Its methods may be called by several goroutines, and by hooks.
type Coordinator struct {
	URL  string  // the same over restarts
	Main *Branch // what everybody meets who was not given another one

	t      testing.TB
	dir    string
	state  state.Options
	server server.Options

	log   httpapitest.Buffer
	bytes httpapitest.Buffer // that reached the front
	http  *http.Server
	conns connections

	ending sync.WaitGroup // stores of servers that were killed

	mu      sync.Mutex
	hook    func(*Exchange)
	number  int
	records []Record
	tokens  map[string]coordinator.UserID // of access and refresh tokens that were given out
	emails  map[string]coordinator.UserID
	served  map[coordinator.UserID]*Branch
	forks   int
	all     []*Branch
}

// New starts a coordinator, and ends it with the test.
func New(t testing.TB, o Options) *Coordinator {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	c := &Coordinator{
		t: t, dir: o.Dir, state: state.Options{Registration: state.Open, Cost: state.Cost{Time: 1, MemoryKiB: 64, Threads: 1}},
		tokens: map[string]coordinator.UserID{}, emails: map[string]coordinator.UserID{}, served: map[coordinator.UserID]*Branch{},
	}
	// All requests come from one address here.
	c.server = server.Options{Rates: server.Rates{}, Proxied: true, Logger: slog.New(slog.NewJSONHandler(&c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if o.State != nil {
		o.State(&c.state)
	}
	if o.Server != nil {
		o.Server(&c.server)
	}
	c.Main = c.branch()
	c.Main.Start()
	c.listen()
	return c
}

// listen opens the front.
func (c *Coordinator) listen() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.URL = "http://" + l.Addr().String()
	c.conns.all = map[net.Conn]struct{}{}
	c.http = &http.Server{
		Handler: http.HandlerFunc(c.serve), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), ConnState: c.conns.change,
		DisableGeneralOptionsHandler: true,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.http.Serve(&tap{l, &c.bytes}) //nolint:errcheck // it ends with the test
	}()
	c.t.Cleanup(func() {
		c.http.Close() //nolint:errcheck // of a test
		<-done
		c.mu.Lock()
		all := c.all
		c.mu.Unlock()
		for _, b := range all {
			b.Stop()
		}
		c.ending.Wait()
		if c.t.Failed() {
			c.t.Logf("log of the coordinator:\n%s", c.Log())
		}
	})
}

// Hook lets fn decide about every exchange from now on, in the goroutine of each; nil lets everything through.
func (c *Coordinator) Hook(fn func(*Exchange)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook = fn
}

// Nth returns a hook that calls fn for the nth exchange of an operation, counted from 1, and lets all others through. n = 0 is all of that operation.
func Nth(operation string, n int, fn func(*Exchange)) func(*Exchange) {
	var mu sync.Mutex
	count := 0
	return func(e *Exchange) {
		if e.Operation != operation {
			return
		}
		mu.Lock()
		count++
		mine := n == 0 || count == n
		mu.Unlock()
		if mine {
			fn(e)
		}
	}
}

// Serve lets users meet a branch from now on. Streams of events that they have open go on until they are cut.
func (c *Coordinator) Serve(b *Branch, users ...coordinator.UserID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range users {
		c.served[u] = b
	}
}

// Cut ends all connections, those of streams of events too.
func (c *Coordinator) Cut() { c.conns.cut() }

// Log is what the servers logged, at debug level.
func (c *Coordinator) Log() string { return c.log.String() }

// User is somebody who can register.
type User struct {
	ID               coordinator.UserID
	EmailHash, Proof []byte
}

// UserN returns the nth of many users, the same each time.
func UserN(n int) User {
	email, proof := sha256.Sum256(fmt.Appendf(nil, "email %d", n)), sha256.Sum256(fmt.Appendf(nil, "proof %d", n))
	return User{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), EmailHash: email[:], Proof: proof[:]}
}

// Client returns a client of this coordinator that is not logged in, unless o has a session.
func (c *Coordinator) Client(o coordinator.Options) *coordinator.Client {
	c.t.Helper()
	client, err := coordinator.New(c.URL, o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

// Register makes an account and returns a client that is logged in. For a user who has one it is a further device.
func (c *Coordinator) Register(u User, o coordinator.Options) *coordinator.Client {
	c.t.Helper()
	client := c.Client(o)
	r := coordinator.Registration{User: u.ID, EmailHash: u.EmailHash, Proof: u.Proof}
	if err := client.Register(context.Background(), r); err != nil {
		c.t.Fatal(err)
	}
	return client
}
