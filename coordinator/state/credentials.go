package state

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"

	"coldframe/internal/fault"
)

// ProofChange is a new login proof and what changes with it, all in one transaction: the vault key that is wrapped anew, the address whose hash is the salt,
// the proof of a new recovery kit.
type ProofChange struct {
	Old, New     []byte // the same if only the rest changes
	Email        []byte // labelled hash of the new address; empty: the address stays
	Recovery     []byte // new recovery proof; empty: it stays
	Swaps        []Swap
	KeepSessions bool // other sessions of the user go on
}

// ChangeProof replaces the login proof, and makes the swaps and the changes of address and recovery proof that come with it, all or nothing. Other sessions end,
// with their credentials, if the login proof is another one. The old proof may be the recovery proof, and is it in a session that began with that. Repeated after
// it succeeded, it succeeds.
// Failures: fault.Forbidden (a wrong old proof), fault.Conflict (the address is taken, the proof was changed meanwhile), and those of Swap.
func (s *State) ChangeProof(ctx context.Context, c Caller, p ProofChange) error {
	if len(p.Email) > 0 && len(p.Email) != EmailHashSize {
		return fault.New(fault.InvalidRequest, "the hash of an address has %d bytes", EmailHashSize)
	}
	if len(p.Swaps) > 0 {
		if err := errors.Join(checkSwaps(p.Swaps), s.pace.take(c.User, sizeOf(p.Swaps))); err != nil {
			return err
		}
	}
	a, proof, again, err := s.newProof(ctx, c, p)
	if err != nil {
		return err
	}
	recovery := a.Recovery
	if len(p.Recovery) > 0 {
		if recovery, err = s.proofs.hash(ctx, p.Recovery); err != nil {
			return err
		}
	}
	return s.update(ctx, func(t *tx) error {
		now, err := t.unchanged(c.User, a)
		if err != nil {
			return err
		}
		now.Proof, now.Recovery = proof, recovery
		if err := t.moveAddress(c.User, &now, p.Email); err != nil {
			return err
		}
		if len(p.Swaps) > 0 {
			if _, err := t.swapBlobs(c.User, p.Swaps); err != nil {
				return err
			}
		}
		if err := save(t, key("account", string(c.User)), now); err != nil {
			return err
		}
		if !p.KeepSessions && !again {
			err = t.endSessions(c.User, c)
		}
		return errors.Join(err, t.recovered(c))
	})
}

// mayProve is what a caller shows to replace the login proof: who forgot the password while a session goes on has the recovery proof alone.
func (c Caller) mayProve() []LoginKind {
	if c.Recovery {
		return []LoginKind{RecoveryLogin}
	}
	return []LoginKind{PasswordLogin, RecoveryLogin}
}

// recovered makes a session of a recovery proof one as any other.
func (t *tx) recovered(c Caller) error {
	r, there, err := loadOr[deviceRecord](t, deviceKey(c.User, c.Device))
	if err != nil || !there || !r.Recovery {
		return err
	}
	r.Recovery = false
	return t.saveDevice(c.User, c.Device, r)
}

// newProof returns the account as it is and the hash of the new proof, if the old one is right or the new one is in force already.
func (s *State) newProof(ctx context.Context, c Caller, p ProofChange) (a account, proof proofHash, again bool, err error) {
	if _, a, err = s.find(ctx, Login{User: c.User}); err != nil {
		return a, proof, false, err
	}
	if again, err = s.proofs.check(ctx, a.Proof, p.New); err != nil || again {
		return a, a.Proof, again, err
	}
	for _, kind := range c.mayProve() {
		if a, err = s.prove(ctx, c.User, Login{Kind: kind, Proof: p.Old}); !errors.Is(err, fault.Forbidden) {
			break
		}
	}
	if err != nil {
		return a, proof, false, err
	}
	proof, err = s.proofs.hash(ctx, p.New)
	return a, proof, false, err
}

// prove returns the account of a user whose proof this is, or fault.Forbidden.
func (s *State) prove(ctx context.Context, user UserID, l Login) (account, error) {
	_, a, err := s.find(ctx, Login{User: user})
	if err != nil {
		return a, err
	}
	ok, err := s.proves(ctx, user, a, l)
	if err == nil && !ok {
		err = fault.New(fault.Forbidden, "the present proof is another one")
	}
	return a, err
}

// unchanged returns a user's account if its proofs are still those that were checked.
func (t *tx) unchanged(user UserID, checked account) (account, error) {
	now, err := t.account(user)
	if err == nil && (!now.Proof.equal(checked.Proof) || !now.Recovery.equal(checked.Recovery)) {
		err = fault.New(fault.Conflict, "the proof was changed meanwhile")
	}
	return now, err
}

// moveAddress gives a user another address, which nobody else has.
func (t *tx) moveAddress(user UserID, a *account, email []byte) error {
	if len(email) == 0 || subtle.ConstantTimeCompare(a.Email, email) == 1 {
		return nil
	}
	if err := t.takeAddress(user, email); err != nil {
		return err
	}
	old := emailKey(a.Email)
	a.Email = email
	return t.Delete(old)
}

// takeAddress notes that an address is a user's, or returns fault.Conflict if it is somebody's.
func (t *tx) takeAddress(user UserID, email []byte) error {
	_, err := t.Get(emailKey(email))
	switch {
	case err == nil:
		return fault.New(fault.Conflict, "the address has an account")
	case !errors.Is(err, fault.NotFound):
		return err
	}
	return t.Set(emailKey(email), []byte(user))
}

func emailKey(hash []byte) string { return key("email", hex.EncodeToString(hash)) }
