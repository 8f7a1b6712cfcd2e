package httpapi

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

// keeper is an answer that keeps a failure.
type keeper struct {
	*httptest.ResponseRecorder
	failure error
}

func (k *keeper) Fail(err error) { k.failure = err }

// A failure reaches the answer, and nothing is written in its place.
func TestRouterKeepsFailures(t *testing.T) {
	want := errors.New("failed")
	r := NewRouter()
	r.GET("/x", func(echo.Context) error { return want })
	k := &keeper{ResponseRecorder: httptest.NewRecorder()}
	r.ServeHTTP(k, httptest.NewRequest(http.MethodGet, "/x", nil))
	if !errors.Is(k.failure, want) || k.Body.Len() != 0 {
		t.Errorf("%v, %q", k.failure, k.Body)
	}
}

func TestWriteProblem(t *testing.T) {
	seven := int64(7)
	w := httptest.NewRecorder()
	WriteProblem(w, http.StatusUnauthorized, &seven, map[string]string{"code": "x"})
	h := w.Header()
	if w.Code != 401 || w.Body.String() != `{"code":"x"}` || h.Get("Content-Type") != "application/problem+json" || h.Get("Retry-After") != "7" || h.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%d %s %v", w.Code, w.Body, h)
	}
}

// The log names the type and the functions, not the value; and an abort on purpose is none.
func TestLogPanic(t *testing.T) {
	var b bytes.Buffer
	l := slog.New(slog.NewTextHandler(&b, nil))
	LogPanic(l, "id", nil)
	LogPanic(l, "id", http.ErrAbortHandler)
	if b.Len() > 0 {
		t.Errorf("%s", &b)
	}
	func() {
		defer func() { LogPanic(l, "id", recover()) }()
		panic("a secret")
	}()
	if s := b.String(); !strings.Contains(s, "type=string") || !strings.Contains(s, "TestLogPanic") || strings.Contains(s, "a secret") {
		t.Errorf("%s", s)
	}
}
