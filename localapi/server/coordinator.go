package server

import (
	"context"

	"coldframe/daemon"
)

// GetCoordinator tells which coordinator the account uses.
func (h *handlers) GetCoordinator(ctx context.Context, _ GetCoordinatorRequestObject) (GetCoordinatorResponseObject, error) {
	c, err := h.agent.Coordinator(ctx)
	return GetCoordinator200JSONResponse(coordinatorOf(c)), err
}

// ConnectCoordinator joins a coordinator.
func (h *handlers) ConnectCoordinator(ctx context.Context, r ConnectCoordinatorRequestObject) (ConnectCoordinatorResponseObject, error) {
	c, err := h.agent.ConnectCoordinator(ctx, daemon.CoordinatorRequest{
		Password: []byte(r.Body.Password), URL: r.Body.Url, CA: deref(r.Body.Ca), Invitation: deref(r.Body.Invitation),
		Kit: []byte(deref(r.Body.RecoveryKit)),
	})
	return ConnectCoordinator200JSONResponse(coordinatorOf(c)), err
}

// DisconnectCoordinator leaves the coordinator.
func (h *handlers) DisconnectCoordinator(
	ctx context.Context, r DisconnectCoordinatorRequestObject,
) (DisconnectCoordinatorResponseObject, error) {
	if err := h.agent.DisconnectCoordinator(ctx, []byte(r.Body.Password)); err != nil {
		return nil, err
	}
	return DisconnectCoordinator204Response{}, nil
}

// RestoreCoordinator gives a restored coordinator what this machine has newer.
func (h *handlers) RestoreCoordinator(ctx context.Context, r RestoreCoordinatorRequestObject) (RestoreCoordinatorResponseObject, error) {
	done, err := h.agent.RestoreCoordinator(ctx, daemon.RestoreCoordinatorRequest{
		Password: []byte(r.Body.Password), Kit: []byte(deref(r.Body.RecoveryKit)),
	})
	out := CoordinatorRestored{Vault: done.Vault, Links: done.Links, Records: done.Records, Bodies: done.Bodies, Left: []RecordLeft{}}
	for _, l := range done.Left {
		out.Left = append(out.Left, RecordLeft{Contact: text(l.Contact), Code: string(l.Code)})
	}
	return RestoreCoordinator200JSONResponse(out), err
}

// DeleteCoordinatorAccount removes the account at the coordinator.
func (h *handlers) DeleteCoordinatorAccount(
	ctx context.Context, r DeleteCoordinatorAccountRequestObject,
) (DeleteCoordinatorAccountResponseObject, error) {
	err := h.agent.DeleteCoordinatorAccount(ctx, daemon.DeletionRequest{Password: []byte(r.Body.Password), URL: r.Body.Url, Gone: deref(r.Body.Gone)})
	if err != nil {
		return nil, err
	}
	return DeleteCoordinatorAccount204Response{}, nil
}

func coordinatorOf(c daemon.CoordinatorInfo) Coordinator {
	sync := syncOf(c.Sync)
	return Coordinator{
		Url: c.URL, State: CoordinatorState(c.State), Since: c.Since, Error: text(string(c.Error)), Ca: text(c.CA), Sync: &sync,
	}
}

func syncOf(st daemon.SyncStatus) SyncStatus {
	out := SyncStatus{
		Device: st.Device, Fresh: st.Fresh, Outbox: st.Outbox, SetAside: st.Aside,
		Failures: []SyncFailure{}, Findings: []HeadFinding{}, Refused: []RefusedSession{},
	}
	for _, f := range st.Failures {
		out.Failures = append(out.Failures, SyncFailure{Task: SyncFailureTask(f.Task), Code: string(f.Code)})
	}
	for _, f := range st.Findings {
		out.Findings = append(out.Findings, findingOf(f))
	}
	for _, f := range st.Refused {
		out.Refused = append(out.Refused, RefusedSession{Contact: text(f.Contact), Code: RefusedSessionCode(f.Code)})
	}
	return out
}
