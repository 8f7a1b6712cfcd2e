package localapi

import (
	"context"
	"strconv"
)

// RestartSession begins the session with a contact anew whose record was refused, or gives up the prekeys without a contact.
func (c *Client) RestartSession(ctx context.Context, r RestartRequest) error {
	return done(c.raw.RestartSession(ctx, r))
}

// ClearFinding forgets what contacts say of an object.
func (c *Client) ClearFinding(ctx context.Context, r ClearRequest) error {
	return done(c.raw.ClearFinding(ctx, r))
}

// Aside lists the messages that could not be read, the oldest first.
func (c *Client) Aside(ctx context.Context) ([]AsideMessage, error) {
	l, err := answer[AsideList](c.raw.ListAside(ctx))
	return l.Messages, err
}

// ForgetAside removes one of them.
func (c *Client) ForgetAside(ctx context.Context, number int) error {
	return done(c.raw.ForgetAside(ctx, strconv.Itoa(number), EmptyObject{}))
}
