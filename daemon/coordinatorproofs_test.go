package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

const nextPassword = testPassword + " two"

func (r *running) changePasswordTo(from, to string) {
	r.t.Helper()
	if err := r.ChangePassword(r.t.Context(), []byte(from), []byte(to)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) tryConnect(url, password string) error {
	_, err := r.ConnectCoordinator(r.t.Context(), CoordinatorRequest{Password: []byte(password), URL: url})
	return err
}

// A password is changed, twice, while the account has left its coordinator, which lets it in again and learns the newest.
func TestPasswordChangedElsewhere(t *testing.T) {
	c := newCoordinator(t, state.Open)
	a := startAgent(t, t.TempDir(), local)
	a.register()
	a.connect(c)
	a.settled()
	if err := a.DisconnectCoordinator(t.Context(), []byte(testPassword)); err != nil {
		t.Fatal(err)
	}
	a.changePasswordTo(testPassword, nextPassword)
	a.changePasswordTo(nextPassword, nextPassword+" three")
	if err := a.tryConnect(c.url(), nextPassword+" three"); err != nil {
		t.Fatalf("locked out: %v", err)
	}
	eventually(t, "the vault is there again, as it is here", func() bool { joined, err := a.vault.Joined(); return err == nil && joined })
	a.settled()
	eventually(t, "the newest proof", func() bool { return c.login(a.vault.UserID(), a.proofFor(c, nextPassword+" three")) == nil })
}

// A coordinator makes the account, and its answer is lost. It is none of the agent's, and learns of the password that is set then all the same.
func TestPasswordChangedAfterALostAnswer(t *testing.T) {
	c := newCoordinator(t, state.Open)
	to, err := url.Parse(c.url())
	if err != nil {
		t.Fatal(err)
	}
	var lose atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lose.Load() {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	a := startAgent(t, t.TempDir(), local)
	a.register()
	lose.Store(true)
	if err := a.tryConnect(front.URL, testPassword); !errors.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	lose.Store(false)
	a.changePasswordTo(testPassword, nextPassword)
	if err := a.tryConnect(front.URL, nextPassword); err != nil {
		t.Error(err)
	}
	if err := a.DisconnectCoordinator(t.Context(), []byte(nextPassword)); err != nil {
		t.Error(err)
	}
}

// While a coordinator is joined the password stays: the coordinator may be about to learn a proof of the former one.
func TestPasswordChangeWhileJoining(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan struct{})
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.Read(make([]byte, 1)) //nolint:errcheck // the request has begun
		close(asked)
		io.Copy(io.Discard, conn) //nolint:errcheck // until the agent goes
	}()
	a := startAgent(t, t.TempDir(), local)
	a.register()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := a.ConnectCoordinator(ctx, CoordinatorRequest{Password: []byte(testPassword), URL: "http://" + l.Addr().String()})
		ended <- err
	}()
	<-asked
	if err := a.ChangePassword(t.Context(), []byte(testPassword), []byte(nextPassword)); !errors.Is(err, fault.Busy) {
		t.Errorf("changed while joining: %v", err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("joined nobody")
	}
	a.changePasswordTo(testPassword, nextPassword)
}

// The list of coordinators has a bound; what is kept for one that goes is removed, and the same one is there once.
func TestJoinedIsBounded(t *testing.T) {
	a := startAgent(t, t.TempDir(), nil)
	a.register()
	s := a.session
	proofs := func(url string) linkStore { return linkStore{a.Agent, s, url} }
	err := a.db.Update(func(tx *kv.Tx) error {
		for i := range maxJoined + 2 {
			url := fmt.Sprintf("https://%d.example", i)
			if err := errors.Join(s.noteJoined(tx, url, "", "https://0.example"), proofs(url).write(tx, "proofs", make([]byte, 64))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := a.knownCoordinators(s)
	if err != nil || len(list) != maxJoined || list[maxJoined-1] != "https://0.example" || slices.Contains(list, "https://2.example") {
		t.Errorf("%q, %v", list, err)
	}
	if n := countPrefix(t, a, linkPrefix); n != maxJoined {
		t.Errorf("%d records", n)
	}
}
