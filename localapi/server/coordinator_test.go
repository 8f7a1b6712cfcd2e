package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"coldframe/daemon"
	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

// A coordinator of a test that lets nobody in: the account is made all the same, the answer has the kit and says why, and nothing that
// the coordinator wrote.
func TestRegisterBesideARefusal(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"type":"t","title":"canary","status":403,"code":"forbidden","request_id":"r","detail":"canary"}`)
	}))
	defer s.Close()
	w := localapitest.Start(t, localapitest.Options{Config: func(c *daemon.Config) {
		c.Coordinator = daemon.Coordinator{AllowLoopback: true, AllowPlainHTTP: true}
	}})
	c := w.User()
	request := localapi.RegisterRequest{
		Email: localapitest.Email, Password: localapitest.Password, Coordinator: &localapi.CoordinatorChoice{Url: "http://1.1.1.1/x"},
	}
	if _, err := c.Register(t.Context(), request); !errors.Is(err, localapi.InvalidRequest) {
		t.Fatalf("an impossible address: %v", err)
	}
	request.Coordinator.Url = s.URL
	made, err := c.Register(t.Context(), request)
	must(t, err)
	e := made.CoordinatorError
	if e == nil || e.Code != "forbidden" || e.Detail == nil || strings.Contains(*e.Detail, "canary") {
		t.Errorf("%+v", e)
	}
	if !strings.Contains(made.RecoveryKit, "Recovery key") {
		t.Error("the kit is missing")
	}
	if _, err := c.Coordinator(t.Context()); !errors.Is(err, localapi.NotFound) {
		t.Errorf("a coordinator is set: %v", err)
	}
	st, err := c.Status(t.Context())
	must(t, err)
	if st.State != localapi.StatusStateUnlocked || st.Coordinator != nil {
		t.Errorf("%+v", st)
	}
	_, err = c.ConnectCoordinator(t.Context(), localapi.CoordinatorRequest{Url: s.URL, Password: localapitest.Password})
	if !errors.Is(err, localapi.Forbidden) || strings.Contains(err.Error(), "canary") {
		t.Errorf("connect: %v", err)
	}
	_, err = c.ConnectCoordinator(t.Context(), localapi.CoordinatorRequest{Url: s.URL, Password: "another"})
	if !errors.Is(err, localapi.NotAuthentic) {
		t.Errorf("a wrong password: %v", err)
	}
	app := w.Caller(w.App(c, []localapi.Scope{localapi.ScopeRead, localapi.ScopeWrite}))
	if _, err := app.Coordinator(t.Context()); !errors.Is(err, localapi.Forbidden) {
		t.Errorf("an application saw the setting: %v", err)
	}
}
