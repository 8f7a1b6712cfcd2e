package coordinator

import (
	"context"
	"crypto/subtle"
	"net/http"

	"coldframe/internal/fault"
)

// Info asks for version, registration and epoch.
func (c *Client) Info(ctx context.Context) (Info, error) { return read[Info](c.raw.GetInfo(ctx)) }

// Register makes an account and logs in.
func (c *Client) Register(ctx context.Context, r Registration) error {
	t, err := read[Tokens](c.raw.Register(ctx, r))
	return c.begin(r.User, t, err)
}

// Login begins a session, by id or by the labelled hash of the address; with the latter the caller learns the id from User, and must not trust it.
func (c *Client) Login(ctx context.Context, l Login) error {
	t, err := read[Tokens](c.raw.Login(ctx, l))
	user := t.User
	if l.User != nil {
		user = *l.User
	}
	return c.begin(user, t, err)
}

// User is who is logged in.
func (c *Client) User() UserID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.User
}

// Logout ends this session, or all of the user.
func (c *Client) Logout(ctx context.Context, all bool) error {
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.Logout(ctx, &LogoutParams{All: &all}, e)
	})
	return err
}

// ChangeProof replaces the login proof.
func (c *Client) ChangeProof(ctx context.Context, p ProofChange) error {
	_, err := do[empty](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.ChangeProof(ctx, p, e) })
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

// PreKeyCount returns how many one-time prekeys are left.
func (c *Client) PreKeyCount(ctx context.Context) (PreKeyCount, error) {
	return do[PreKeyCount](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.GetPreKeyCount(ctx, e) })
}

// PutPreKeys offers prekeys.
func (c *Client) PutPreKeys(ctx context.Context, u PreKeyUpload) (PreKeyCount, error) {
	return do[PreKeyCount](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.PutPreKeys(ctx, u, e) })
}

// FetchPreKeys returns a user's bundle, unchecked. The request's id, a UUID, is kept until the answer is durable.
func (c *Client) FetchPreKeys(ctx context.Context, user UserID, request RequestID) (PreKeys, error) {
	return do[PreKeys](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.FetchPreKeys(ctx, user, PreKeyRequest{Request: request}, e)
	})
}

// Send puts a message into a user's mailbox.
func (c *Client) Send(ctx context.Context, user UserID, m OutgoingMessage) (Sent, error) {
	return do[Sent](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.SendMessage(ctx, user, m, e) })
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

// Blobs lists blobs by name, after one.
func (c *Client) Blobs(ctx context.Context, after string) (BlobList, error) {
	p := &ListBlobsParams{}
	if after != "" {
		p.After = &after
	}
	return do[BlobList](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.ListBlobs(ctx, p, e) })
}

// Blob returns a version of a blob, the newest for counter 0. That its parts fit its hash is checked; that it is the newest cannot be.
func (c *Client) Blob(ctx context.Context, name string, counter int64) (BlobBody, error) {
	p := &GetBlobParams{}
	if counter > 0 {
		p.Counter = &counter
	}
	b, err := do[BlobBody](ctx, c, func(e RequestEditorFn) (*http.Response, error) { return c.raw.GetBlob(ctx, name, p, e) })
	if err != nil {
		return b, err
	}
	if b.Counter < 1 || counter > 0 && b.Counter != counter || len(b.Previous) != HashSize || len(b.Nonce) != NonceSize {
		return BlobBody{}, fault.New(fault.NotAuthentic, "the coordinator answered with another blob")
	}
	want := BlobHash(c.User(), name, uint64(b.Counter), [HashSize]byte(b.Previous), [NonceSize]byte(b.Nonce), b.Body)
	if subtle.ConstantTimeCompare(want[:], b.Hash) != 1 {
		return BlobBody{}, fault.New(fault.NotAuthentic, "the coordinator answered with another blob")
	}
	return b, nil
}

// Swap changes blobs, all or none. A swap that is tried again is the same one, nonces included.
func (c *Client) Swap(ctx context.Context, swaps ...Swap) (Swapped, error) {
	return do[Swapped](ctx, c, func(e RequestEditorFn) (*http.Response, error) {
		return c.raw.SwapBlobs(ctx, SwapRequest{Swaps: swaps}, e)
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
