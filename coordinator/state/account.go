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
}

// account returns a user's account; one that is disabled is not there.
func (t *tx) account(user UserID) (account, error) {
	a, there, err := loadOr[account](t, key("account", string(user)))
	if err == nil && (!there || a.Disabled) {
		err = fault.New(fault.NotFound, "there is no such user")
	}
	return a, err
}

// NewAccount is a registration. The user's id is the id of the change: a registration that is repeated with the same address and proof logs in.
type NewAccount struct {
	User       UserID
	Email      []byte
	Proof      []byte
	Invitation string
}

// Register makes an account and logs in. Failures: fault.Policy (registration is closed), fault.Forbidden (no valid invitation), fault.Conflict (id or
// address is taken), fault.Busy.
func (s *State) Register(ctx context.Context, n NewAccount) (Tokens, error) {
	if len(n.Email) != EmailHashSize {
		return Tokens{}, fault.New(fault.InvalidRequest, "the hash of an address has %d bytes", EmailHashSize)
	}
	if err := s.view(ctx, func(t *tx) error { return t.mayRegister(n) }); err != nil {
		return Tokens{}, err
	}
	proof, err := s.proofs.hash(ctx, n.Proof)
	if err != nil {
		return Tokens{}, err
	}
	var tokens Tokens
	err = s.update(ctx, func(t *tx) error {
		tokens = newTokens(n.User)
		return t.register(n, proof, tokens)
	})
	if errors.Is(err, errRegistered) {
		return s.registeredBefore(ctx, n)
	}
	return tokens.with(s.o, err)
}

var errRegistered = errors.New("the id has an account")

// mayRegister judges a registration before anything dear is done for it.
func (t *tx) mayRegister(n NewAccount) error {
	_, there, err := loadOr[account](t, key("account", string(n.User)))
	switch {
	case err != nil || there: // perhaps the same one again: the proof tells
		return err
	case t.s.o.Registration == Closed:
		return fault.New(fault.Policy, "this coordinator takes no registrations")
	case t.s.o.Registration == Open:
		return nil
	}
	_, err = t.invitation(n.Invitation)
	return err
}

func (t *tx) register(n NewAccount, proof proofHash, tokens Tokens) error {
	if _, there, err := loadOr[account](t, key("account", string(n.User))); err != nil || there {
		return errors.Join(err, errRegistered)
	}
	if err := t.mayRegister(n); err != nil {
		return err
	}
	email := key("email", hex.EncodeToString(n.Email))
	if _, err := t.Get(email); !errors.Is(err, fault.NotFound) {
		if err == nil {
			err = fault.New(fault.Conflict, "the address has an account")
		}
		return err
	}
	if t.s.o.Registration == Invitation {
		if err := t.useInvitation(n.Invitation); err != nil {
			return err
		}
	}
	if err := t.Set(email, []byte(n.User)); err != nil {
		return err
	}
	if err := save(t, key("account", string(n.User)), account{Proof: proof, Email: n.Email, Created: t.now}); err != nil {
		return err
	}
	return t.begin(tokens)
}

// registeredBefore answers a registration under an id that has an account: the answer of the first one may have been lost.
func (s *State) registeredBefore(ctx context.Context, n NewAccount) (Tokens, error) {
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
	tokens, err := s.Login(ctx, Login{User: n.User, Proof: n.Proof})
	if errors.Is(err, fault.Unauthorized) {
		err = taken
	}
	return tokens, err
}

// Login names a user, by id or by the labelled hash of the address, and proves that it is them.
type Login struct {
	User  UserID
	Email []byte // if User is empty
	Proof []byte
}

// Login begins a session. An unknown user, a disabled one and a wrong proof are all fault.Unauthorized after the same work.
func (s *State) Login(ctx context.Context, l Login) (Tokens, error) {
	user, a, err := s.find(ctx, l)
	if err != nil {
		return Tokens{}, err
	}
	ok, err := s.proofs.check(ctx, a.Proof, l.Proof)
	if err != nil {
		return Tokens{}, err
	}
	if !ok || user == "" {
		return Tokens{}, fault.Unauthorized
	}
	var tokens Tokens
	err = s.update(ctx, func(t *tx) error {
		now, err := t.account(user)
		if errors.Is(err, fault.NotFound) || err == nil && string(now.Proof.Hash) != string(a.Proof.Hash) { // disabled, or changed, meanwhile
			return fault.Unauthorized
		}
		if err != nil {
			return err
		}
		tokens = newTokens(user)
		return t.begin(tokens)
	})
	return tokens.with(s.o, err)
}

// find returns the user whom a login names, or no user and an account that no proof fits.
func (s *State) find(ctx context.Context, l Login) (user UserID, a account, err error) {
	err = s.view(ctx, func(t *tx) error {
		user = l.User
		if user == "" {
			id, err := t.Get(key("email", hex.EncodeToString(l.Email)))
			if err != nil {
				return err
			}
			user = UserID(id)
		}
		a, err = t.account(user)
		return err
	})
	if errors.Is(err, fault.NotFound) {
		return "", account{Proof: s.proofs.nobody}, nil
	}
	return user, a, err
}

// ChangeProof replaces the login proof and ends all other sessions of the user. Repeated after it succeeded, it succeeds. A wrong old proof is fault.Forbidden.
func (s *State) ChangeProof(ctx context.Context, c Caller, old, changed []byte) error {
	_, a, err := s.find(ctx, Login{User: c.User})
	if err != nil {
		return err
	}
	if again, err := s.proofs.check(ctx, a.Proof, changed); err != nil || again {
		return err
	}
	ok, err := s.proofs.check(ctx, a.Proof, old)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Forbidden, "the present proof is another one")
	}
	proof, err := s.proofs.hash(ctx, changed)
	if err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		now, err := t.account(c.User)
		if err != nil {
			return err
		}
		if string(now.Proof.Hash) != string(a.Proof.Hash) {
			return fault.New(fault.Conflict, "the proof was changed meanwhile")
		}
		now.Proof = proof
		if err := save(t, key("account", string(c.User)), now); err != nil {
			return err
		}
		return t.endSessions(c.User, c.Session)
	})
}

// Lookup returns the user with an address, by its labelled hash, or fault.NotFound.
func (s *State) Lookup(ctx context.Context, email []byte) (user UserID, err error) {
	err = s.view(ctx, func(t *tx) error {
		id, err := t.Get(key("email", hex.EncodeToString(email)))
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
