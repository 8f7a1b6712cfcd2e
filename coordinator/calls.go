package coordinator

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"coldframe/internal/fault"
)

// Info asks for version, registration and epoch.
func (c *Client) Info(ctx context.Context) (Info, error) { return read[Info](c.raw.GetInfo(ctx)) }

// Register makes an account and logs in. A device that is empty is that of the client.
func (c *Client) Register(ctx context.Context, r Registration) error {
	if r.Device == "" {
		r.Device = c.Device()
	}
	t, err := read[Tokens](c.raw.Register(ctx, r))
	if err != nil {
		return err
	}
	return c.loggedIn(ctx, r.User, r.Device, t)
}

// Login begins a session in the place of the device's last one, by id or by the labelled hash of the address; with the latter the caller learns the id from
// User, and must not trust it. A device that is empty is that of the client.
func (c *Client) Login(ctx context.Context, l Login) error {
	if l.Device == "" {
		l.Device = c.Device()
	}
	t, err := read[Tokens](c.raw.Login(ctx, l))
	if err != nil {
		return err
	}
	user := t.User
	if l.User != nil {
		user = *l.User
	} else if !IsUUID(user) { // it becomes a part of paths and of what is hashed
		return fault.New(fault.NotAuthentic, "the coordinator answered with no id of a user")
	}
	return c.loggedIn(ctx, user, l.Device, t)
}

// Device is the id of the device that is logged in, or will be.
func (c *Client) Device() DeviceID {
	if d := c.present().Device; d != "" {
		return d
	}
	return c.o.Device
}

// User is who is logged in.
func (c *Client) User() UserID { return c.present().User }

// Logout ends this session and the device's credential, or all of the user. One that has ended already is no failure; whether all have is unknown then, and
// is fault.Unauthorized.
func (c *Client) Logout(ctx context.Context, all bool) error {
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.Logout(ctx, &LogoutParams{All: &all}, e)
	})
	ended := errors.Is(err, fault.Unauthorized)
	if err != nil && !ended {
		return err
	}
	if ended && !all {
		err = nil
	}
	return errors.Join(err, c.forget(ctx))
}

// Sessions lists the user's devices that have a session or a credential.
func (c *Client) Sessions(ctx context.Context) ([]DeviceSession, error) {
	l, err := do[SessionList](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.ListSessions(ctx, e) })
	return l.Sessions, err
}

// EndSession ends the session of a device of the user, and its credential. One that is not there is no failure.
func (c *Client) EndSession(ctx context.Context, device DeviceID) error {
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.EndSession(ctx, device, e) })
	return err
}

// SetRecovery sets the recovery proof; the login proof is needed for it.
func (c *Client) SetRecovery(ctx context.Context, r RecoveryChange) error {
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.SetRecovery(ctx, r, e) })
	return err
}

// ChangeProof replaces the login proof, in a session of the recovery proof with that, and with it, all or none, the hash of the address and blobs.
func (c *Client) ChangeProof(ctx context.Context, p ProofChange) error {
	if p.Swaps != nil {
		whole := wholeSwaps(*p.Swaps)
		p.Swaps = &whole
	}
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.ChangeProof(ctx, p, e) })
	return err
}

// WithdrawPreKeys removes all prekeys of the account.
func (c *Client) WithdrawPreKeys(ctx context.Context, proof []byte) error {
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.WithdrawPreKeys(ctx, PreKeyWithdrawal{Proof: proof}, e)
	})
	return err
}

// DeleteAccount removes the account and all that is stored for it. After a lost answer the next call is fault.Unauthorized.
func (c *Client) DeleteAccount(ctx context.Context, proof []byte) error {
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.DeleteAccount(ctx, AccountDeletion{Proof: proof}, e)
	})
	return err
}

// Account returns what the user uses.
func (c *Client) Account(ctx context.Context) (Account, error) {
	return do[Account](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.GetAccount(ctx, e) })
}

// Lookup returns the id of the user with an address, by its labelled hash. It is the coordinator's word.
func (c *Client) Lookup(ctx context.Context, emailHash []byte) (UserID, error) {
	f, err := do[Found](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.Lookup(ctx, LookupRequest{EmailHash: emailHash}, e)
	})
	return f.User, err
}

// PreKeyStatus returns what the coordinator says that it hands out for the user.
func (c *Client) PreKeyStatus(ctx context.Context) (PreKeyStatus, error) {
	return do[PreKeyStatus](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.GetPreKeyStatus(ctx, e) })
}

// PutPreKeys offers prekeys.
func (c *Client) PutPreKeys(ctx context.Context, u PreKeyUpload) (PreKeyCount, error) {
	u.OneTime = notNil(u.OneTime)
	return do[PreKeyCount](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.PutPreKeys(ctx, u, e) })
}

// FetchPreKeys returns a user's bundle, unchecked. The request's id, a UUID, is kept until the answer is durable.
func (c *Client) FetchPreKeys(ctx context.Context, user UserID, request RequestID) (PreKeys, error) {
	return do[PreKeys](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.FetchPreKeys(ctx, user, PreKeyRequest{Request: request}, e)
	})
}

// Send puts a message into a user's mailbox. That it did says nothing of whether the user will see it: only an answer of theirs does.
func (c *Client) Send(ctx context.Context, user UserID, m OutgoingMessage) error {
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.SendMessage(ctx, user, m, e) })
	return err
}

// Inbox returns messages after a number; 0 is from the beginning.
func (c *Client) Inbox(ctx context.Context, after int64) (Inbox, error) {
	return do[Inbox](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.ListMessages(ctx, &ListMessagesParams{After: &after}, e)
	})
}

// Acknowledge removes messages that are committed.
func (c *Client) Acknowledge(ctx context.Context, list ...Acknowledgement) error {
	_, err := do[Acknowledged](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.AcknowledgeMessages(ctx, Acknowledgements{Messages: list}, e)
	})
	return err
}

// Swap changes blobs, all or none. A swap that is tried again is the same one, nonces included.
func (c *Client) Swap(ctx context.Context, swaps ...Swap) (Swapped, error) {
	return do[Swapped](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.SwapBlobs(ctx, SwapRequest{Swaps: wholeSwaps(swaps)}, e)
	})
}

// AddDeviceLink appends to the user's device list.
func (c *Client) AddDeviceLink(ctx context.Context, l DeviceLink) error {
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.AddDeviceLink(ctx, l, e) })
	return err
}

// DeviceLinks returns links of a user's device list, unchecked, after a number.
func (c *Client) DeviceLinks(ctx context.Context, user UserID, after int64) (DeviceLinks, error) {
	return do[DeviceLinks](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.ListDeviceLinks(ctx, user, &ListDeviceLinksParams{After: &after}, e)
	})
}

// notNil returns an empty list for none: nil would be null, which no schema allows.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// wholeSwaps returns swaps whose bodies are not nil: those of a deletion are empty.
func wholeSwaps(swaps []Swap) []Swap {
	out := slices.Clone(swaps)
	for i := range out {
		out[i].Body = notNil(out[i].Body)
	}
	return out
}
