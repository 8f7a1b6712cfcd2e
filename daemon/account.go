package daemon

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// Register makes the account of this agent, with a folder store below the data folder, and leaves it open. The kit in the answer is
// shown once; the caller wipes it. fault.Conflict if there is an account, fault.Policy for a password that is easy to guess.
func (a *Agent) Register(ctx context.Context, r RegisterRequest) (RegisterResult, error) {
	defer clear(r.Password)
	done, err := a.changing()
	if err != nil {
		return RegisterResult{}, err
	}
	defer done()
	kit, err := a.register(ctx, r)
	if err != nil {
		return RegisterResult{}, err
	}
	if err := a.openSession(true); err != nil {
		a.log.Error("account registered, but not opened", failure(err)...) // unlocking tries again; the kit must not be lost
	}
	a.log.Info("account registered")
	return RegisterResult{UserID: a.vault.UserID(), Kit: kit}, nil
}

// changing begins a change of the account: one at a time, and none once the agent stops.
func (a *Agent) changing() (func(), error) {
	a.change.Lock()
	a.mu.Lock()
	stopping := a.stopping
	a.mu.Unlock()
	if stopping {
		a.change.Unlock()
		return nil, errStopping()
	}
	return a.change.Unlock, nil
}

// enterChange is changing for a change that needs the open vault, with enter.
func (a *Agent) enterChange(ctx context.Context) (*session, context.Context, func(), error) {
	done, err := a.changing()
	if err != nil {
		return nil, nil, nil, err
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return s, ctx, func() { leave(); done() }, nil
}

// accountTime bounds what a change of the account waits for the coordinator: nobody can lock meanwhile (L17).
const accountTime = 30 * time.Second

// inTime does what asks the coordinator with a.change held, or for somebody who waits. What takes longer than accountTime is fault.Unavailable.
func (a *Agent) inTime(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.accountTime, fault.New(fault.Unavailable, "the coordinator does not answer in time"))
	defer cancel()
	err := do(ctx)
	if _, said := errors.AsType[*fault.Error](err); said { // whether it is undecided, or was refused
		return err
	}
	return ended(ctx, err)
}

// Unlock opens the vault, or in unattended mode the API. Wrong passwords are slowed down (V12): fault.Busy, see RetryAfter.
func (a *Agent) Unlock(ctx context.Context, r UnlockRequest) error {
	defer clear(r.Password)
	done, err := a.changing()
	if err != nil {
		return err
	}
	defer done()
	if a.hasSession() {
		if err := a.checkForLogin(ctx, r.Password); err != nil {
			return err
		}
		a.openGate()
		a.event(Event{Type: EventUnlocked})
		return nil
	}
	proof, err := a.unlockVault(ctx, r)
	if err != nil {
		return err
	}
	return a.openForLogin(true, proof)
}

// checkForLogin checks the password, and hands the login proof to a link that needs one.
func (a *Agent) checkForLogin(ctx context.Context, password []byte) error {
	a.mu.Lock()
	s := a.session
	a.mu.Unlock()
	l := s.currentLink()
	if l.Link == nil || !l.NeedsProof() && !a.lacksCredential() {
		return a.vault.CheckPassword(ctx, password)
	}
	proof, err := a.vault.LoginProof(ctx, password)
	if err == nil {
		a.giveProof(l.Link, l.url, proof)
		proof.Wipe()
	}
	return err
}

// Lock ends what callers have in work, wipes the keys and refuses calls until the next Unlock. In unattended mode the keys stay, for
// the agent's own work, and only the API is locked. Locking a locked agent is no error.
func (a *Agent) Lock(context.Context) error {
	done, err := a.changing()
	if err != nil {
		return err
	}
	defer done()
	a.lockNow(errLocked())
	return nil
}

// lockNow is Lock with a.change held.
func (a *Agent) lockNow(cause error) {
	a.mu.Lock()
	g := a.gate
	a.gate = nil
	unattended := a.session != nil && a.session.unattended
	a.mu.Unlock()
	if g == nil {
		return
	}
	g.drain(cause)
	a.sql.rest()
	if !unattended {
		a.closeSession(cause)
	}
	a.log.Info("locked")
	a.event(Event{Type: EventLocked})
}

// vaultLocked closes the session of a vault that locked itself: half of a change is in the local store, or a change that was decided late set
// another password. It does nothing if the vault is open again.
func (a *Agent) vaultLocked() {
	done, err := a.changing()
	if err != nil {
		return
	}
	defer done()
	if a.vaultState() != StateLocked || !a.hasSession() {
		return
	}
	a.mu.Lock()
	g := a.gate
	a.gate = nil
	credential := a.session.credential.Clone()
	a.mu.Unlock()
	if g != nil {
		g.drain(errLocked())
		a.sql.rest()
	}
	a.closeSession(errLocked())
	a.log.Warn("the vault locked itself")
	a.event(Event{Type: EventLocked})
	a.reopenUnattended(credential, g != nil)
}

// ChangePassword replaces the password and the vault key. Both arguments are wiped.
func (a *Agent) ChangePassword(ctx context.Context, old, replacement []byte) error {
	defer clear(old)
	defer clear(replacement)
	s, ctx, leave, err := a.enterChange(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.writable(); err != nil {
		return err
	}
	err = a.inTime(ctx, func(ctx context.Context) error { return a.changePassword(ctx, s, old, replacement) })
	if err != nil {
		return err
	}
	a.event(Event{Type: EventPassword})
	return nil
}

// Recover sets a new password with the recovery kit and opens the vault.
func (a *Agent) Recover(ctx context.Context, r RecoverRequest) error {
	defer clear(r.Kit)
	defer clear(r.Password)
	done, err := a.changing()
	if err != nil {
		return err
	}
	defer done()
	if err := a.recoverVault(ctx, r); err != nil {
		return err
	}
	a.event(Event{Type: EventRecovered})
	if a.hasSession() {
		a.openGate()
		return nil
	}
	return a.openSession(true)
}

// EnableUnattended makes a credential that opens the vault without a person, to be kept by systemd-creds or the like, and returns its
// text; the caller wipes it. From now on Lock locks the API only. The password is wiped.
func (a *Agent) EnableUnattended(ctx context.Context, password []byte) ([]byte, error) {
	defer clear(password)
	s, ctx, leave, err := a.enterChange(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := errors.Join(s.writable(), passwordGiven(password)); err != nil {
		return nil, err
	}
	a.handing.Lock()
	defer a.handing.Unlock()
	var key secret.Key
	err = a.inTime(ctx, func(ctx context.Context) (err error) {
		key, err = a.newUnattended(ctx, s, password)
		return err
	})
	if err == nil {
		err = a.noteHanded()
	}
	if err != nil {
		key.Wipe()
		return nil, err
	}
	a.setUnattended(s, key)
	a.renewCredential(ctx, s, password)
	return encodeCredential(key), nil
}

// DisableUnattended makes every credential useless. The password is wiped.
func (a *Agent) DisableUnattended(ctx context.Context, password []byte) error {
	defer clear(password)
	s, ctx, leave, err := a.enterChange(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := errors.Join(s.oneOfTheDevices(), a.passwordAgain(ctx, password)); err != nil { // it may be another machine that opens so
		return err
	}
	if err := a.inTime(ctx, a.vault.DisableUnattended); err != nil {
		return err
	}
	a.setUnattended(s, secret.Key{})
	a.renewCredential(ctx, s, password)
	return nil
}

// setUnattended notes that the vault opens with a credential, which it takes, or with none.
func (a *Agent) setUnattended(s *session, credential secret.Key) {
	a.mu.Lock()
	s.credential.Wipe()
	s.unattended, s.credential = !credential.IsZero(), credential
	a.mu.Unlock()
	a.event(Event{Type: EventUnattended})
}

// credentialPrefix begins the text of an unattended credential; 52 characters of lower-case base32 follow.
const credentialPrefix = "cfu_"

func encodeCredential(k secret.Key) []byte {
	text := append([]byte(credentialPrefix), make([]byte, tokenSecretSize)...)
	k.Use(func(b []byte) { tokenCoding.Encode(text[len(credentialPrefix):], b) })
	return text
}

// parseCredential reads the text of a credential, with or without a newline at its end, and wipes it.
func parseCredential(text []byte) (secret.Key, error) {
	defer clear(text)
	t := text
	if n := len(t); n > 0 && t[n-1] == '\n' {
		t = t[:n-1]
	}
	b := make([]byte, secret.KeySize)
	defer clear(b)
	if len(t) != len(credentialPrefix)+tokenSecretSize || string(t[:len(credentialPrefix)]) != credentialPrefix {
		return secret.Key{}, fault.New(fault.InvalidRequest, "not an unattended credential")
	}
	if n, err := tokenCoding.Decode(b, t[len(credentialPrefix):]); err != nil || n != len(b) {
		return secret.Key{}, fault.New(fault.InvalidRequest, "not an unattended credential")
	}
	again := make([]byte, tokenSecretSize)
	defer clear(again)
	if tokenCoding.Encode(again, b); subtle.ConstantTimeCompare(again, t[len(credentialPrefix):]) != 1 {
		return secret.Key{}, fault.New(fault.InvalidRequest, "not an unattended credential")
	}
	return secret.FromBytes(b)
}

// Backup writes the vault and the records of datasets and tokens, sealed, to w. It asks for the password again (L23), and wipes it.
func (a *Agent) Backup(ctx context.Context, password []byte, w io.Writer) error {
	defer clear(password)
	_, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := a.passwordAgain(ctx, password); err != nil {
		return err
	}
	return ended(ctx, a.backupVault(ctx, w))
}

// Restore reads a backup into an agent that has no account, and opens it.
func (a *Agent) Restore(ctx context.Context, r RestoreRequest, backup io.Reader) error {
	defer clear(r.Password)
	defer clear(r.Kit)
	defer clear(r.NewPassword)
	done, err := a.changing()
	if err != nil {
		return err
	}
	defer done()
	if a.hasSession() {
		return fault.New(fault.Conflict, "this agent has an account already")
	}
	if err := a.restoreVault(ctx, r, backup); err != nil {
		return err
	}
	a.event(Event{Type: EventRestored})
	return a.openSession(true)
}
