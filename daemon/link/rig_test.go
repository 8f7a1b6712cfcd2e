package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/server"
	"coldframe/coordinator/state"
	"coldframe/coordinator/storetest"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

const (
	testUser   = "00000000-0000-4000-8000-000000000001"
	testDevice = "00000000-0000-4000-8000-00000000000d"
)

// memory is a Store whose disk can be full.
type memory struct {
	mu     sync.Mutex
	tokens []byte
	proofs []byte
	full   bool
	saved  int

	unattended bool
	credential []byte
	taken      int
}

func (m *memory) Credential() (secret.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.unattended || m.credential == nil {
		return secret.Key{}, nil
	}
	return secret.FromBytes(bytes.Clone(m.credential))
}

func (m *memory) NewCredential() (secret.Key, error) {
	m.mu.Lock()
	if m.full {
		m.mu.Unlock()
		return secret.Key{}, fault.New(fault.StorageFull, "full")
	}
	if m.credential == nil || !m.unattended {
		m.credential = bytes.Repeat([]byte{9}, secret.KeySize)
	}
	m.mu.Unlock()
	return m.Credential()
}

func (m *memory) CredentialTaken() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken++
	return nil
}

// set makes the machine one that is opened without a person, or not.
func (m *memory) set(unattended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unattended = unattended
}

func (m *memory) Tokens() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.tokens), nil
}

func (m *memory) SaveTokens(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return fault.New(fault.StorageFull, "full")
	}
	m.tokens = bytes.Clone(b)
	m.saved++
	return nil
}

func (m *memory) setFull(full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = full
}

// change records a change of the password, each of which is a byte here.
func (m *memory) change(before, after byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.proofs) == 0 {
		m.proofs = []byte{before}
	}
	m.proofs = append(bytes.Clone(m.proofs), after)
}

func (m *memory) Proofs() (*Proofs, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.proofs) == 0 {
		return nil, nil
	}
	p := &Proofs{Seal: m.proofs}
	for _, n := range m.proofs {
		p.List = append(p.List, proofOf(n))
	}
	return p, nil
}

func (m *memory) ForgetProofs(p *Proofs) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if bytes.Equal(m.proofs, p.Seal) {
		m.proofs = nil
	}
	return nil
}

func (m *memory) waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.proofs)
}

// proofOf is the login proof of a password.
func proofOf(n byte) secret.Key {
	k, err := secret.FromBytes(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		panic(err)
	}
	return k
}

// proof is the login proof of the test's user.
func proof(*testing.T) secret.Key { return proofOf(7) }

type rig struct {
	*Link
	t     *testing.T
	store *memory
	stop  func()
}

// newRig returns a link to a server on this machine.
func newRig(t *testing.T, settings Settings, m *memory, change func(*Options)) *rig {
	t.Helper()
	o := Options{
		Settings: settings, Policy: Policy{AllowLoopback: true, AllowPlainHTTP: true}, User: testUser, Device: testDevice, EmailHash: make([]byte, 32),
		Store: m, Now: time.Now, retryMin: time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Link: l, t: t, store: m, stop: func() {}}
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() { cancel(); <-done })
	r.t.Cleanup(r.stop)
}

func (r *rig) becomes(want State, code fault.Code) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if st := r.Status(); st.State == want && st.Error == code {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%+v, want %s %q", r.Status(), want, code)
		}
	}
}

// answering is a server with one answer to everything.
func answering(t *testing.T, fn http.HandlerFunc) (Settings, *atomic.Int64) {
	t.Helper()
	n := new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.Add(1); fn(w, r) }))
	t.Cleanup(s.Close)
	return Settings{URL: s.URL}, n
}

func problem(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":"t","title":"canary","status":%d,"code":%q,"request_id":"r","detail":"canary"}`, status, code)
	}
}

// real is a coordinator over a store on disk, with something between it and the agent.
func real(t *testing.T, between func(http.Handler) http.Handler) (Settings, *state.State) {
	t.Helper()
	st, err := badgerstore.Open(t.TempDir(), badgerstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := state.New(t.Context(), st, state.Options{Registration: state.Open, Cost: storetest.CheapCost})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.New(c, server.Options{Rates: server.Rates{}}).Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, st.Close()); err != nil {
			t.Error(err)
		}
	})
	if between == nil {
		return Settings{URL: "http://" + l.Addr().String()}, c
	}
	front := httptest.NewServer(between(forward("http://" + l.Addr().String())))
	t.Cleanup(front.Close)
	return Settings{URL: front.URL}, c
}

// forward hands requests on, and answers back as they come.
func forward(to string) http.Handler {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		req, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.String(), bytes.NewReader(body))
		if err != nil {
			return
		}
		req.Header = r.Header.Clone()
		res, err := client.Do(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
		w.WriteHeader(res.StatusCode)
		for b := make([]byte, 1<<12); ; {
			n, err := res.Body.Read(b)
			w.Write(b[:n])                        //nolint:errcheck // the agent has gone
			http.NewResponseController(w).Flush() //nolint:errcheck // the same
			if err != nil {
				return
			}
		}
	})
}

// joined returns a store with the tokens of a link that has ended.
func joined(t *testing.T, settings Settings) *memory {
	t.Helper()
	m := &memory{}
	if err := newRig(t, settings, m, nil).Join(t.Context(), proof(t), ""); err != nil {
		t.Fatal(err)
	}
	return m
}
