package server

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"coldframe/daemon"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
	"coldframe/localapi"
)

// handlers translates requests into calls of the agent and its answers back. Everything that can be checked without the agent was checked
// by the guard.
type handlers struct {
	agent     *daemon.Agent
	metrics   *prometheus.Registry
	heartbeat time.Duration
}

var _ StrictServerInterface = (*handlers)(nil)

// GetHealth says ok, and proves to a caller who holds a token that this is the agent (L21).
func (h *handlers) GetHealth(ctx context.Context, r GetHealthRequestObject) (GetHealthResponseObject, error) {
	out := GetHealth200TextResponse{Body: "ok"}
	if r.Params.ColdframeChallenge == nil {
		return healthAnswer{out}, nil
	}
	id, nonce, _ := strings.Cut(*r.Params.ColdframeChallenge, ":")
	b, err := hex.DecodeString(nonce)
	if err != nil {
		return nil, apicheck.InvalidField(localapi.ChallengeHeader, "the nonce is not hexadecimal")
	}
	proof, err := h.agent.Prove(id, b, callOf(ctx).host)
	if err != nil {
		return nil, err
	}
	out.Headers.ColdframeProof = text(hex.EncodeToString(proof))
	return healthAnswer{out}, nil
}

// healthAnswer has a length, so that a caller can go on using the connection at once.
type healthAnswer struct{ GetHealth200TextResponse }

func (a healthAnswer) VisitGetHealthResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Length", fmt.Sprint(len(a.Body)))
	return a.GetHealth200TextResponse.VisitGetHealthResponse(w)
}

// GetStatus tells the state of the account and of the agent.
func (h *handlers) GetStatus(ctx context.Context, _ GetStatusRequestObject) (GetStatusResponseObject, error) {
	s, err := h.agent.Status(ctx)
	if err != nil {
		return nil, err
	}
	out := GetStatus200JSONResponse{
		State: StatusState(s.State), ReadOnly: s.ReadOnly, Unattended: s.Unattended, Version: localapi.Version,
		Uploads: s.Uploads, Started: s.Started, IdleLockSeconds: int64(s.IdleLock / time.Second), Warnings: list(s.Warnings),
	}
	if !callOf(ctx).caller.Has(daemon.ScopeAdmin) {
		return out, nil // who the user is, and how much there is, is not an application's business
	}
	out.UserId, out.Email, out.Datasets = text(s.UserID), text(s.Email), s.Datasets
	if s.StoreKind != "" {
		kind := StatusStore(s.StoreKind)
		out.Store = &kind
	}
	out.Cache = cacheOf(s.Cache)
	if c := s.Coordinator; c != nil {
		out.Coordinator = &CoordinatorStatus{Url: c.URL, State: CoordinatorStatusState(c.State), Since: c.Since, Error: text(string(c.Error))}
	}
	if d := s.Device; d != nil {
		out.Device = &DeviceStatus{Id: d.ID, State: DeviceState(d.State), Error: text(string(d.Error))}
	}
	return out, nil
}

// ListApps lists the application tokens.
func (h *handlers) ListApps(ctx context.Context, _ ListAppsRequestObject) (ListAppsResponseObject, error) {
	apps, err := h.agent.Apps(ctx)
	if err != nil {
		return nil, err
	}
	return ListApps200JSONResponse{Apps: each(apps, appOf)}, nil
}

// CreateApp makes a token for an application.
func (h *handlers) CreateApp(ctx context.Context, r CreateAppRequestObject) (CreateAppResponseObject, error) {
	req := daemon.AppRequest{
		Name: r.Body.Name, Scopes: each(r.Body.Scopes, func(s Scope) daemon.Scope { return daemon.Scope(s) }),
		Password: bytesOf(r.Body.Password), IdempotencyKey: deref(r.Params.IdempotencyKey),
	}
	if r.Body.Datasets != nil {
		req.Datasets = *r.Body.Datasets
	}
	if r.Body.Columns != nil {
		req.Columns = *r.Body.Columns
	}
	app, token, err := h.agent.CreateApp(ctx, callOf(ctx).caller, req)
	if err != nil {
		return nil, err
	}
	defer clear(token)
	return CreateApp201JSONResponse{App: appOf(app), Token: string(token)}, nil
}

// DeleteApp revokes a token.
func (h *handlers) DeleteApp(ctx context.Context, r DeleteAppRequestObject) (DeleteAppResponseObject, error) {
	if err := h.agent.DeleteApp(ctx, callOf(ctx).caller, r.Id); err != nil {
		return nil, err
	}
	return DeleteApp204Response{}, nil
}

func appOf(a daemon.App) App {
	out := App{Id: a.ID, Name: a.Name, Scopes: each(a.Scopes, func(s daemon.Scope) Scope { return Scope(s) }), Created: a.Created}
	if a.Datasets != nil {
		out.Datasets = &a.Datasets
	}
	if a.Columns != nil {
		out.Columns = &a.Columns
	}
	return out
}

// each translates a list; it is never nil, so that JSON has a list.
func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

func list[A any](in []A) []A {
	return each(in, func(v A) A { return v })
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// bytesOf returns a copy of a secret that the agent can wipe; nil if there is none.
func bytesOf(s *string) []byte {
	if s == nil {
		return nil
	}
	return []byte(*s)
}

// number turns what came as int64 into a version. The specification has no negative ones.
func number(v *int64) (uint64, error) {
	if v == nil {
		return 0, nil
	}
	if *v < 0 {
		return 0, fault.New(fault.InvalidRequest, "a version is not negative")
	}
	return uint64(*v), nil
}
