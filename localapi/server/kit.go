package server

import (
	"context"

	"coldframe/daemon"
)

// DraftKit hands out a recovery kit that opens nothing yet.
func (h *handlers) DraftKit(ctx context.Context, r DraftKitRequestObject) (DraftKitResponseObject, error) {
	kit, err := h.agent.DraftKit(ctx, daemon.DraftKitRequest{Password: []byte(r.Body.Password), Email: deref(r.Body.Email)})
	if err != nil {
		return nil, err
	}
	defer clear(kit)
	return DraftKit200JSONResponse{RecoveryKit: string(kit)}, nil
}

// ReplaceKit makes a drafted kit the valid one.
func (h *handlers) ReplaceKit(ctx context.Context, r ReplaceKitRequestObject) (ReplaceKitResponseObject, error) {
	if err := h.agent.ReplaceKit(ctx, kitRequest(r.Body)); err != nil {
		return nil, err
	}
	return ReplaceKit204Response{}, nil
}

// ChangeEmail gives the account the address of a drafted kit.
func (h *handlers) ChangeEmail(ctx context.Context, r ChangeEmailRequestObject) (ChangeEmailResponseObject, error) {
	if err := h.agent.ChangeEmail(ctx, kitRequest(r.Body)); err != nil {
		return nil, err
	}
	return ChangeEmail204Response{}, nil
}

func kitRequest(b *KitChange) daemon.KitRequest {
	return daemon.KitRequest{Password: []byte(b.Password), Kit: []byte(b.RecoveryKit)}
}

// CheckKit tells whether a kit is the valid one.
func (h *handlers) CheckKit(ctx context.Context, r CheckKitRequestObject) (CheckKitResponseObject, error) {
	if err := h.agent.CheckKit(ctx, []byte(r.Body.RecoveryKit)); err != nil {
		return nil, err
	}
	return CheckKit204Response{}, nil
}
