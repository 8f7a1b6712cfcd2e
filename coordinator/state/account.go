package state

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"time"

	"coldframe/internal/fault"
)

// Registration says who may make an account.
type Registration int

// Who may make an account.
const (
	Invitation Registration = iota // whoever has an invitation
	Open                           // everybody
	Closed                         // nobody
)

// EmailHashSize is the length of the labelled hash of an e-mail address in bytes.
const EmailHashSize = 32

// account is what is known of a user.
type account struct {
	Proof    proofHash `cbor:"1,keyasint"`
	Email    []byte    `cbor:"2,keyasint"` // labelled hash
	Created  time.Time `cbor:"3,keyasint"`
	Disabled bool      `cbor:"4,keyasint,omitempty"`
	Quota    Quota     `cbor:"5,keyasint"`

	Recovery   proofHash `cbor:"16,keyasint"`           // what the recovery proof is checked against; empty: none was set
	Invitation []byte    `cbor:"17,keyasint,omitempty"` // hash of the one that it was registered with
}

// account returns a user's account; one that is disabled is not there.
func (t *tx) account(user UserID) (account, error) {
	a, there, err := loadOr[account](t, key("account", string(user)))
	if err == nil && (!there || a.Disabled) {
		err = fault.New(fault.NotFound, "there is no such user")
	}
	return a, err
}

// NewAccount is a registration. The user's id is the id of the change: a registration that is repeated with the same address, proof and invitation logs in.
type NewAccount struct {
	User       UserID
	Email      []byte
	Device     DeviceID
	Proof      []byte
	Recovery   []byte // recovery proof, or nil
	Invitation string
}

// Register makes an account and logs in. Failures: fault.Policy (registration is closed), fault.Forbidden (no valid invitation), fault.Conflict (id or
// address is taken, or the id was), fault.Busy.
func (s *State) Register(ctx context.Context, n NewAccount) (Tokens, error) {
	login := Login{User: n.User, Device: n.Device, Proof: n.Proof}
	if len(n.Email) != EmailHashSize || !n.User.Valid() {
		return Tokens{}, fault.New(fault.InvalidRequest, "the hash of an address has %d bytes, and the id of a user is a UUID", EmailHashSize)
	}
	if err := login.check(); err != nil {
		return Tokens{}, err
	}
	if err := s.view(ctx, func(t *tx) error { return t.mayRegister(n) }); err != nil {
		return Tokens{}, err
	}
	made, err := s.newAccount(ctx, n)
	if err != nil {
		return Tokens{}, err
	}
	refresh, access := newToken(n.User, n.Device), newToken(n.User, n.Device)
	err = s.update(ctx, func(t *tx) error {
		made.Created = t.now
		if err := t.register(n, made); err != nil {
			return err
		}
		return t.begin(login, access, refresh)
	})
	if errors.Is(err, errRegistered) {
		return s.registeredBefore(ctx, n, login)
	}
	if err != nil {
		return Tokens{}, err
	}
	return s.o.tokens(access, refresh), nil
}

// newAccount makes what will be kept of an account, and is the dear part of a registration.
func (s *State) newAccount(ctx context.Context, n NewAccount) (a account, err error) {
	a.Email = n.Email
	if n.Invitation != "" {
		a.Invitation = hashOf(n.Invitation)
	}
	if a.Proof, err = s.proofs.hash(ctx, n.Proof); err == nil && n.Recovery != nil {
		a.Recovery, err = s.proofs.hash(ctx, n.Recovery)
	}
	return a, err
}

var errRegistered = errors.New("the id has an account")

// mayRegister judges a registration before anything dear is done for it. To whoever has no invitation, an id that has an account is as any other.
func (t *tx) mayRegister(n NewAccount) error {
	switch t.s.o.Registration {
	case Closed:
		return fault.New(fault.Policy, "this coordinator takes no registrations")
	case Open:
		return nil
	}
	a, _, err := loadOr[account](t, key("account", string(n.User)))
	if err != nil || fits(n.Invitation, a.Invitation) { // perhaps the same one again: the proof tells
		return err
	}
	_, err = t.invitation(n.Invitation)
	return err
}

func (t *tx) register(n NewAccount, made account) error {
	if err := t.mayRegister(n); err != nil {
		return err
	}
	if _, there, err := loadOr[account](t, key("account", string(n.User))); err != nil || there {
		return errors.Join(err, errRegistered)
	}
	if err := errors.Join(t.wasDeleted(n.User), t.takeAddress(n.User, n.Email)); err != nil {
		return err
	}
	if t.s.o.Registration == Invitation {
		if err := t.useInvitation(n.Invitation); err != nil {
			return err
		}
	}
	return save(t, key("account", string(n.User)), made)
}

// registeredBefore answers a registration under an id that has an account: the answer of the first one may have been lost.
func (s *State) registeredBefore(ctx context.Context, n NewAccount, login Login) (Tokens, error) {
	taken := fault.New(fault.Conflict, "the id has an account")
	err := s.view(ctx, func(t *tx) error {
		a, err := t.account(n.User)
		if err == nil && subtle.ConstantTimeCompare(a.Email, n.Email) != 1 {
			err = taken
		}
		return err
	})
	if err != nil && !errors.Is(err, fault.NotFound) {
		return Tokens{}, err
	}
	tokens, err := s.Login(ctx, login)
	if errors.Is(err, fault.Unauthorized) {
		err = taken
	}
	return tokens, err
}

// Lookup returns the user with an address, by its labelled hash, or fault.NotFound.
func (s *State) Lookup(ctx context.Context, email []byte) (user UserID, err error) {
	err = s.view(ctx, func(t *tx) error {
		id, err := t.Get(emailKey(email))
		if err != nil {
			return err
		}
		user = UserID(id)
		_, err = t.account(user)
		return err
	})
	if errors.Is(err, fault.NotFound) {
		return "", fault.New(fault.NotFound, "there is no such user")
	}
	return user, err
}

// secretKey is the key of a record that is found by a secret: the store never holds the secret.
func secretKey(kind, secret string) string {
	h := sha256.Sum256([]byte(secret))
	return key(kind, hex.EncodeToString(h[:]))
}
