package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"coldframe/coordinator/coordinatortest"
	"coldframe/daemon"
	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

// A coordinator that lets nobody in: the answer says why, and nothing that the coordinator wrote. Registering knows no coordinator, whose answer
// would keep the recovery kit back.
func TestRefusedByTheCoordinator(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"type":"t","title":"canary","status":403,"code":"forbidden","request_id":"r","detail":"canary"}`)
	}))
	defer s.Close()
	w := localapitest.Start(t, localapitest.Options{Config: func(c *daemon.Config) {
		c.Coordinator = daemon.Coordinator{AllowLoopback: true, AllowPlainHTTP: true}
	}})
	with := fmt.Sprintf(`{"email":%q,"password":%q,"coordinator":{"url":%q}}`, localapitest.Email, localapitest.Password, s.URL)
	r := newCaller(t, w, "tcp").send("POST", "/v1/register", with, "token", "", "Content-Type", "application/json")
	r.want(t, http.StatusBadRequest, localapi.InvalidRequest)
	c := w.Registered()
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

// TestL23_DeleteCoordinatorAccount wants the password, before anything else is known, and a coordinator.
func TestL23_DeleteCoordinatorAccount(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	c, url := w.Registered(), "https://coordinator.example"
	for password, want := range map[string]error{"": localapi.InvalidRequest, "another": localapi.NotAuthentic, localapitest.Password: localapi.NotFound} {
		if err := c.DeleteCoordinatorAccount(t.Context(), password, url, false); !errors.Is(err, want) {
			t.Errorf("%q: %v", password, err)
		}
	}
	app := w.Caller(w.App(c, []localapi.Scope{localapi.ScopeRead, localapi.ScopeWrite, localapi.ScopeShare}))
	if err := app.DeleteCoordinatorAccount(t.Context(), localapitest.Password, url, false); !errors.Is(err, localapi.Forbidden) {
		t.Errorf("an application: %v", err)
	}
}

// A coordinator that logged this agent out, and lets it in no more: what changes the vault is `unavailable` to who has a good token, an application among them,
// and reading goes on.
func TestLoggedOutByTheCoordinator(t *testing.T) {
	coordinator := coordinatortest.New(t, coordinatortest.Options{})
	w := localapitest.Start(t, localapitest.Options{Config: func(c *daemon.Config) {
		c.Coordinator = daemon.Coordinator{AllowLoopback: true, AllowPlainHTTP: true}
	}})
	c := w.Registered()
	_, err := c.ConnectCoordinator(t.Context(), localapi.CoordinatorRequest{Url: coordinator.URL, Password: localapitest.Password})
	must(t, err)
	app := w.Caller(w.App(c, []localapi.Scope{localapi.ScopeRead, localapi.ScopeWrite, localapi.ScopeShare}))
	for { // until the coordinator keeps the vault
		i, err := c.Coordinator(t.Context())
		must(t, err)
		if i.Sync.Device == "listed" {
			break
		}
		must(t, t.Context().Err())
	}
	d, err := c.CreateDataset(t.Context(), "weather", "")
	must(t, err)
	coordinator.Hook(func(e *coordinatortest.Exchange) {
		e.Answer = coordinatortest.Problem(http.StatusUnauthorized, "unauthorized")
	})
	for what, call := range map[string]func() error{
		"a dataset": func() error { _, err := app.CreateDataset(t.Context(), "rain", ""); return err },
		"a table": func() error {
			_, err := c.Put(t.Context(), d.Id, strings.NewReader("x\n1\n"), localapi.PutOptions{Format: "csv"})
			return err
		},
		"a contact": func() error {
			_, err := app.AddContact(t.Context(), localapi.ContactRequest{User: new("00000000-0000-4000-8000-0000000000aa")})
			return err
		},
		"devices":    func() error { return c.RenameDevice(t.Context(), "00000000-0000-4000-8000-0000000000ab", "x") },
		"unattended": func() error { _, err := c.EnableUnattended(t.Context(), localapitest.Password); return err },
	} {
		if err := call(); !errors.Is(err, localapi.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := app.Datasets(t.Context(), ""); err != nil {
		t.Errorf("reading: %v", err)
	}
}
