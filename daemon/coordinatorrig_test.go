package daemon

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/server"
	"coldframe/coordinator/state"
	"coldframe/coordinator/storetest"
	"coldframe/internal/kv"
)

// coordinatorRig is a coordinator over a store on disk, in this process, that writes down every byte that it is sent.
type coordinatorRig struct {
	t       *testing.T
	dir     string
	address string
	clock   *fakeClock
	o       state.Options
	state   *state.State
	down    func()

	mu    sync.Mutex
	heard bytes.Buffer
	conns int
}

// newCoordinator starts one that takes registrations from everybody.
func newCoordinator(t *testing.T, who state.Registration) *coordinatorRig {
	t.Helper()
	c := &coordinatorRig{t: t, dir: t.TempDir(), address: "127.0.0.1:0", clock: newFakeClock()}
	c.o = state.Options{Registration: who, Cost: storetest.CheapCost, Now: c.clock.Now}
	c.up()
	t.Cleanup(func() { c.down() })
	return c
}

func (c *coordinatorRig) url() string { return "http://" + c.address }

// up starts the server, at the address of before.
func (c *coordinatorRig) up() {
	c.t.Helper()
	st, err := badgerstore.Open(c.dir, badgerstore.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	if c.state, err = state.New(c.t.Context(), st, c.o); err != nil {
		c.t.Fatal(err)
	}
	l, err := net.Listen("tcp", c.address)
	if err != nil {
		c.t.Fatal(err)
	}
	c.address = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- server.New(c.state, server.Options{Rates: server.Rates{}, Heartbeat: time.Second}).Serve(ctx, listening{l, c})
	}()
	var once sync.Once
	c.down = func() {
		once.Do(func() {
			stop()
			if err := errors.Join(<-done, st.Close()); err != nil {
				c.t.Error(err)
			}
		})
	}
}

type listening struct {
	net.Listener
	c *coordinatorRig
}

func (l listening) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.c.mu.Lock()
		l.c.conns++
		l.c.mu.Unlock()
	}
	return hearing{conn, l.c}, err
}

type hearing struct {
	net.Conn
	c *coordinatorRig
}

func (h hearing) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.c.mu.Lock()
	h.c.heard.Write(p[:n])
	h.c.mu.Unlock()
	return n, err
}

// hasHeard reports whether a word was sent.
func (c *coordinatorRig) hasHeard(word string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.heard.Bytes(), []byte(word))
}

// traffic is how many connections there were, and how many bytes came.
func (c *coordinatorRig) traffic() (conns, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns, c.heard.Len()
}

// login is what the coordinator says to a login with a proof.
func (c *coordinatorRig) login(user string, proof []byte) error {
	_, err := c.state.Login(c.t.Context(), state.Login{User: state.UserID(user), Device: "00000000-0000-4000-8000-0000000000aa", Proof: proof})
	return err
}

// proofFor is the login proof for a coordinator.
func (r *running) proofFor(c *coordinatorRig, password string) []byte {
	r.t.Helper()
	proof, err := r.vault.LoginProof(r.t.Context(), []byte(password))
	if err != nil {
		r.t.Fatal(err)
	}
	return bytes.Clone(proof.For(c.url()).Bytes())
}

func local(c *Config, _ *Options) {
	c.Coordinator = Coordinator{AllowLoopback: true, AllowPlainHTTP: true}
}

func (r *running) connect(c *coordinatorRig) {
	r.t.Helper()
	if _, err := r.ConnectCoordinator(r.t.Context(), CoordinatorRequest{Password: []byte(testPassword), URL: c.url()}); err != nil {
		r.t.Fatal(err)
	}
}

// becomes waits until the link is in a state.
func (r *running) becomes(want string) {
	r.t.Helper()
	eventually(r.t, "coordinator "+want, func() bool {
		st, err := r.Status(r.t.Context())
		return err == nil && st.Coordinator != nil && st.Coordinator.State == want
	})
}

// awaitEvents waits for n events of a type, which are logged soon after what they tell of, and returns how many there are.
func (r *running) awaitEvents(typ string, n int) int {
	r.t.Helper()
	eventually(r.t, typ, func() bool { return r.countEvents(typ) >= n })
	return r.countEvents(typ)
}

// countEvents counts logged events of a type.
func (r *running) countEvents(typ string) (n int) {
	r.t.Helper()
	list, err := r.events.after(0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range list {
		if e.Type == typ {
			n++
		}
	}
	return n
}

// countPrefix counts records of the local store.
func countPrefix(t *testing.T, a *running, prefix string) (n int) {
	t.Helper()
	err := a.db.View(func(tx *kv.Tx) (err error) {
		n, err = countRecords(tx, prefix)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
