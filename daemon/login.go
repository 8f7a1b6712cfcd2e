package daemon

import (
	"context"

	"coldframe/daemon/link"
	"coldframe/internal/fault"
	"coldframe/keystore"
)

// Login makes this machine a further one of a user whose vault a coordinator keeps, and opens it. User, address, derivation and account key
// come from the recovery kit, never from the coordinator. All or nothing: after a failure or the end of the process there is no account
// here, and the same may be tried again, or there is the whole one, locked.
//
// fault.Conflict: there is an account here. fault.Forbidden: the coordinator does not know this user under this password, or kit.
// fault.NotFound: it does not keep the vault. Others: those of keystore's Fetch.
func (a *Agent) Login(ctx context.Context, r LoginRequest) error {
	defer clear(r.Kit)
	defer clear(r.Password)
	defer clear(r.NewPassword)
	if a.vault.State() == keystore.Locked || a.openBehindGate() {
		return a.follow(ctx, r)
	}
	if len(r.Kit) == 0 && a.hasSession() {
		return errUnlocked()
	}
	if len(r.Kit) == 0 && a.vault.State() == keystore.None {
		return fault.New(fault.InvalidRequest, "a machine without an account needs the recovery kit")
	}
	if (len(r.Password) == 0) == (len(r.NewPassword) == 0) {
		return fault.New(fault.InvalidRequest, "either the password is needed or, where it is lost, a new one")
	}
	settings, err := link.Settings{URL: r.URL, CA: r.CA}.Normal(a.coordinatorPolicy())
	if err != nil {
		return err
	}
	kit, err := keystore.ParseRecoveryKit(r.Kit)
	if err != nil {
		return err
	}
	defer kit.Wipe()
	done, err := a.changing()
	if err != nil {
		return err
	}
	defer done()
	if a.hasSession() {
		return errUnlocked()
	}
	if a.vault.State() != keystore.None {
		return fault.New(fault.Conflict, "this agent has an account already")
	}
	ctx, leave := a.untilStop(ctx)
	defer leave()
	o := keystore.FetchOptions{Kit: kit, Password: r.Password, NewPassword: r.NewPassword}
	proof, err := a.fetch(ctx, settings, o)
	if err != nil {
		return ended(ctx, err)
	}
	a.log.Info("vault fetched from the coordinator")
	a.event(Event{Type: EventLogin})
	return a.openForLogin(true, proof)
}

// follow opens the vault of this machine, which is locked, with the password that another device set, for which the kit is needed if the
// address changed as well; or sets a new one with the kit.
func (a *Agent) follow(ctx context.Context, r LoginRequest) error {
	if (len(r.Password) == 0) == (len(r.NewPassword) == 0) || len(r.NewPassword) > 0 && len(r.Kit) == 0 {
		return fault.New(fault.InvalidRequest, "the present password is needed or, where it is lost, the recovery kit and a new one")
	}
	settings, err := link.Settings{URL: r.URL, CA: r.CA}.Normal(a.coordinatorPolicy())
	if err != nil {
		return err
	}
	kit, err := optionalKit(r.Kit)
	if err != nil {
		return err
	}
	defer func() {
		if kit != nil {
			kit.Wipe()
		}
	}()
	done, err := a.changing()
	if err != nil {
		return err
	}
	defer done()
	if a.openBehindGate() {
		reopen := a.closeUnattended()
		defer reopen()
	}
	if a.hasSession() || a.vault.State() != keystore.Locked {
		return fault.New(fault.Conflict, "nothing is locked here: a machine without an account needs the recovery kit, an open one nothing")
	}
	return a.followLocked(ctx, settings, r, kit)
}

// followLocked is follow after the checks. a.change is held.
func (a *Agent) followLocked(ctx context.Context, settings link.Settings, r LoginRequest, kit *keystore.RecoveryKit) (err error) {
	ctx, leave := a.untilStop(ctx)
	defer leave()
	var proof keystore.Proof
	if len(r.NewPassword) > 0 {
		proof, err = a.recoverThere(ctx, settings, r.NewPassword, kit)
	} else {
		proof, err = a.followWith(ctx, settings, r.Password, kit)
	}
	if err != nil {
		proof.Wipe()
		return ended(ctx, forCaller(err))
	}
	a.event(Event{Type: EventLogin})
	return a.openForLogin(true, proof)
}

// recoverThere sets a new password with the kit, here and at the coordinator in one step, and leaves the vault open.
func (a *Agent) recoverThere(
	ctx context.Context, settings link.Settings, replacement []byte, kit *keystore.RecoveryKit,
) (proof keystore.Proof, err error) {
	recovery := kit.Proof()
	defer recovery.Wipe()
	b, err := a.beginAt(ctx, settings, a.vault.UserID(), recovery, true)
	if err != nil {
		return proof, err
	}
	defer b.Close()
	a.vault.Connect(a.replica(b.Client))
	defer a.vault.Connect(nil)
	if err := a.vault.Recover(ctx, *kit, replacement); err != nil {
		a.endBeginning(ctx, b)
		return proof, err
	}
	if proof, err = a.vault.LoginProof(ctx, replacement); err != nil {
		a.log.Warn("the link starts without a login proof", failure(err)...) // the next unlock gives one
	}
	return proof, nil
}

// beginAt logs in as the device that this machine is of a user. The device key comes first: its id is what it logs in as.
func (a *Agent) beginAt(ctx context.Context, settings link.Settings, user string, proof keystore.Proof, recovery bool) (*link.Beginning, error) {
	device, err := a.deviceID(user)
	if err != nil {
		return nil, err
	}
	own := proof.For(settings.URL)
	defer own.Wipe()
	return link.Begin(ctx, link.Options{
		Settings: settings, Policy: a.coordinatorPolicy(), User: user, Device: device, Now: a.clock.Now,
	}, own, recovery)
}

// optionalKit reads a kit if there is one.
func optionalKit(text []byte) (*keystore.RecoveryKit, error) {
	if len(text) == 0 {
		return nil, nil
	}
	kit, err := keystore.ParseRecoveryKit(text)
	return &kit, err
}

// followWith logs in with the password and takes the vault over. If that fails, the session ends.
func (a *Agent) followWith(
	ctx context.Context, settings link.Settings, password []byte, kit *keystore.RecoveryKit,
) (proof keystore.Proof, err error) {
	if proof, err = a.vault.FollowProof(ctx, password, kit); err != nil {
		return proof, err
	}
	b, err := a.beginAt(ctx, settings, a.vault.UserID(), proof, false)
	if err != nil {
		return proof, err
	}
	defer b.Close()
	if err = a.vault.Follow(ctx, a.replica(b.Client), password, kit); err != nil {
		a.endBeginning(ctx, b)
	}
	return proof, err
}

// untilStop returns a context that ends when the agent stops, too: nothing else would end a call that is in no gate.
func (a *Agent) untilStop(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(a.life, func() { cancel(errStopping()) })
	return ctx, func() { stop(); cancel(nil) }
}

// fetch logs in and fetches the vault, which is open then, and returns the login proof for the link.
func (a *Agent) fetch(ctx context.Context, settings link.Settings, o keystore.FetchOptions) (keystore.Proof, error) {
	proof, err := a.vault.FetchProof(ctx, o)
	if err != nil {
		return keystore.Proof{}, err
	}
	b, err := a.beginAt(ctx, settings, o.Kit.UserID, proof, len(o.Password) == 0)
	if err != nil {
		proof.Wipe()
		return keystore.Proof{}, forCaller(err)
	}
	defer b.Close()
	err = a.vault.Fetch(ctx, a.replica(b.Client), o)
	if err == nil && len(o.Password) == 0 {
		proof.Wipe() // of the recovery key
		proof, err = a.vault.LoginProof(ctx, o.NewPassword)
		if err != nil {
			a.log.Warn("the link starts without a login proof", failure(err)...)
			err = nil // the next unlock gives one
		}
	}
	if err != nil {
		proof.Wipe()
		a.endBeginning(ctx, b)
		return keystore.Proof{}, err
	}
	a.keepCoordinator(ctx, settings, b)
	return proof, nil
}

// endBeginning logs out of a coordinator where nothing was fetched.
func (a *Agent) endBeginning(ctx context.Context, b *link.Beginning) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTime)
	defer cancel()
	if err := b.Logout(ctx); err != nil {
		a.log.Warn("not logged out of the coordinator", failure(err)...)
	}
}

// keepCoordinator writes the setting into a fetched vault that lacks it: its user left the coordinator, which kept it. A failure leaves an
// account that is to be connected again.
func (a *Agent) keepCoordinator(ctx context.Context, settings link.Settings, b *link.Beginning) {
	defer a.vault.Connect(nil)
	if a.hasCoordinator() {
		return
	}
	a.vault.Connect(a.replica(b.Client))
	err := a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		return coordinatorItem{URL: settings.URL, CA: settings.CA}.put(tx)
	})
	if err != nil {
		a.log.Warn("the coordinator is not set", failure(err)...)
	}
}

func errUnlocked() error {
	return fault.New(fault.Conflict, "this machine has the account, and it is unlocked: lock it first")
}
