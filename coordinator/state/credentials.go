package state

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"slices"

	"coldframe/internal/fault"
)

// ProofChange is a new login proof and what changes with it, all in one transaction: the vault key that is wrapped anew, the address whose hash is the salt,
// the proof of a new recovery kit.
type ProofChange struct {
	Old, New     []byte // the same if only the rest changes
	Email        []byte // labelled hash of the new address; empty: the address stays
	Recovery     []byte // new recovery proof; empty: it stays
	Swaps        []Swap
	KeepSessions bool       // other sessions of the user go on, and credentials stay
	Keep         []DeviceID // those of these devices in any case
}

// ChangeProof replaces the login proof, and makes the swaps and the changes of address and recovery proof that come with it, all or nothing. Other sessions end,
// with their credentials, if the login proof is another one, but for those of devices that are kept; those of a recovery proof that is replaced end in any case. The old proof may be the recovery proof, and is it in a session that began with that. Repeated after
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
	before, after, err := s.newProofs(ctx, c, p)
	if err != nil {
		return err
	}
	return s.update(freeing(ctx, p.Swaps), func(t *tx) error {
		now, err := t.unchanged(c.User, before)
		if err != nil {
			return err
		}
		now.Proof, now.Recovery = after.Proof, after.Recovery
		if err := t.moveAddress(c.User, &now, p.Email); err != nil {
			return err
		}
		if len(p.Swaps) > 0 {
			if _, err := t.swapBlobs(c.User, p.Swaps); err != nil {
				return err
			}
		}
		if !p.KeepSessions && !after.Proof.equal(before.Proof) {
			err = t.endSessions(c.User, func(d DeviceID, r deviceRecord) bool { return c.others(d, r) && !slices.Contains(p.Keep, d) })
		}
		return errors.Join(err, save(t, key("account", string(c.User)), now), t.endRecovered(c, before, after), t.recovered(c))
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

// newProofs returns the account as it is, and with the new proofs, if the old proof is right or the new one is in force already. A proof that is in force stays
// as it is kept.
func (s *State) newProofs(ctx context.Context, c Caller, p ProofChange) (before, after account, err error) {
	if _, before, err = s.find(ctx, Login{User: c.User}); err != nil {
		return before, before, err
	}
	after = before
	inForce, err := s.proofs.check(ctx, before.Proof, p.New)
	if err == nil && !inForce {
		after.Proof, err = s.newProof(ctx, c, before, p)
	}
	if err == nil && len(p.Recovery) > 0 {
		after.Recovery, err = s.newRecovery(ctx, before, p.Recovery)
	}
	return before, after, err
}

// newProof returns what to keep of the new login proof, if the old proof is right.
func (s *State) newProof(ctx context.Context, c Caller, a account, p ProofChange) (h proofHash, err error) {
	for _, kind := range c.mayProve() {
		if err = s.shows(ctx, c.User, a, Login{Kind: kind, Proof: p.Old}); !errors.Is(err, fault.Forbidden) {
			break
		}
	}
	if err != nil {
		return h, err
	}
	return s.proofs.hash(ctx, p.New)
}

// newRecovery returns what to keep of a recovery proof.
func (s *State) newRecovery(ctx context.Context, a account, proof []byte) (proofHash, error) {
	inForce, err := s.proves(ctx, "", a, Login{Kind: RecoveryLogin, Proof: proof})
	if err != nil || inForce {
		return a.Recovery, err
	}
	return s.proofs.hash(ctx, proof)
}

// prove returns the account of a user whose proof this is, or fault.Forbidden.
func (s *State) prove(ctx context.Context, user UserID, l Login) (account, error) {
	_, a, err := s.find(ctx, Login{User: user})
	if err == nil {
		err = s.shows(ctx, user, a, l)
	}
	return a, err
}

// shows returns fault.Forbidden if the proof is not that of an account.
func (s *State) shows(ctx context.Context, user UserID, a account, l Login) error {
	ok, err := s.proves(ctx, user, a, l)
	if err == nil && !ok {
		err = fault.New(fault.Forbidden, "the present proof is another one")
	}
	return err
}

// endRecovered ends the sessions of a recovery proof that is replaced, but the caller's own, which replaced it: the old kit may be in other hands.
func (t *tx) endRecovered(c Caller, before, after account) error {
	if after.Recovery.equal(before.Recovery) {
		return nil
	}
	return t.endSessions(c.User, func(d DeviceID, r deviceRecord) bool { return r.Recovery && c.others(d, r) })
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
