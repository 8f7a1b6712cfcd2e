package coordinator

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"coldframe/internal/fault"
)

const someTokens = `{"user":"me","access_token":"x","refresh_token":"y","access_seconds":900}`

// expired is a client whose access token has to be exchanged.
func expired(t *testing.T, url string, save func(Session) error) *Client {
	t.Helper()
	c, err := New(url, Options{Save: save, Session: Session{User: "me", Device: "d", Access: "a", Refresh: "r", Request: NewRequestID()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// within fails a test whose function does not end.
func within(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for itself")
	}
}

// An agent saves a session in its database, where others hold the lock while they ask the client for the user's id.
func TestSaveWaitsForWhoAsksForTheUser(t *testing.T) {
	url := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/sessions/refresh" {
			io.WriteString(w, someTokens)
			return
		}
		io.WriteString(w, `{"user":"me"}`)
	})
	var c *Client
	saved := 0
	c = expired(t, url, func(s Session) error {
		saved++
		other := make(chan string, 1)
		go func() { other <- c.User() + c.Device() }()
		if got := <-other; got != "med" || s.Access != "x" {
			return fmt.Errorf("%s, %s", got, s.Access)
		}
		return nil
	})
	within(t, func() {
		if a, err := c.Account(t.Context()); err != nil || a.User != "me" || saved != 1 {
			t.Error(a, err, saved)
		}
	})
}

// An exchange that takes its time keeps nobody longer than they want to wait, and what was refused to be saved is not used.
func TestWaitingForAnExchange(t *testing.T) {
	asked, answer, full := make(chan struct{}), make(chan struct{}), errors.New("full")
	exchanges := 0
	url := serverOf(t, func(w http.ResponseWriter, _ *http.Request) {
		if exchanges++; exchanges == 1 {
			close(asked)
			<-answer
		}
		io.WriteString(w, someTokens)
	})
	c := expired(t, url, func(Session) error { return full })
	first := make(chan error, 1)
	go func() { _, err := c.Account(t.Context()); first <- err }()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	within(t, func() {
		if _, err := c.Account(ctx); !errors.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	close(answer)
	within(t, func() {
		if err := <-first; !errors.Is(err, full) {
			t.Error(err)
		}
		if s := c.present(); s.Access != "a" || s.Refresh != "r" {
			t.Error("a session is used that was not saved")
		}
	})
}

// Whoever logs in by an address takes no id from the coordinator that is none.
func TestIdOfALogin(t *testing.T) {
	user := ""
	url := serverOf(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"user":%q,"access_token":"x","refresh_token":"y","access_seconds":900}`, user)
	})
	for id, good := range map[string]bool{
		"": false, "me": false, "../blobs": false, "0123456789ab-cdef-0123-4567-89abcdef0": false, "01234567-89AB-4def-8123-456789abcdef": false,
		"01234567-89ab-4def-8123-456789abcdef": true, "01234567-89ab-4def-8123-456789abcdef0": false, "01234567-89ab-4def-8123_456789abcdef": false,
	} {
		c, err := New(url, Options{})
		if err != nil {
			t.Fatal(err)
		}
		user = id
		hash := make([]byte, 32)
		err = c.Login(t.Context(), Login{EmailHash: &hash, Proof: make([]byte, 32)})
		if good && (err != nil || c.User() != id) || !good && (!errors.Is(err, fault.NotAuthentic) || c.User() != "") {
			t.Errorf("%q: %v, %q", id, err, c.User())
		}
		c.Close()
	}
}

// Lists and bodies that are nil are empty in a request, and those of the caller stay as they are.
func TestNothingIsNull(t *testing.T) {
	bodies := make(chan string, 1)
	c := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		bodies <- string(b)
		if err == nil {
			io.WriteString(w, "{}")
		}
	})
	yes := true
	deletion := []Swap{{Name: "a", Counter: 2, Delete: &yes}}
	for name, call := range map[string]func() error{
		"prekeys": func() error { _, err := c.PutPreKeys(t.Context(), PreKeyUpload{Bundle: []byte("x")}); return err },
		"swap":    func() error { _, err := c.Swap(t.Context(), deletion...); return err },
		"proof":   func() error { return c.ChangeProof(t.Context(), ProofChange{Swaps: &deletion}) },
	} {
		err := call()
		var v map[string]any
		if body := <-bodies; err != nil || json.Unmarshal([]byte(body), &v) != nil {
			t.Errorf("%s: %s, %v", name, body, err)
		}
		for _, field := range []string{"one_time"} {
			if of, there := v[field]; there && of == nil {
				t.Errorf("%s: %s is null", name, field)
			}
		}
		if list, there := v["swaps"].([]any); there && list[0].(map[string]any)["body"] != "" {
			t.Errorf("%s: %v", name, list)
		}
	}
	if deletion[0].Body != nil {
		t.Error("the caller's swap was changed")
	}
}

// trip is a transport of its own.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A transport that sends a body a second time, on a line that is slow and not dead, is not given up.
func TestBodyOfASecondTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := trip(func(r *http.Request) (*http.Response, error) {
			b, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			for err == nil {
				time.Sleep(20 * time.Second)
				if r.Context().Err() != nil {
					return nil, r.Context().Err()
				}
				_, err = b.Read(make([]byte, 1))
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://coordinator.example", strings.NewReader("0123456789"))
		if err != nil {
			t.Fatal(err)
		}
		p := paced{slow, pace{silence: 30 * time.Second, start: time.Hour, slowest: 1 << 10}}
		res, err := p.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	})
}

// An id of an event that the coordinator does not take, or that is none, costs a resync and not the stream.
func TestEventIDsThatAreRefused(t *testing.T) {
	for _, after := range []string{"ABC-1", "a\nb", strings.Repeat("A", 65)} {
		synctest.Test(t, func(t *testing.T) {
			var asked []string
			c, err := New("http://coordinator.example", Options{
				Session: Session{User: "me", Access: "a", Until: time.Now().Add(time.Hour), Refresh: "r"},
				HTTP: &http.Client{Transport: trip(func(r *http.Request) (*http.Response, error) {
					asked = append(asked, r.Header.Get("Last-Event-ID"))
					res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r}
					res.Body = io.NopCloser(strings.NewReader("id: DEF-7\ndata: {\"type\":\"resync\"}\n\n"))
					if asked[len(asked)-1] != "" {
						res.StatusCode = http.StatusBadRequest
						res.Header.Set("Content-Type", ProblemType)
						res.Body = io.NopCloser(strings.NewReader(`{"code":"invalid_request"}`))
					}
					return res, nil
				})},
			})
			if err != nil {
				t.Fatal(err)
			}
			for n, err := range c.Follow(t.Context(), after, func() {}) {
				if err != nil || n.ID != "DEF-7" {
					t.Errorf("%q: %+v, %v", after, n, err)
				}
				break
			}
			if len(asked) > 2 || len(asked) == 0 || asked[len(asked)-1] != "" {
				t.Errorf("%q: %q", after, asked)
			}
		})
	}
}

// Only an address is one, plain http stays on this machine, and nobody's environment leads a client elsewhere.
func TestAddresses(t *testing.T) {
	own := &http.Client{Transport: trip(nil)}
	for _, c := range []struct {
		url  string
		http *http.Client
		good bool
	}{
		{"https://coordinator.example", nil, true},
		{"https://coordinator.example:8443/", nil, true},
		{"http://127.0.0.1:1", nil, true},
		{"http://[::1]:1", nil, true},
		{"http://localhost:1", nil, true},
		{"http://coordinator.example", own, true},
		{"http://coordinator.example", nil, false},
		{"http://coordinator.example", &http.Client{}, false},
		{"http://127.0.0.1.example", nil, false},
		{"http://192.168.1.1", nil, false},
		{"coordinator.example", nil, false},
		{"ftp://127.0.0.1", own, false},
		{"https://", nil, false},
		{"https://:443", nil, false},
		{"https://user@coordinator.example", nil, false},
		{"https://coordinator.example/v1", nil, false},
		{"https://coordinator.example?x", nil, false},
		{"https://coordinator.example?", nil, false},
		{"https://coordinator.example#x", nil, false},
		{"https://coordinator.example\n", nil, false},
	} {
		if _, err := New(c.url, Options{HTTP: c.http}); (err == nil) != c.good || err != nil && !errors.Is(err, fault.InvalidRequest) {
			t.Errorf("%q: %v", c.url, err)
		}
	}
	if tr := NewTransport(); tr.Proxy != nil || tr.TLSClientConfig.MinVersion != tls.VersionTLS13 {
		t.Error("a proxy, or an older TLS")
	}
}
