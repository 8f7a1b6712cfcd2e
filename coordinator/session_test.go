package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
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
