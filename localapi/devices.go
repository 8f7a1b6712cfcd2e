package localapi

import "context"

// Login makes this a further machine of a user: the vault comes from the coordinator.
func (c *Client) Login(ctx context.Context, r LoginRequest) error { return done(c.raw.Login(ctx, r)) }

// Devices lists the user's machines, and tells the place of this one among them.
func (c *Client) Devices(ctx context.Context) (DeviceList, error) {
	return answer[DeviceList](c.raw.ListDevices(ctx))
}

// AskToJoin asks the user's machines to list this one, and returns the code to be typed in on one of them.
func (c *Client) AskToJoin(ctx context.Context, name string) (PairingCode, error) {
	return answer[PairingCode](c.raw.AskToJoin(ctx, DeviceName{Name: name}))
}

// DeviceRequests lists machines that ask to be listed.
func (c *Client) DeviceRequests(ctx context.Context) ([]DeviceRequest, error) {
	l, err := answer[DeviceRequests](c.raw.ListDeviceRequests(ctx))
	return l.Requests, err
}

// ApproveDevice lists a machine that asks: errors.Is(err, UntrustedKey) if the code is another than the one that it shows.
func (c *Client) ApproveDevice(ctx context.Context, id string, a DeviceApproval) error {
	return done(c.raw.ApproveDevice(ctx, id, a))
}

// RenameDevice changes what a machine is called.
func (c *Client) RenameDevice(ctx context.Context, id, name string) error {
	return done(c.raw.RenameDevice(ctx, id, DeviceName{Name: name}))
}

// RemoveDevice removes a machine for ever.
func (c *Client) RemoveDevice(ctx context.Context, id, password string) error {
	return done(c.raw.RemoveDevice(ctx, id, PasswordRequest{Password: password}))
}

// RecoverDevices begins the list again with this machine alone.
func (c *Client) RecoverDevices(ctx context.Context, r DeviceRecovery) error {
	return done(c.raw.RecoverDevices(ctx, r))
}

// AcceptRecovery says that it was the user who began the list again on another machine.
func (c *Client) AcceptRecovery(ctx context.Context, password string) error {
	return done(c.raw.AcceptRecovery(ctx, PasswordRequest{Password: password}))
}

// TrustVault says that the vault of this machine is the newest one, for a user whose other machines cannot be reached, and are not lost.
func (c *Client) TrustVault(ctx context.Context, password string) error {
	return done(c.raw.TrustVault(ctx, PasswordRequest{Password: password}))
}

// ResetDevice makes this machine another one, which may ask to be listed.
func (c *Client) ResetDevice(ctx context.Context, password string) error {
	return done(c.raw.ResetDevice(ctx, PasswordRequest{Password: password}))
}
