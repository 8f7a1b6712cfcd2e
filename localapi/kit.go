package localapi

import "context"

// DraftKit returns a new recovery kit, for the address that the account has or, unless that is empty, is to have. It opens nothing before ReplaceKit, or
// ChangeEmail for another address.
func (c *Client) DraftKit(ctx context.Context, password, email string) (kit string, err error) {
	r, err := answer[KitText](c.raw.DraftKit(ctx, KitDraftRequest{Password: password, Email: optional(email)}))
	return r.RecoveryKit, err
}

// ReplaceKit makes a drafted kit the valid one. After errors.Is(err, Unavailable) both kits are to be kept, and the same call again decides it.
func (c *Client) ReplaceKit(ctx context.Context, password, kit string) error {
	return done(c.raw.ReplaceKit(ctx, KitChange{Password: password, RecoveryKit: kit}))
}

// ChangeEmail gives the account the address of a drafted kit, and makes that the valid one, as ReplaceKit does.
func (c *Client) ChangeEmail(ctx context.Context, password, kit string) error {
	return done(c.raw.ChangeEmail(ctx, KitChange{Password: password, RecoveryKit: kit}))
}

// CheckKit returns nil if a kit is the valid one, errors.Is(err, NotAuthentic) if it is another account's, or was replaced, errors.Is(err, Unavailable) if
// nobody can tell now. A locked agent answers for this machine's copy of the account.
func (c *Client) CheckKit(ctx context.Context, kit string) error {
	return done(c.raw.CheckKit(ctx, KitText{RecoveryKit: kit}))
}
