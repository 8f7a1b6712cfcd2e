package state

import (
	"context"
	"errors"
	"time"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

// LoginKind says what a login proves itself with.
type LoginKind int

// The kinds.
const (
	PasswordLogin LoginKind = iota // the login proof
	RecoveryLogin                  // the recovery proof, to replace the login proof
	DeviceLogin                    // the credential of the device
)

// Login names a user, by id or by the labelled hash of the address, and proves that it is them. The device is the id of the change: its login takes the
// place of the one before, so one whose answer was lost is made again and leaves nothing.
type Login struct {
	User       UserID
	Email      []byte // if User is empty
	Device     DeviceID
	Kind       LoginKind
	Proof      []byte
	Credential []byte // random, good for a DeviceLogin of this device later; only of a PasswordLogin. Without one the device has none
}

func (l Login) check() error {
	if !coordinator.IsUUID(string(l.Device)) {
		return fault.New(fault.InvalidRequest, "the id of a device is a UUID")
	}
	if l.Credential != nil && (len(l.Credential) != ProofSize || l.Kind != PasswordLogin) {
		return fault.New(fault.InvalidRequest, "a credential has %d bytes, and is given with the login proof", ProofSize)
	}
	return nil
}

// Login begins a session. An unknown user, a disabled one, a wrong proof and one that was never set are all fault.Unauthorized after the same work.
func (s *State) Login(ctx context.Context, l Login) (Tokens, error) {
	if err := l.check(); err != nil {
		return Tokens{}, err
	}
	user, a, err := s.find(ctx, l)
	if err != nil {
		return Tokens{}, err
	}
	ok, err := s.proves(ctx, user, a, l)
	if err != nil {
		return Tokens{}, err
	}
	if !ok || user == "" {
		return Tokens{}, fault.Unauthorized
	}
	refresh, access := newToken(user, l.Device), newToken(user, l.Device)
	err = s.urgent(ctx, func(t *tx) error {
		now, err := t.account(user)
		if errors.Is(err, fault.NotFound) || err == nil && !now.proof(l.Kind).equal(a.proof(l.Kind)) { // disabled, or changed, meanwhile
			return fault.Unauthorized
		}
		if err != nil {
			return err
		}
		return t.begin(l, access, refresh)
	})
	if err != nil {
		return Tokens{}, err
	}
	return s.o.tokens(access, refresh), nil
}

// proof is what a kind of login is checked against; nothing fits one that is not there.
func (a account) proof(kind LoginKind) proofHash {
	if kind == RecoveryLogin {
		return a.Recovery
	}
	return a.Proof
}

// proves checks the proof of a login. Where there is none to compare with, one that nobody has takes its place.
func (s *State) proves(ctx context.Context, user UserID, a account, l Login) (ok bool, err error) {
	if l.Kind != DeviceLogin {
		h := a.proof(l.Kind)
		if len(h.Hash) == 0 {
			h = s.proofs.nobody
		}
		return s.proofs.check(ctx, h, l.Proof)
	}
	err = s.view(ctx, func(t *tx) error {
		r, _, err := loadOr[deviceRecord](t, deviceKey(user, l.Device))
		ok = r.proves(l.Proof, t.now)
		return err
	})
	return ok, err
}

func (r *deviceRecord) proves(credential []byte, now time.Time) bool {
	return fits(string(credential), r.Credential) && r.trusted(now)
}

// begin records the login of a device.
func (t *tx) begin(l Login, access, refresh token) error {
	r, there, err := loadOr[deviceRecord](t, deviceKey(access.user, l.Device))
	if err != nil {
		return err
	}
	next := deviceRecord{Begun: t.now, Ends: r.Ends, Recovery: l.Kind == RecoveryLogin}
	switch {
	case l.Kind == DeviceLogin && !r.proves(l.Proof, t.now): // ended meanwhile
		return fault.Unauthorized
	case l.Kind == DeviceLogin:
		next.Credential, next.CredentialUntil = r.Credential, r.CredentialUntil
	case l.Credential != nil:
		next.Credential, next.CredentialUntil = hashOf(string(l.Credential)), t.now.Add(t.s.o.Limits.CredentialTTL)
	}
	if !there {
		if err := t.makeRoom(access.user); err != nil {
			return err
		}
	}
	t.issue(&next, access, refresh)
	t.woken = append(t.woken, access.user) // the session before has ended
	return t.saveDevice(access.user, l.Device, next)
}

// makeRoom removes the device that was used longest ago if the user has too many; those without a credential go first.
func (t *tx) makeRoom(user UserID) error {
	n, first, oldest := 0, DeviceID(""), deviceRecord{}
	err := t.eachDevice(user, func(d DeviceID, r deviceRecord) {
		n++
		has, had := r.trusted(t.now), oldest.trusted(t.now)
		if first == "" || !has && had || has == had && r.Used.Before(oldest.Used) {
			first, oldest = d, r
		}
	})
	if err != nil || n < t.s.o.Limits.Sessions {
		return err
	}
	return t.removeDevice(user, first, oldest)
}

// find returns the user whom a login names, or no user and an account that no proof fits.
func (s *State) find(ctx context.Context, l Login) (user UserID, a account, err error) {
	err = s.view(ctx, func(t *tx) error {
		user = l.User
		if user == "" {
			id, err := t.Get(emailKey(l.Email))
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

// SetRecovery sets or replaces the recovery proof, which its owner's agent makes from the recovery key. Sessions that began with the one before end. A wrong login
// proof is fault.Forbidden.
func (s *State) SetRecovery(ctx context.Context, c Caller, proof, recovery []byte) error {
	before, err := s.prove(ctx, c.User, Login{Proof: proof})
	if err != nil {
		return err
	}
	h, err := s.newRecovery(ctx, before, recovery)
	if err != nil {
		return err
	}
	return s.urgent(ctx, func(t *tx) error {
		now, err := t.unchanged(c.User, before)
		if err != nil {
			return err
		}
		now.Recovery = h
		return errors.Join(save(t, key("account", string(c.User)), now), t.endRecovered(c, before, now))
	})
}
