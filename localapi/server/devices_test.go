package server_test

import (
	"errors"
	"testing"

	"coldframe/localapi"
	"coldframe/localapi/localapitest"
)

// An account without a coordinator has no list of devices, and says so; only the scope admin asks, and the password is wanted where L23 wants it.
func TestL23_DevicesWithoutACoordinator(t *testing.T) {
	w := localapitest.Start(t, localapitest.Options{})
	ctx, c := t.Context(), w.User()
	if _, err := c.Devices(ctx); !errors.Is(err, localapi.Locked) {
		t.Errorf("without an account: %v", err)
	}
	w.Registered()
	l, err := c.Devices(ctx)
	if err != nil || l.State != localapi.DeviceStateUnknown || l.Devices != nil || l.Error == nil || *l.Error != "unavailable" || l.Id == "" {
		t.Errorf("%+v, %v", l, err)
	}
	id, code := somebody, "12345 67890 12345 67890 12345 67890"
	for name, call := range map[string]struct {
		do   func(*localapi.Client) error
		want error
	}{
		"ask":      {func(c *localapi.Client) error { return second(c.AskToJoin(ctx, "attic")) }, localapi.Unavailable},
		"requests": {func(c *localapi.Client) error { return second(c.DeviceRequests(ctx)) }, localapi.Unavailable},
		"no name":  {func(c *localapi.Client) error { return second(c.AskToJoin(ctx, "")) }, localapi.InvalidRequest},
		"approve": {func(c *localapi.Client) error {
			return c.ApproveDevice(ctx, id, localapi.DeviceApproval{Code: code, Password: "another"})
		}, localapi.NotAuthentic},
		"short code": {func(c *localapi.Client) error {
			return c.ApproveDevice(ctx, id, localapi.DeviceApproval{Code: "1", Password: localapitest.Password})
		}, localapi.InvalidRequest},
		"no id":   {func(c *localapi.Client) error { return c.RenameDevice(ctx, "ask", "x") }, localapi.InvalidRequest},
		"remove":  {func(c *localapi.Client) error { return c.RemoveDevice(ctx, id, "") }, localapi.InvalidRequest},
		"reset":   {func(c *localapi.Client) error { return c.ResetDevice(ctx, "another") }, localapi.NotAuthentic},
		"trust":   {func(c *localapi.Client) error { return c.TrustVault(ctx, localapitest.Password) }, localapi.Conflict},
		"accept":  {func(c *localapi.Client) error { return c.AcceptRecovery(ctx, localapitest.Password) }, localapi.NotFound},
		"recover": {func(c *localapi.Client) error { return c.RecoverDevices(ctx, localapi.DeviceRecovery{Name: "attic"}) }, localapi.InvalidRequest},
		"login": {func(c *localapi.Client) error {
			return c.Login(ctx, localapi.LoginRequest{Url: "https://h", RecoveryKit: ptr("x"), Password: ptr("x")})
		}, localapi.InvalidRequest},
		"login to an address that is not allowed": {func(c *localapi.Client) error {
			return c.Login(ctx, localapi.LoginRequest{Url: "http://1.1.1.1", RecoveryKit: ptr("x"), Password: ptr("x")})
		}, localapi.Policy},
	} {
		if err := call.do(c); !errors.Is(err, call.want) {
			t.Errorf("%s: %v, want %v", name, err, call.want)
		}
	}
	app := w.Caller(w.App(c, []localapi.Scope{localapi.ScopeRead, localapi.ScopeWrite, localapi.ScopeShare}))
	for name, call := range map[string]func() error{
		"list": func() error { return second(app.Devices(ctx)) }, "ask": func() error { return second(app.AskToJoin(ctx, "attic")) },
		"login": func() error {
			return app.Login(ctx, localapi.LoginRequest{Url: "https://h", RecoveryKit: ptr("x"), Password: ptr("x")})
		},
		"remove": func() error { return app.RemoveDevice(ctx, id, localapitest.Password) },
	} {
		if err := call(); !errors.Is(err, localapi.Forbidden) {
			t.Errorf("%s by an application: %v", name, err)
		}
	}
}
