package server

import (
	"context"
	"encoding/base64"
	"time"

	"coldframe/coordinator/state"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
	"coldframe/internal/version"
)

// handlers translate between the generated types and the state.
type handlers struct{ *Server }

func user(ctx context.Context) state.UserID { return callOf(ctx).caller.User }

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// GetHealth says that the server answers.
func (h *handlers) GetHealth(context.Context, GetHealthRequestObject) (GetHealthResponseObject, error) {
	if h.draining.Load() {
		return nil, fault.New(fault.Unavailable, "the server is being stopped")
	}
	return GetHealth200TextResponse("ok"), nil
}

// GetInfo tells about this coordinator.
func (h *handlers) GetInfo(context.Context, GetInfoRequestObject) (GetInfoResponseObject, error) {
	kind := map[state.Registration]InfoRegistration{
		state.Open: InfoRegistrationOpen, state.Invitation: InfoRegistrationInvitation, state.Closed: InfoRegistrationClosed,
	}
	return GetInfo200JSONResponse{Version: version.Version, Registration: kind[h.state.Registration()], Epoch: h.state.Epoch()}, nil
}

func tokensOf(t state.Tokens) Tokens {
	return Tokens{
		User: string(t.User), AccessToken: t.Access, RefreshToken: t.Refresh,
		AccessSeconds: int64(t.AccessTTL / time.Second), RefreshSeconds: int64(t.RefreshTTL / time.Second),
	}
}

// Register makes an account.
func (h *handlers) Register(ctx context.Context, r RegisterRequestObject) (RegisterResponseObject, error) {
	t, err := h.state.Register(ctx, state.NewAccount{
		User: state.UserID(r.Body.User), Email: r.Body.EmailHash, Proof: r.Body.Proof, Invitation: deref(r.Body.Invitation),
	})
	return Register200JSONResponse(tokensOf(t)), err
}

// Login begins a session. Tries are counted by the account that is named, whether it is there or not.
func (h *handlers) Login(ctx context.Context, r LoginRequestObject) (LoginResponseObject, error) {
	l := state.Login{User: state.UserID(deref(r.Body.User)), Email: deref(r.Body.EmailHash), Proof: r.Body.Proof}
	if (l.User == "") == (l.Email == nil) {
		return nil, apicheck.InvalidField("", "one of user and email_hash is needed")
	}
	named := string(l.User)
	if named == "" {
		named = base64.StdEncoding.EncodeToString(l.Email)
	}
	if address := callOf(ctx).address; address != "" {
		if err := h.limits.take(limitLoginPair, named+" "+address); err != nil {
			return nil, err
		}
	}
	if err := h.limits.take(limitLoginUser, named); err != nil {
		return nil, err
	}
	t, err := h.state.Login(ctx, l)
	return Login200JSONResponse(tokensOf(t)), err
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

// GetAccount tells what the caller uses.
func (h *handlers) GetAccount(ctx context.Context, _ GetAccountRequestObject) (GetAccountResponseObject, error) {
	u, err := h.state.Usage(ctx, user(ctx))
	amounts := func(q state.Quota) Amounts {
		return Amounts{Blobs: q.Blobs, Bytes: q.Bytes, Messages: q.Mail, MessageBytes: q.MailBytes}
	}
	return GetAccount200JSONResponse{User: string(user(ctx)), Used: amounts(u.Used), Quota: amounts(u.Quota)}, err
}

// ChangeProof replaces the login proof.
func (h *handlers) ChangeProof(ctx context.Context, r ChangeProofRequestObject) (ChangeProofResponseObject, error) {
	return ChangeProof204Response{}, h.state.ChangeProof(ctx, callOf(ctx).caller, r.Body.Proof, r.Body.NewProof)
}

// Lookup finds a user by the labelled hash of an address.
func (h *handlers) Lookup(ctx context.Context, r LookupRequestObject) (LookupResponseObject, error) {
	id, err := h.state.Lookup(ctx, r.Body.EmailHash)
	return Lookup200JSONResponse{User: string(id)}, err
}

// GetPreKeyCount tells how many one-time prekeys are left.
func (h *handlers) GetPreKeyCount(ctx context.Context, _ GetPreKeyCountRequestObject) (GetPreKeyCountResponseObject, error) {
	sequence, n, err := h.state.CountPreKeys(ctx, user(ctx))
	return GetPreKeyCount200JSONResponse{Sequence: int64(sequence), OneTimeLeft: n}, err
}

// PutPreKeys offers prekeys.
func (h *handlers) PutPreKeys(ctx context.Context, r PutPreKeysRequestObject) (PutPreKeysResponseObject, error) {
	n, err := h.state.PutPreKeys(ctx, user(ctx), state.Upload{
		Sequence: uint64(r.Body.Sequence), Replace: deref(r.Body.Replace), Bundle: r.Body.Bundle, OneTime: r.Body.OneTime,
	})
	return PutPreKeys200JSONResponse{Sequence: r.Body.Sequence, OneTimeLeft: n}, err
}

// FetchPreKeys hands out a user's prekeys.
func (h *handlers) FetchPreKeys(ctx context.Context, r FetchPreKeysRequestObject) (FetchPreKeysResponseObject, error) {
	if err := h.limits.take(limitPair, string(user(ctx))+" "+r.User); err != nil {
		return nil, err
	}
	p, err := h.state.FetchPreKeys(ctx, user(ctx), state.UserID(r.User), r.Body.Request)
	out := FetchPreKeys200JSONResponse{Sequence: int64(p.Sequence), Bundle: p.Bundle}
	if len(p.OneTime) > 0 {
		out.OneTime = &p.OneTime
	}
	return out, err
}

// SendMessage puts a message into a mailbox.
func (h *handlers) SendMessage(ctx context.Context, r SendMessageRequestObject) (SendMessageResponseObject, error) {
	n, err := h.state.Send(ctx, user(ctx), state.UserID(r.User), r.Body.Id, r.Body.Body)
	return SendMessage200JSONResponse{Sequence: int64(n)}, err
}

// ListMessages returns what is in the caller's mailbox.
func (h *handlers) ListMessages(ctx context.Context, r ListMessagesRequestObject) (ListMessagesResponseObject, error) {
	list, more, err := h.state.Inbox(ctx, user(ctx), uint64(deref(r.Params.After)), or(r.Params.Limit, 64))
	out := ListMessages200JSONResponse{Messages: []Message{}, More: more}
	for _, m := range list {
		out.Messages = append(out.Messages, Message{Sequence: int64(m.Sequence), Id: m.ID, Sender: string(m.Sender), Time: m.Time.UTC(), Body: m.Body})
	}
	return out, err
}

// AcknowledgeMessages removes messages.
func (h *handlers) AcknowledgeMessages(ctx context.Context, r AcknowledgeMessagesRequestObject) (AcknowledgeMessagesResponseObject, error) {
	var list []state.Acknowledgement
	for _, m := range r.Body.Messages {
		list = append(list, state.Acknowledgement{Sequence: uint64(m.Sequence), ID: m.Id})
	}
	n, err := h.state.Acknowledge(ctx, user(ctx), list)
	return AcknowledgeMessages200JSONResponse{Removed: n}, err
}

func versionOf(v state.Version) BlobVersion {
	return BlobVersion{Counter: int64(v.Counter), Hash: v.Hash, Size: v.Size, Time: v.Time.UTC()}
}

// ListBlobs lists the caller's blobs.
func (h *handlers) ListBlobs(ctx context.Context, r ListBlobsRequestObject) (ListBlobsResponseObject, error) {
	list, more, err := h.state.Blobs(ctx, user(ctx), deref(r.Params.After), or(r.Params.Limit, 1000))
	out := ListBlobs200JSONResponse{Blobs: []Blob{}, More: more}
	for _, b := range list {
		blob := Blob{Name: b.Name, Newest: versionOf(b.Version), History: []BlobVersion{}}
		for _, v := range b.History {
			blob.History = append(blob.History, versionOf(v))
		}
		out.Blobs = append(out.Blobs, blob)
	}
	return out, err
}

// SwapBlobs changes blobs.
func (h *handlers) SwapBlobs(ctx context.Context, r SwapBlobsRequestObject) (SwapBlobsResponseObject, error) {
	list := make([]state.Swap, len(r.Body.Swaps))
	for i, s := range r.Body.Swaps {
		list[i] = state.Swap{Name: s.Name, Counter: uint64(s.Counter), Body: s.Body, Keep: deref(s.Keep)}
		copy(list[i].Previous[:], s.Previous)
		copy(list[i].Nonce[:], s.Nonce)
	}
	made, err := h.state.Swap(ctx, user(ctx), list)
	out := SwapBlobs200JSONResponse{Versions: []BlobVersion{}}
	for _, v := range made {
		out.Versions = append(out.Versions, versionOf(v))
	}
	return out, err
}

// GetBlob returns a version of a blob.
func (h *handlers) GetBlob(ctx context.Context, r GetBlobRequestObject) (GetBlobResponseObject, error) {
	b, err := h.state.Blob(ctx, user(ctx), r.Name, uint64(deref(r.Params.Counter)))
	return GetBlob200JSONResponse{Counter: int64(b.Counter), Hash: b.Hash, Previous: b.Previous, Nonce: b.Nonce, Body: b.Body}, err
}

// AddDeviceLink appends to the caller's device list.
func (h *handlers) AddDeviceLink(ctx context.Context, r AddDeviceLinkRequestObject) (AddDeviceLinkResponseObject, error) {
	return AddDeviceLink204Response{}, h.state.AddLink(ctx, user(ctx), state.Link{Sequence: uint64(r.Body.Sequence), Body: r.Body.Link})
}

// ListDeviceLinks returns links of a device list.
func (h *handlers) ListDeviceLinks(ctx context.Context, r ListDeviceLinksRequestObject) (ListDeviceLinksResponseObject, error) {
	list, more, err := h.state.Links(ctx, state.UserID(r.User), uint64(deref(r.Params.After)), or(r.Params.Limit, 256))
	out := ListDeviceLinks200JSONResponse{Links: []DeviceLink{}, More: more}
	for _, l := range list {
		out.Links = append(out.Links, DeviceLink{Sequence: int64(l.Sequence), Link: l.Body})
	}
	return out, err
}
