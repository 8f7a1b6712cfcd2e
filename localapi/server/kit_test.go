package server_test

import (
	"errors"
	"testing"

	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

// TestL23_RecoveryKits wants the password for a new kit and another address: a kit holds the account key.
func TestL23_RecoveryKits(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user, ctx := w.Registered(), t.Context()
	kit, err := user.DraftKit(ctx, localapitest.Password, "")
	must(t, err)
	for password, want := range map[string]error{"": localapi.InvalidRequest, "wrong": localapi.NotAuthentic} {
		for name, err := range map[string]error{
			"draft": second(user.DraftKit(ctx, password, "")), "replace": user.ReplaceKit(ctx, password, kit), "email": user.ChangeEmail(ctx, password, kit),
		} {
			if !errors.Is(err, want) {
				t.Errorf("%s with %q: %v", name, password, err)
			}
		}
	}
	if err := user.CheckKit(ctx, kit); !errors.Is(err, localapi.NotAuthentic) {
		t.Errorf("it became the valid one: %v", err)
	}
}

// A kit is drafted, then used, alone or with another address; the former one is another one then. A program without the scope admin does nothing of it.
func TestRecoveryKits(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	user, ctx := w.Registered(), t.Context()
	first, err := user.DraftKit(ctx, localapitest.Password, "")
	must(t, err)
	if err := user.CheckKit(ctx, first); !errors.Is(err, localapi.NotAuthentic) {
		t.Errorf("a draft: %v", err)
	}
	must(t, user.ReplaceKit(ctx, localapitest.Password, first))
	must(t, user.CheckKit(ctx, first))
	moved, err := user.DraftKit(ctx, localapitest.Password, "new@example.net")
	must(t, err)
	if err := user.ReplaceKit(ctx, localapitest.Password, moved); !errors.Is(err, localapi.Conflict) {
		t.Errorf("another address, unasked: %v", err)
	}
	must(t, user.ChangeEmail(ctx, localapitest.Password, moved))
	must(t, user.ChangeEmail(ctx, localapitest.Password, moved)) // again
	if st, err := user.Status(ctx); err != nil || st.Email == nil || *st.Email != "new@example.net" {
		t.Errorf("%+v, %v", st, err)
	}
	if err := user.CheckKit(ctx, first); !errors.Is(err, localapi.NotAuthentic) {
		t.Errorf("the former kit: %v", err)
	}
	app := w.Caller(w.App(user, []localapi.Scope{localapi.ScopeRead, localapi.ScopeWrite, localapi.ScopeShare}))
	for name, call := range map[string]func() error{
		"draft":   func() error { return second(app.DraftKit(ctx, localapitest.Password, "")) },
		"replace": func() error { return app.ReplaceKit(ctx, localapitest.Password, moved) },
		"email":   func() error { return app.ChangeEmail(ctx, localapitest.Password, moved) },
		"check":   func() error { return app.CheckKit(ctx, moved) },
	} {
		if err := call(); !errors.Is(err, localapi.Forbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
