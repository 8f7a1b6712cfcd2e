package server

import (
	"context"

	"coldframe/daemon"
)

// ListDevices lists the user's machines.
func (h *handlers) ListDevices(ctx context.Context, _ ListDevicesRequestObject) (ListDevicesResponseObject, error) {
	l, err := h.agent.Devices(ctx)
	out := ListDevices200JSONResponse{Id: l.ID, State: DeviceState(l.State), Error: text(string(l.Error))}
	if l.Devices != nil {
		machines := each(l.Devices, func(d daemon.MachineInfo) Device {
			return Device{Id: d.ID, Name: d.Name, Added: d.Added, KeyTime: d.KeyTime, This: d.This}
		})
		out.Devices = &machines
	}
	return out, err
}

// AskToJoin asks to be listed, and answers with the code to show.
func (h *handlers) AskToJoin(ctx context.Context, r AskToJoinRequestObject) (AskToJoinResponseObject, error) {
	code, err := h.agent.AskToJoin(ctx, r.Body.Name)
	defer clear(code)
	return AskToJoin200JSONResponse{Code: string(code)}, err
}

// ListDeviceRequests lists machines that ask.
func (h *handlers) ListDeviceRequests(ctx context.Context, _ ListDeviceRequestsRequestObject) (ListDeviceRequestsResponseObject, error) {
	l, err := h.agent.DeviceRequests(ctx)
	return ListDeviceRequests200JSONResponse{Requests: each(l, func(r daemon.DeviceRequest) DeviceRequest {
		return DeviceRequest{Device: r.Device, Name: r.Name, Time: r.Time}
	})}, err
}

// ApproveDevice lists a machine that asks.
func (h *handlers) ApproveDevice(ctx context.Context, r ApproveDeviceRequestObject) (ApproveDeviceResponseObject, error) {
	return ApproveDevice204Response{}, h.agent.ApproveDevice(ctx, r.Id, []byte(r.Body.Code), []byte(r.Body.Password))
}

// RenameDevice changes what a machine is called.
func (h *handlers) RenameDevice(ctx context.Context, r RenameDeviceRequestObject) (RenameDeviceResponseObject, error) {
	return RenameDevice204Response{}, h.agent.RenameDevice(ctx, r.Id, r.Body.Name)
}

// RemoveDevice removes a machine.
func (h *handlers) RemoveDevice(ctx context.Context, r RemoveDeviceRequestObject) (RemoveDeviceResponseObject, error) {
	return RemoveDevice204Response{}, h.agent.RemoveDevice(ctx, r.Id, []byte(r.Body.Password))
}

// RecoverDevices begins the list again.
func (h *handlers) RecoverDevices(ctx context.Context, r RecoverDevicesRequestObject) (RecoverDevicesResponseObject, error) {
	return RecoverDevices204Response{}, h.agent.RecoverDevices(ctx, r.Body.Name, []byte(r.Body.Password))
}

// AcceptRecovery follows a list that began again.
func (h *handlers) AcceptRecovery(ctx context.Context, r AcceptRecoveryRequestObject) (AcceptRecoveryResponseObject, error) {
	return AcceptRecovery204Response{}, h.agent.AcceptRecovery(ctx, []byte(r.Body.Password))
}

// TrustVault takes this machine's vault for the newest.
func (h *handlers) TrustVault(ctx context.Context, r TrustVaultRequestObject) (TrustVaultResponseObject, error) {
	return TrustVault204Response{}, h.agent.TrustVault(ctx, []byte(r.Body.Password))
}

// ResetDevice makes this machine another device.
func (h *handlers) ResetDevice(ctx context.Context, r ResetDeviceRequestObject) (ResetDeviceResponseObject, error) {
	return ResetDevice204Response{}, h.agent.ResetDevice(ctx, []byte(r.Body.Password))
}
