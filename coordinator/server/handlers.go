package server

import (
	"context"
	"net/http"

	"coldframe/coordinator/state"
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
func (h *handlers) GetHealth(ctx context.Context, _ GetHealthRequestObject) (GetHealthResponseObject, error) {
	return GetHealth200TextResponse("ok"), h.healthy(ctx)
}

// healthy returns why the server is of no use, if it is not: it is being stopped, or its store cannot be read.
func (s *Server) healthy(ctx context.Context) error {
	if s.draining.Load() {
		return fault.New(fault.Unavailable, "the server is being stopped")
	}
	return s.state.Check(ctx)
}

// GetInfo tells about this coordinator.
func (h *handlers) GetInfo(context.Context, GetInfoRequestObject) (GetInfoResponseObject, error) {
	kind := map[state.Registration]InfoRegistration{
		state.Open: InfoRegistrationOpen, state.Invitation: InfoRegistrationInvitation, state.Closed: InfoRegistrationClosed,
	}
	return GetInfo200JSONResponse{Version: version.Version, Registration: kind[h.state.Registration()], Epoch: h.state.Epoch()}, nil
}

// GetAccount tells what the caller uses.
func (h *handlers) GetAccount(ctx context.Context, _ GetAccountRequestObject) (GetAccountResponseObject, error) {
	u, err := h.state.Usage(ctx, user(ctx))
	amounts := func(q state.Quota) Amounts {
		return Amounts{Blobs: q.Blobs, Bytes: q.Bytes, Messages: q.Mail, MessageBytes: q.MailBytes}
	}
	return GetAccount200JSONResponse{User: string(user(ctx)), Used: amounts(u.Used), Quota: amounts(u.Quota)}, err
}

// Lookup finds a user by the labelled hash of an address.
func (h *handlers) Lookup(ctx context.Context, r LookupRequestObject) (LookupResponseObject, error) {
	id, err := h.state.Lookup(ctx, r.Body.EmailHash)
	return Lookup200JSONResponse{User: string(id)}, err
}

// GetPreKeyStatus tells what is handed out for the caller.
func (h *handlers) GetPreKeyStatus(ctx context.Context, _ GetPreKeyStatusRequestObject) (GetPreKeyStatusResponseObject, error) {
	st, err := h.state.PreKeyStatus(ctx, user(ctx))
	out := GetPreKeyStatus200JSONResponse{Sequence: int64(st.Sequence), OneTimeLeft: st.OneTime}
	if len(st.BundleHash) > 0 {
		out.BundleHash = &st.BundleHash
	}
	return out, err
}

// WithdrawPreKeys removes the caller's prekeys.
func (h *handlers) WithdrawPreKeys(ctx context.Context, r WithdrawPreKeysRequestObject) (WithdrawPreKeysResponseObject, error) {
	return WithdrawPreKeys204Response{}, h.state.WithdrawPreKeys(ctx, callOf(ctx).caller, r.Body.Proof)
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

// SendMessage puts a message into a mailbox. Its number there stays between the coordinator and the receiver: it counts what everybody sends.
func (h *handlers) SendMessage(ctx context.Context, r SendMessageRequestObject) (SendMessageResponseObject, error) {
	_, err := h.state.Send(ctx, user(ctx), state.UserID(r.User), r.Body.Id, r.Body.Body)
	return SendMessage204Response{}, err
}

// sendersSize is what rules about senders take as an answer, in bytes: in work they are there four times.
const sendersSize = 4 * 2 * state.MaxSenders * 40

// GetSenders tells whose messages the caller takes.
func (h *handlers) GetSenders(ctx context.Context, _ GetSendersRequestObject) (GetSendersResponseObject, error) {
	if err := callOf(ctx).lend(ctx, sendersSize); err != nil {
		return nil, err
	}
	r, err := h.state.Senders(ctx, user(ctx))
	return GetSenders200JSONResponse{
		Sequence: int64(r.Sequence), OnlyAllowed: r.OnlyAllowed, Allowed: usersAs[UserID](r.Allowed), Blocked: usersAs[UserID](r.Blocked),
	}, err
}

// SetSenders says whose messages the caller takes.
func (h *handlers) SetSenders(ctx context.Context, r SetSendersRequestObject) (SetSendersResponseObject, error) {
	return SetSenders204Response{}, h.state.SetSenders(ctx, user(ctx), state.Senders{
		Sequence: uint64(r.Body.Sequence), OnlyAllowed: r.Body.OnlyAllowed,
		Allowed: usersAs[state.UserID](r.Body.Allowed), Blocked: usersAs[state.UserID](r.Body.Blocked),
	})
}

// usersAs gives ids of users another type.
func usersAs[To, From ~string](list []From) []To {
	out := make([]To, len(list))
	for i, id := range list {
		out[i] = To(id)
	}
	return out
}

// ListMessages returns what is in the caller's mailbox.
func (h *handlers) ListMessages(ctx context.Context, r ListMessagesRequestObject) (ListMessagesResponseObject, error) {
	out := inbox{epoch: h.state.Epoch()}
	err := holding(ctx, func() (int64, error) { return h.state.InboxSize(ctx, user(ctx)) }, func() (n int64, err error) {
		out.list, out.more, err = h.state.Inbox(ctx, user(ctx), uint64(deref(r.Params.After)), or(r.Params.Limit, 64))
		for _, m := range out.list {
			n += m.Cost()
		}
		return n, err
	})
	return out, err
}

// inbox is an answer to ListMessages.
type inbox struct {
	epoch string
	list  []state.Message
	more  bool
}

// VisitListMessagesResponse implements ListMessagesResponseObject.
func (l inbox) VisitListMessagesResponse(w http.ResponseWriter) error {
	return send(w, func(s *sender) {
		s.list(Inbox{Messages: []Message{}, More: l.more, Epoch: l.epoch}, len(l.list), func(i int) {
			m := l.list[i]
			s.withBody(Message{Sequence: int64(m.Sequence), Id: m.ID, Sender: string(m.Sender), Time: m.Time.UTC(), Body: []byte{}}, m.Body)
		})
	})
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

// AddDeviceLink appends to the caller's device list.
func (h *handlers) AddDeviceLink(ctx context.Context, r AddDeviceLinkRequestObject) (AddDeviceLinkResponseObject, error) {
	return AddDeviceLink204Response{}, h.state.AddLink(ctx, user(ctx), state.Link{Sequence: uint64(r.Body.Sequence), Body: r.Body.Link})
}

// ListDeviceLinks returns links of a device list.
func (h *handlers) ListDeviceLinks(ctx context.Context, r ListDeviceLinksRequestObject) (ListDeviceLinksResponseObject, error) {
	out, of := deviceLinks{}, state.UserID(r.User)
	err := holding(ctx, func() (int64, error) { return h.state.LinksSize(ctx, of) }, func() (n int64, err error) {
		out.list, out.more, err = h.state.Links(ctx, of, uint64(deref(r.Params.After)), or(r.Params.Limit, 256))
		for _, l := range out.list {
			n += l.Cost()
		}
		return n, err
	})
	return out, err
}

// deviceLinks is an answer to ListDeviceLinks.
type deviceLinks struct {
	list []state.Link
	more bool
}

// VisitListDeviceLinksResponse implements ListDeviceLinksResponseObject.
func (l deviceLinks) VisitListDeviceLinksResponse(w http.ResponseWriter) error {
	return send(w, func(s *sender) {
		s.list(DeviceLinks{Links: []DeviceLink{}, More: l.more}, len(l.list), func(i int) {
			s.withBody(DeviceLink{Sequence: int64(l.list[i].Sequence), Link: []byte{}}, l.list[i].Body)
		})
	})
}
