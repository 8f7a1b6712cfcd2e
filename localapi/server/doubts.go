package server

import (
	"context"
	"strconv"

	"coldframe/daemon"
	"coldframe/internal/fault"
)

// RestartSession begins a session anew whose record was refused.
func (h *handlers) RestartSession(ctx context.Context, r RestartSessionRequestObject) (RestartSessionResponseObject, error) {
	return RestartSession204Response{}, h.agent.RestartSession(ctx, deref(r.Body.Contact), []byte(r.Body.Password))
}

// ClearFinding forgets what contacts say of an object.
func (h *handlers) ClearFinding(ctx context.Context, r ClearFindingRequestObject) (ClearFindingResponseObject, error) {
	return ClearFinding204Response{}, h.agent.ClearFinding(ctx, daemon.ClearFindingRequest{
		Object: r.Body.Object, Owner: deref(r.Body.Owner), Contact: deref(r.Body.Contact), Password: []byte(r.Body.Password),
	})
}

// ListAside lists messages that could not be read.
func (h *handlers) ListAside(ctx context.Context, _ ListAsideRequestObject) (ListAsideResponseObject, error) {
	list, err := h.agent.AsideMessages(ctx)
	return ListAside200JSONResponse{Messages: each(list, func(m daemon.AsideMessage) AsideMessage {
		return AsideMessage{
			Number: int(m.Number), Sender: m.Sender, Kind: text(m.Kind), Code: string(m.Code), Time: m.Time, Size: m.Size, //nolint:gosec // counts up from 1
		}
	})}, err
}

// ForgetAside removes one of them.
func (h *handlers) ForgetAside(ctx context.Context, r ForgetAsideRequestObject) (ForgetAsideResponseObject, error) {
	number, err := strconv.ParseUint(r.Id, 10, 63)
	if err != nil {
		return nil, fault.New(fault.InvalidRequest, "a message that was set aside is named by its number")
	}
	return ForgetAside204Response{}, h.agent.ForgetAside(ctx, number)
}

func findingOf(f daemon.HeadFinding) HeadFinding {
	out := HeadFinding{Object: f.Object, Code: HeadFindingCode(f.Code), Contact: text(f.Contact), Owner: text(f.Owner)}
	if f.Contact != "" {
		out.Verified = &f.Verified
	}
	return out
}
