package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"coldframe/coordinator"
	"coldframe/daemon/link"
	"coldframe/internal/fault"
)

// On every route `unauthorized` is about the caller's token, and about nothing else: what a coordinator says to the agent, in whatever form it comes up,
// is `unavailable` to a caller whose token is good. No other code becomes a 401.
func TestUnauthorizedIsAboutTheToken(t *testing.T) {
	refused := &coordinator.Error{Problem: coordinator.Problem{Status: http.StatusUnauthorized, Code: "unauthorized"}}
	failures := []error{
		fault.Unauthorized, fault.New(fault.Unauthorized, "the coordinator wants this machine to log in"),
		fault.Wrap(fault.Unauthorized, errors.New("x"), "the session has ended"), link.Failure(refused), errors.Join(errors.New("x"), fault.New(fault.Unauthorized, "y")),
	}
	for _, r := range routes {
		for _, authenticated := range []bool{true, false} {
			want := map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusUnauthorized}[authenticated]
			for _, err := range failures {
				w := httptest.NewRecorder()
				writeProblem(w, err, &call{route: &r, authenticated: authenticated})
				if w.Code != want {
					t.Errorf("%s: %v is answered with %d, want %d", r.operation, err, w.Code, want)
				}
			}
			for code := range statusOf {
				w := httptest.NewRecorder()
				if writeProblem(w, fault.New(code, "x"), &call{route: &r, authenticated: authenticated}); authenticated && w.Code == http.StatusUnauthorized {
					t.Errorf("%s: %s is a 401", r.operation, code)
				}
			}
		}
	}
}
