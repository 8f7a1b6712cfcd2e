package localapi

import "context"

// MaxSecret is the length in bytes of the longest secret.
const MaxSecret = 64 << 10

// Contacts lists whom the user knows, and the strangers who ask.
func (c *Client) Contacts(ctx context.Context) ([]Contact, error) {
	l, err := answer[ContactList](c.raw.ListContacts(ctx))
	return l.Contacts, err
}

// AddContact adds somebody, by id or by e-mail address.
func (c *Client) AddContact(ctx context.Context, r ContactRequest) (Contact, error) {
	return answer[Contact](c.raw.AddContact(ctx, r))
}

// Contact returns one contact.
func (c *Client) Contact(ctx context.Context, user string) (Contact, error) {
	return answer[Contact](c.raw.GetContact(ctx, user))
}

// RenameContact changes what a contact is called here.
func (c *Client) RenameContact(ctx context.Context, user, name string) (Contact, error) {
	return answer[Contact](c.raw.RenameContact(ctx, user, ContactName{Name: name}))
}

// RemoveContact forgets a contact but for their keys, or declines a stranger.
func (c *Client) RemoveContact(ctx context.Context, user string) error {
	return done(c.raw.RemoveContact(ctx, user, EmptyObject{}))
}

// AcceptContact consents to a stranger, or unblocks.
func (c *Client) AcceptContact(ctx context.Context, user string) (Contact, error) {
	return answer[Contact](c.raw.AcceptContact(ctx, user, EmptyObject{}))
}

// BlockContact drops what waits of somebody, and whatever they send from now on.
func (c *Client) BlockContact(ctx context.Context, user string) (Contact, error) {
	return answer[Contact](c.raw.BlockContact(ctx, user, EmptyObject{}))
}

// SafetyNumber returns the safety numbers with a contact.
func (c *Client) SafetyNumber(ctx context.Context, user string) (SafetyNumbers, error) {
	return answer[SafetyNumbers](c.raw.GetSafetyNumber(ctx, user))
}

// VerifyContact notes that a person compared the safety number: errors.Is(err, KeyChanged) if it is another.
func (c *Client) VerifyContact(ctx context.Context, user string, given Comparison) (Contact, error) {
	return answer[Contact](c.raw.VerifyContact(ctx, user, given))
}

// UnverifyContact takes that back.
func (c *Client) UnverifyContact(ctx context.Context, user string) (Contact, error) {
	return answer[Contact](c.raw.UnverifyContact(ctx, user, EmptyObject{}))
}

// ResolveContact ends that a contact is changed.
func (c *Client) ResolveContact(ctx context.Context, user string, r Resolution) (Contact, error) {
	return answer[Contact](c.raw.ResolveContact(ctx, user, r))
}

// Secrets lists secrets without their bodies, the newest first.
func (c *Client) Secrets(ctx context.Context) ([]SecretInfo, error) {
	l, err := answer[SecretList](c.raw.ListSecrets(ctx))
	return l.Secrets, err
}

// SendSecret queues a secret. With an id of the caller's the call may be repeated and has one effect.
func (c *Client) SendSecret(ctx context.Context, r SecretRequest) (SecretInfo, error) {
	return answer[SecretInfo](c.raw.SendSecret(ctx, r))
}

// Secret returns a secret with its body, which the caller wipes.
func (c *Client) Secret(ctx context.Context, ref string) (Secret, error) {
	return answer[Secret](c.raw.GetSecret(ctx, ref))
}

// RemoveSecret removes a secret from this user's vault, and tells what became of its message.
func (c *Client) RemoveSecret(ctx context.Context, ref string) (SecretRemoval, error) {
	return answer[SecretRemoval](c.raw.RemoveSecret(ctx, ref, EmptyObject{}))
}
