package server

import (
	"context"
	"encoding/base64"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/apicheck"
)

func tokensOf(t state.Tokens) Tokens {
	return Tokens{
		User: string(t.User), AccessToken: t.Access, RefreshToken: t.Refresh,
		AccessSeconds: int64(t.AccessTTL / time.Second), RefreshSeconds: int64(t.RefreshTTL / time.Second),
	}
}

// Register makes an account. One that is repeated logs in, so every try counts as a login of the id that is named.
func (h *handlers) Register(ctx context.Context, r RegisterRequestObject) (RegisterResponseObject, error) {
	if err := h.takeLogin(ctx, r.Body.User); err != nil {
		return nil, err
	}
	t, err := h.state.Register(ctx, state.NewAccount{
		User: state.UserID(r.Body.User), Email: r.Body.EmailHash, Device: state.DeviceID(r.Body.Device), Proof: r.Body.Proof,
		Recovery: deref(r.Body.RecoveryProof), Invitation: deref(r.Body.Invitation),
	})
	return Register200JSONResponse(tokensOf(t)), err
}

var loginKinds = map[LoginKind]state.LoginKind{
	LoginKindPassword: state.PasswordLogin, LoginKindRecovery: state.RecoveryLogin, LoginKindDevice: state.DeviceLogin,
}

// Login begins a session.
func (h *handlers) Login(ctx context.Context, r LoginRequestObject) (LoginResponseObject, error) {
	l := state.Login{
		User: state.UserID(deref(r.Body.User)), Email: deref(r.Body.EmailHash), Device: state.DeviceID(r.Body.Device),
		Kind: loginKinds[or(r.Body.Kind, LoginKindPassword)], Proof: r.Body.Proof, Credential: deref(r.Body.Credential),
	}
	if (l.User == "") == (l.Email == nil) {
		return nil, apicheck.InvalidField("", "one of user and email_hash is needed")
	}
	named := string(l.User)
	if named == "" {
		named = base64.StdEncoding.EncodeToString(l.Email)
	}
	if l.Kind == state.DeviceLogin { // whoever keeps a user from logging in does not know the device, which goes on
		named += " " + string(l.Device)
	}
	if err := h.takeLogin(ctx, named); err != nil {
		return nil, err
	}
	t, err := h.state.Login(ctx, l)
	return Login200JSONResponse(tokensOf(t)), err
}

// takeLogin counts a try by the account that is named, whether it is there or not, and whatever the proof is.
func (h *handlers) takeLogin(ctx context.Context, named string) error {
	if address := callOf(ctx).address; address != "" {
		if err := h.limits.take(limitLoginPair, named+" "+address); err != nil {
			return err
		}
	}
	return h.limits.take(limitLoginUser, named)
}

// Refresh exchanges a refresh token.
func (h *handlers) Refresh(ctx context.Context, r RefreshRequestObject) (RefreshResponseObject, error) {
	t, err := h.state.Refresh(ctx, r.Body.RefreshToken, r.Body.Request)
	return Refresh200JSONResponse(tokensOf(t)), err
}

// Logout ends one session or all.
func (h *handlers) Logout(ctx context.Context, r LogoutRequestObject) (LogoutResponseObject, error) {
	return Logout204Response{}, h.state.Logout(ctx, callOf(ctx).caller, deref(r.Params.All))
}

// ListSessions lists the caller's devices.
func (h *handlers) ListSessions(ctx context.Context, _ ListSessionsRequestObject) (ListSessionsResponseObject, error) {
	list, err := h.state.Sessions(ctx, user(ctx))
	out := ListSessions200JSONResponse{Sessions: []DeviceSession{}}
	for _, d := range list {
		v := DeviceSession{
			Device: string(d.Device), Begun: d.Begun.UTC(), Used: d.Used.UTC(), Credential: d.Credential, Recovery: d.Recovery,
			Current: d.Device == callOf(ctx).caller.Device,
		}
		if !d.Expires.IsZero() {
			v.Expires = optional(d.Expires.UTC())
		}
		out.Sessions = append(out.Sessions, v)
	}
	return out, err
}

// EndSession ends the session of one device.
func (h *handlers) EndSession(ctx context.Context, r EndSessionRequestObject) (EndSessionResponseObject, error) {
	return EndSession204Response{}, h.state.EndSession(ctx, user(ctx), state.DeviceID(r.Device))
}

// ChangeProof replaces the login proof, and what changes with it. A new address counts as a look-up, too: the answer tells whether somebody has it.
func (h *handlers) ChangeProof(ctx context.Context, r ChangeProofRequestObject) (ChangeProofResponseObject, error) {
	if r.Body.EmailHash != nil {
		if err := h.limits.take(limitLookup, string(user(ctx))); err != nil {
			return nil, err
		}
	}
	return ChangeProof204Response{}, h.state.ChangeProof(ctx, callOf(ctx).caller, state.ProofChange{
		Old: r.Body.Proof, New: r.Body.NewProof, Email: deref(r.Body.EmailHash), Recovery: deref(r.Body.RecoveryProof), Swaps: swapsOf(deref(r.Body.Swaps)),
		KeepSessions: deref(r.Body.KeepSessions), Keep: devicesOf(deref(r.Body.KeepDevices)),
	})
}

func devicesOf(ids []DeviceID) []state.DeviceID {
	out := make([]state.DeviceID, len(ids))
	for i, id := range ids {
		out[i] = state.DeviceID(id)
	}
	return out
}

// DeleteAccount removes the caller's account.
func (h *handlers) DeleteAccount(ctx context.Context, r DeleteAccountRequestObject) (DeleteAccountResponseObject, error) {
	return DeleteAccount204Response{}, h.state.Delete(ctx, callOf(ctx).caller, r.Body.Proof)
}

// SetRecovery sets the recovery proof.
func (h *handlers) SetRecovery(ctx context.Context, r SetRecoveryRequestObject) (SetRecoveryResponseObject, error) {
	return SetRecovery204Response{}, h.state.SetRecovery(ctx, callOf(ctx).caller, r.Body.Proof, r.Body.RecoveryProof)
}
