package link

import (
	"context"

	"coldframe/coordinator"
	"coldframe/internal/secret"
)

// Beginning is a session of a machine that has no vault yet. It is in memory alone: what seals tokens comes with the vault, and then a Link
// logs in in its place.
type Beginning struct{ l *Link }

// Begin logs in with a proof that was made of password and kit. With recovery it is the proof of the recovery key, and the session may read
// and set a new login proof, no more. Of the options Settings, Policy, User, Device and Now are used. Failures are for the caller: they have
// a code of this program and none of the coordinator's text; after any of them no session is left.
func Begin(ctx context.Context, o Options, proof secret.Key, recovery bool) (*Beginning, error) {
	o.Store = forgetful{}
	l, err := New(o)
	if err != nil {
		return nil, err
	}
	b := &Beginning{l}
	if l.session, err = l.newSession(nil); err == nil {
		ctx, cancel := context.WithTimeout(ctx, joinTime)
		defer cancel()
		err = l.session.begin(ctx, proof, recovery)
	}
	if err != nil {
		b.Close()
		return nil, Failure(err)
	}
	return b, nil
}

// Client returns the client of the session. Its failures become those of this program by Failure.
func (b *Beginning) Client() (*coordinator.Client, error) { return b.l.session.c, nil }

// SetProof sets a new login proof, and the hash of the address, in a session that began with the proof of the recovery kit, which it is given
// again. Other sessions end.
func (b *Beginning) SetProof(ctx context.Context, recovery, proof secret.Key, emailHash []byte) error {
	return Failure(b.l.session.changeProof(ctx, recovery, proof, emailHash))
}

// DeleteAccount removes the account. Whether it did after fault.Unavailable, fault.StorageFull or fault.Unauthorized, another login tells; after any other
// failure it did not.
func (b *Beginning) DeleteAccount(ctx context.Context, proof secret.Key) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	return Failure(b.l.session.deleteAccount(ctx, proof))
}

// Logout ends the session at the coordinator.
func (b *Beginning) Logout(ctx context.Context) error { return b.l.Logout(ctx) }

// Close leaves the session to the login that takes its place, or to its end.
func (b *Beginning) Close() { b.l.transport.CloseIdleConnections() }

// forgetful is a Store that keeps nothing.
type forgetful struct{}

func (forgetful) Tokens() ([]byte, error)    { return nil, nil }
func (forgetful) SaveTokens([]byte) error    { return nil }
func (forgetful) Proofs() (*Proofs, error)   { return nil, nil }
func (forgetful) ForgetProofs(*Proofs) error { return nil }

func (forgetful) Credential() (secret.Key, error)    { return secret.Key{}, nil }
func (forgetful) NewCredential() (secret.Key, error) { return secret.Key{}, nil }
func (forgetful) CredentialTaken() error             { return nil }
