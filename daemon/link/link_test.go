package link

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"coldframe/coordinator"
	"coldframe/coordinator/state"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// No goroutine is left once all links and servers have ended (F19).
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a coordinator can answer to a join: each has its code, nothing of it is in the error, and no token is kept.
func TestC15_HostileAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   fault.Code
	}{
		"another user": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"user":"canary","access_token":"x","refresh_token":"y","access_seconds":900,"refresh_seconds":9}`)
		}, fault.NotAuthentic},
		"no tokens": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"user":%q}`, testUser) }, fault.NotAuthentic},
		"huge": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
					return
				}
			}
		}, fault.TooLarge},
		"deep":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("[", 100_000)) }, fault.TooLarge},
		"nothing":  {func(http.ResponseWriter, *http.Request) {}, fault.Incomplete},
		"html":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); fmt.Fprint(w, "<canary>") }, fault.Unavailable},
		"broken":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable},
		"conflict": {problem(409, "conflict"), fault.Conflict},
		"no":       {problem(403, "forbidden"), fault.Forbidden},
		"closed":   {problem(422, "policy"), fault.Policy},
		"busy":     {problem(429, "busy"), fault.Busy},
		"its own":  {problem(400, "canary"), fault.Unavailable},
		"ours":     {problem(400, "locked"), fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			settings, _ := answering(t, c.answer)
			m := &memory{}
			err := newRig(t, settings, m, nil).Join(t.Context(), proof(t), "")
			if fault.CodeOf(err) != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
			if strings.Contains(fmt.Sprint(err), "canary") {
				t.Errorf("the coordinator's words are in the error: %v", err)
			}
			if m.saved != 0 {
				t.Error("tokens were kept")
			}
		})
	}
}

// A redirect is not followed: the proof goes nowhere else.
func TestL14_Redirect(t *testing.T) {
	elsewhere, n := answering(t, func(http.ResponseWriter, *http.Request) {})
	for _, status := range []int{301, 302, 303, 307, 308} {
		settings, _ := answering(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL+r.URL.Path, status) })
		if err := newRig(t, settings, &memory{}, nil).Join(t.Context(), proof(t), ""); !errors.Is(err, fault.Unavailable) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if n.Load() != 0 {
		t.Errorf("%d requests went elsewhere", n.Load())
	}
}

// A certificate that nobody vouches for, another authority, and another name: nothing is sent.
func TestCertificates(t *testing.T) {
	var requests atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		problem(403, "forbidden")(w, r)
	}))
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	join := func(settings Settings) error {
		return newRig(t, settings, &memory{}, nil).Join(t.Context(), proof(t), "")
	}
	for name, settings := range map[string]Settings{
		"nobody vouches": {URL: s.URL}, "another name": {URL: "https://localhost:" + port, CA: own},
	} {
		if err := join(settings); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if requests.Load() != 0 {
		t.Errorf("%d requests were sent", requests.Load())
	}
	if err := join(Settings{URL: s.URL, CA: own}); !errors.Is(err, fault.Forbidden) || requests.Load() != 2 { // an account, then a session
		t.Errorf("pinned: %v", err)
	}
	for _, ca := range []string{"x", strings.Repeat(own, 200), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := (Settings{URL: s.URL, CA: ca}).Normal(Policy{}); !errors.Is(err, fault.InvalidRequest) {
			t.Errorf("authorities of %d bytes: %v", len(ca), err)
		}
	}
}

// A refresh whose answer is lost, and one whose tokens cannot be stored: the next agent exchanges the same token under the same id.
func TestCrashInARefresh(t *testing.T) {
	var lose atomic.Bool
	settings, _ := real(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/sessions/refresh" && lose.Load() {
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			if r.URL.Path == "/v1/sessions" && r.Method == http.MethodPost {
				t.Error("the agent logged in")
			}
			next.ServeHTTP(w, r)
		})
	})
	m := joined(t, settings)
	lose.Store(true)
	first := newRig(t, settings, m, nil)
	first.run()
	first.becomes(Offline, fault.Unavailable)
	first.stop()
	lose.Store(false)

	m.setFull(true)
	second := newRig(t, settings, m, nil)
	second.run()
	second.becomes(Offline, fault.StorageFull)
	second.stop()
	m.setFull(false)

	third := newRig(t, settings, m, nil)
	third.run()
	third.becomes(Online, "")
}

// TestC12_StolenToken has a thief who uses the refresh token first: the session ends for both, and the agent needs the password.
func TestC12_StolenToken(t *testing.T) {
	settings, c := real(t, nil)
	m := joined(t, settings)
	var own tokens
	if err := json.Unmarshal(m.tokens, &own); err != nil {
		t.Fatal(err)
	}
	stolen, err := c.Refresh(t.Context(), own.Refresh, coordinator.NewRequestID())
	if err != nil {
		t.Fatal(err)
	}
	l := newRig(t, settings, m, nil)
	l.run()
	l.becomes(LoginNeeded, fault.Unauthorized)
	if _, err := c.Authenticate(t.Context(), stolen.Access); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("the thief goes on: %v", err)
	}
	if tokens, _ := m.Tokens(); tokens != nil {
		t.Error("tokens that are worth nothing were kept")
	}
	wrong := secret.Random()
	l.Give(wrong)
	l.becomes(Refused, fault.Unauthorized)
	if !l.NeedsProof() || !wrong.IsZero() {
		t.Error("a proof that was refused is kept")
	}
	right := proof(t)
	l.Give(right)
	l.becomes(Online, "")
	if !right.IsZero() {
		t.Error("the proof is kept although it did its work")
	}
}

// A proof that was refused is why there is no connection, until there is another: not that there is none, whatever makes the link try again.
func TestRefusedProof(t *testing.T) {
	settings, _ := real(t, nil)
	joined(t, settings)
	states := make(chan Status, 16)
	l := newRig(t, settings, &memory{}, func(o *Options) { o.Changed = func(st Status) { states <- st } })
	l.Give(secret.Random())
	l.run()
	for i := range 4 {
		var got []State
		for st := range states {
			if got = append(got, st.State); st.State != Connecting {
				break
			}
		}
		if got[len(got)-1] != Refused {
			t.Fatalf("%d: %v", i, got)
		}
		l.Wake()
	}
	l.Give(proof(t))
	l.becomes(Online, "")
}

// An agent that was unlocked while the coordinator was away, and whose session has ended, logs in once it is back.
func TestLoginWhenItIsBack(t *testing.T) {
	var away atomic.Bool
	settings, c := real(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if away.Load() {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	})
	m := joined(t, settings)
	user, err := c.Lookup(t.Context(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Logout(t.Context(), state.Caller{User: user}, true); err != nil {
		t.Fatal(err)
	}
	away.Store(true)
	l := newRig(t, settings, m, nil)
	l.Give(proof(t))
	l.run()
	l.becomes(Offline, fault.Unavailable)
	away.Store(false)
	l.becomes(Online, "")
}

// Tokens of somebody else at a refresh stop the link for a while, and the own tokens stay.
func TestTokensOfAnother(t *testing.T) {
	var lie atomic.Bool
	settings, _ := real(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/sessions/refresh" && lie.Load() {
				fmt.Fprint(w, `{"user":"00000000-0000-4000-8000-000000000002","access_token":"x","refresh_token":"y","access_seconds":900}`)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	m := joined(t, settings)
	before, _ := m.Tokens()
	lie.Store(true)
	l := newRig(t, settings, m, nil)
	l.run()
	l.becomes(Refused, fault.NotAuthentic)
	if after, _ := m.Tokens(); !bytes.Equal(before, after) {
		t.Error("the tokens of somebody else were stored")
	}
	lie.Store(false)
	l.Wake()
	l.becomes(Online, "")
}

// A stream that ends at once again and again is met with waits that grow: no burst of retries.
func TestStreamThatEnds(t *testing.T) {
	var streams atomic.Int64
	settings, _ := real(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/events" {
				streams.Add(1)
				w.Header().Set("Content-Type", "text/event-stream")
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	m := joined(t, settings)
	l := newRig(t, settings, m, func(o *Options) { o.retryMin = 20 * time.Millisecond })
	begin := time.Now()
	l.run()
	for streams.Load() < 6 { // waits of at least 10, 20, 40, 80, 160 ms
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(begin); took < 310*time.Millisecond {
		t.Errorf("six streams in %v", took)
	}
}

// What a link does ends at once, whatever the coordinator does: here it never answers.
func TestStopWhileWaiting(t *testing.T) {
	asked := make(chan struct{}, 16)
	settings, _ := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // only then the server sees that the caller has gone
		asked <- struct{}{}
		<-r.Context().Done()
	})
	l := newRig(t, settings, &memory{tokens: []byte(`{"refresh":"x","request":"y"}`)}, nil)
	l.run()
	<-asked
	begin := time.Now()
	l.stop()
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
}
