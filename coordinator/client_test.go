package coordinator

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"coldframe/internal/fault"
)

const knownBlobHash = "2ddeab43b5aceb06f54a745e568c530db634d1029a0a792d3ef7a98bfa9e8dcc"

// The hash of a blob is a format: agents of all versions compute it alike.
func TestKnownBlobHash(t *testing.T) {
	h := BlobHash("00000000-0000-4000-8000-000000000001", "vault", 2, [32]byte{1}, [16]byte{2}, []byte("body"))
	if got := hex.EncodeToString(h[:]); got != knownBlobHash {
		t.Errorf("%s", got)
	}
	other := BlobHash("00000000-0000-4000-8000-000000000001", "vaul", 2, [32]byte{1}, [16]byte{2}, []byte("tbody"))
	if other == h {
		t.Error("a boundary moved, and the hash did not")
	}
}

func TestRequestIDs(t *testing.T) {
	a, b := NewRequestID(), NewRequestID()
	if a == b || !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(a) {
		t.Error(a, b)
	}
}

// hostile answers every request with one answer.
func hostile(t *testing.T, fn http.HandlerFunc) *Client {
	return clientOf(t, serverOf(t, fn), pace{})
}

func serverOf(t *testing.T, fn http.HandlerFunc) string {
	s := httptest.NewServer(fn)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

func clientOf(t *testing.T, url string, p pace) *Client {
	c, err := New(url, Options{pace: p, Session: Session{User: "me", Access: "a", Until: time.Now().Add(time.Hour), Refresh: "r", Request: NewRequestID()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Answers of a coordinator that are broken, somebody else's, or none.
func TestHostileAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"broken": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"user":`+string(make([]byte, 10000))) }, fault.Incomplete},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, fault.Unavailable},
		"html":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); fmt.Fprint(w, "<html>") }, fault.Unavailable},
		"reset": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable},
		"other user": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/sessions/refresh" {
				fmt.Fprint(w, `{"user":"other","access_token":"x","refresh_token":"y","access_seconds":900}`)
				return
			}
			w.Header().Set("Content-Type", ProblemType)
			w.WriteHeader(401)
			fmt.Fprint(w, `{"code":"unauthorized"}`)
		}, fault.NotAuthentic},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := hostile(t, c.answer).Account(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// A blob that does not fit its hash, or the name or counter that was asked for, is refused.
func TestBlobOfAnotherName(t *testing.T) {
	h := BlobHash("me", "vault", 3, [32]byte{}, [16]byte{}, []byte("x"))
	c := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"counter":3,"hash":%q,"previous":%q,"nonce":%q,"body":"eA=="}`, b64(h[:]), b64(make([]byte, 32)), b64(make([]byte, 16)))
	})
	if b, err := c.Blob(t.Context(), "vault", 0); err != nil || string(b.Body) != "x" {
		t.Fatal(err)
	}
	for name, counter := range map[string]int64{"other": 0, "vault": 2} {
		if _, err := c.Blob(t.Context(), name, counter); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s %d: %v", name, counter, err)
		}
	}
}

func TestSessionsDoNotPrint(t *testing.T) {
	s := Session{User: "me", Access: "secret", Refresh: "secret"}
	for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(f, s); got != "session of me" {
			t.Error(got)
		}
	}
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
