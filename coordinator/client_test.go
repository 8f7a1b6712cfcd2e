package coordinator

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// The hash of a blob is a format: agents of all versions compute it alike.
func TestKnownBlobHashes(t *testing.T) {
	files, err := filepath.Glob("../docs/vectors/blob/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		var v struct {
			User, Name                           string
			Counter                              uint64
			Previous, Nonce, Body, Deleted, Hash *string
		}
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &v)
		}
		if err != nil {
			t.Fatal(file, err)
		}
		h := Header{Counter: v.Counter, Previous: [HashSize]byte(unhex(t, *v.Previous)), Nonce: [NonceSize]byte(unhex(t, *v.Nonce))}
		if v.Body != nil {
			h.Body = BodyHash(unhex(t, *v.Body))
		}
		if got := h.Hash(v.User, v.Name); hex.EncodeToString(got[:]) != *v.Hash {
			t.Errorf("%s: %x", file, got)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
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

// Blobs that do not fit their hashes, whose versions do not follow one another, or that say that they are deleted and are not, are refused.
func TestHostileBlobs(t *testing.T) {
	version := func(counter uint64, previous [32]byte, body string) (BlobVersion, [32]byte) {
		h := Header{Counter: counter, Previous: previous}
		if body != "" {
			h.Body = BodyHash([]byte(body))
		}
		hash := h.Hash("me", "vault")
		return BlobVersion{Counter: int64(counter), Hash: hash[:], Previous: previous[:], Nonce: make([]byte, 16), BodyHash: h.Body[:], Size: int64(len(body))}, hash
	}
	one, h1 := version(1, [32]byte{}, "1")
	two, h2 := version(2, h1, "2")
	three, _ := version(3, h2, "3")
	away, _ := version(3, h2, "")
	stranger, _ := version(2, [32]byte{9}, "2")
	text := func(s string) *[]byte { b := []byte(s); return &b }
	yes := true
	for name, c := range map[string]struct {
		blob Blob
		good bool
	}{
		"as it is":                {Blob{Name: "vault", Newest: three, Earlier: []BlobVersion{two, one}, Body: text("3")}, true},
		"deleted":                 {Blob{Name: "vault", Newest: away, Earlier: []BlobVersion{two, one}, Deleted: &yes}, true},
		"of another name":         {Blob{Name: "other", Newest: three, Body: text("3")}, false},
		"another body":            {Blob{Name: "vault", Newest: three, Body: text("x")}, false},
		"no body":                 {Blob{Name: "vault", Newest: three}, false},
		"a version is left out":   {Blob{Name: "vault", Newest: three, Earlier: []BlobVersion{one}, Body: text("3")}, false},
		"a version of a stranger": {Blob{Name: "vault", Newest: three, Earlier: []BlobVersion{stranger}, Body: text("3")}, false},
		"deleted, with a body":    {Blob{Name: "vault", Newest: three, Deleted: &yes, Body: text("3")}, false},
		"deleted, and not said":   {Blob{Name: "vault", Newest: away, Body: text("")}, false},
		"kept more than there is": {Blob{Name: "vault", Newest: one, Kept: 1, Body: text("1")}, false},
	} {
		client := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			if err := json.NewEncoder(w).Encode(BlobPage{Blobs: []Blob{c.blob}}); err != nil {
				t.Error(err)
			}
		})
		if p, err := client.ReadBlobs(t.Context(), BlobRead{Bodies: &yes}); (err == nil) != c.good || !c.good && (!errors.Is(err, fault.NotAuthentic) || len(p.Blobs) > 0) {
			t.Errorf("%s: %v", name, err)
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
