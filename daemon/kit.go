package daemon

import (
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// kitReplacedKey says that the kit was replaced while no coordinator was used: the one that is joined again knows the former one.
const kitReplacedKey = "meta/kit-replaced"

// DraftKit returns the text of a new recovery kit, for the address that the account has or is to have. Nothing keeps it: it becomes the valid
// one by ReplaceKit or ChangeEmail, which are called when it is where its user will find it. It asks for the password again (L23), and wipes
// it; the caller wipes the text. fault.Conflict: somebody else has the address at the coordinator. Others: those of keystore's DraftKit.
func (a *Agent) DraftKit(ctx context.Context, r DraftKitRequest) ([]byte, error) {
	defer clear(r.Password)
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := errors.Join(s.writable(), passwordGiven(r.Password)); err != nil {
		return nil, err
	}
	if _, err := a.mayReplaceKit(s); err != nil {
		return nil, err
	}
	kit, err := a.vault.DraftKit(ctx, r.Password, r.Email)
	if err != nil {
		return nil, err
	}
	defer kit.Wipe()
	if r.Email != "" {
		if err := a.freeAddress(ctx, s, kit.Email); err != nil {
			return nil, ended(ctx, err)
		}
	}
	return kit.Text(), nil
}

// mayReplaceKit is fault.Unavailable where the coordinator has to be asked and is not there, or is being given the vault. Left says that none
// is used, and that one knows the account.
func (a *Agent) mayReplaceKit(s *session) (left bool, err error) {
	if !a.hasCoordinator() {
		return a.db.Has(homeKey)
	}
	joined, err := a.vault.Joined()
	if err == nil && !joined {
		err = fault.New(fault.Unavailable, "the coordinator is being given the vault; try again after that")
	}
	if err == nil {
		_, err = s.client()
	}
	return false, err
}

// freeAddress asks the coordinator, if one is used, whether an address has another account.
func (a *Agent) freeAddress(ctx context.Context, s *session, email string) error {
	if !a.hasCoordinator() {
		return nil
	}
	hash, err := keystore.EmailHash(email)
	if err != nil {
		return err
	}
	user, err := s.sync.directory.FindUser(ctx, hash)
	switch {
	case errors.Is(err, fault.NotFound) || err == nil && user == s.user:
		return nil
	case err == nil:
		return errTaken()
	}
	return forCaller(err)
}

func errTaken() error { return fault.New(fault.Conflict, "another account has this address") }

// ReplaceKit makes a kit of DraftKit the valid one, here and at the coordinator in one step; the former opens nothing from then on. Password
// and kit are wiped. After fault.Unavailable the same again decides it; until then both kits are to be kept.
func (a *Agent) ReplaceKit(ctx context.Context, r KitRequest) error {
	return a.useKit(ctx, r, false)
}

// ChangeEmail gives the account the address of a kit of DraftKit, and makes that kit the valid one, as ReplaceKit does.
func (a *Agent) ChangeEmail(ctx context.Context, r KitRequest) error {
	return a.useKit(ctx, r, true)
}

func (a *Agent) useKit(ctx context.Context, r KitRequest, address bool) error {
	defer clear(r.Password)
	defer clear(r.Kit)
	s, ctx, leave, err := a.enterChange(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := errors.Join(s.writable(), passwordGiven(r.Password)); err != nil {
		return err
	}
	kit, err := keystore.ParseRecoveryKit(r.Kit)
	if err != nil {
		return err
	}
	defer kit.Wipe()
	release, err := s.holdJoining()
	if err != nil {
		return err
	}
	defer release()
	return a.inTime(ctx, func(ctx context.Context) error { return a.putKit(ctx, s, r.Password, kit, address) })
}

// putKit is useKit after the checks. a.change and s.joining are held.
func (a *Agent) putKit(ctx context.Context, s *session, password []byte, kit keystore.RecoveryKit, address bool) error {
	left, err := a.mayReplaceKit(s)
	if err != nil {
		return err
	}
	change := keystore.KitChange{Kit: kit, Address: address, Within: func(tx *keystore.Tx) error {
		a.events.stageWith(tx, kitEvent(address))
		if !left {
			return nil
		}
		return tx.KV().Set(kitReplacedKey, []byte{})
	}}
	if address { // the login proof comes of the address, too
		known, err := a.knownCoordinators(s)
		if err != nil {
			return err
		}
		if len(known) > 0 {
			change.Record = func(tx *kv.Tx, before, after keystore.Proof) error { return a.addProofs(s, tx, before, after) }
		}
	}
	err = a.vault.UseKit(ctx, password, change)
	if keystore.Undecided(err) {
		s.sync.poke(taskVault)
	}
	if address && errors.Is(err, fault.Conflict) && errors.Is(a.freeAddress(ctx, s, kit.Email), fault.Conflict) {
		err = errTaken() // meanwhile
	}
	if err != nil {
		return ended(ctx, err)
	}
	a.publish()
	if l := s.currentLink(); address && l.Link != nil {
		l.Wake()
	}
	return nil
}

func kitEvent(address bool) Event {
	if address {
		return Event{Type: EventEmail}
	}
	return Event{Type: EventKit}
}

// CheckKit reports whether a recovery kit is the one that opens this account: fault.NotAuthentic if it is another user's, or was replaced. An open
// vault that a coordinator keeps is asked for there first; a locked one answers for this machine's copy. fault.Unavailable: nobody can tell now. The
// kit is wiped.
func (a *Agent) CheckKit(ctx context.Context, text []byte) error {
	defer clear(text)
	done, err := a.use()
	if err != nil {
		return err
	}
	defer done()
	kit, err := keystore.ParseRecoveryKit(text)
	if err != nil {
		return err
	}
	defer kit.Wipe()
	if err := a.syncForKit(ctx); err != nil {
		return err
	}
	return nobody(a.vault.CheckKit(ctx, kit))
}

// syncForKit takes over what other machines changed, if the vault is open and a coordinator keeps it. Whatever keeps it from that is
// fault.Unavailable: no other code may look like a word on the kit.
func (a *Agent) syncForKit(ctx context.Context) error {
	joined, err := a.vault.Joined()
	if state := a.vault.State(); err != nil || !joined || state != keystore.Unlocked && state != keystore.ReadOnly {
		return err
	}
	if err := a.inTime(ctx, a.vault.Sync); err != nil {
		return fault.Wrap(fault.Unavailable, err, "whether this kit is the valid one cannot be told: the vault could not be compared with the coordinator's (%s)", fault.CodeOf(err))
	}
	return nil
}

// nobody gives the lack of an account the code that callers know.
func nobody(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.Conflict, "nobody is registered here")
	}
	return err
}

// needsKit is fault.InvalidRequest where the kit was replaced while no coordinator was used, and is not given to the one that is joined: the
// former one would go on logging in there. A kit that is given must be the present one.
func (a *Agent) needsKit(ctx context.Context, kit *keystore.RecoveryKit) error {
	joined, err := a.vault.Joined()
	if err != nil || joined {
		return err
	}
	if kit != nil {
		return a.vault.CheckKit(ctx, *kit)
	}
	replaced, err := a.db.Has(kitReplacedKey)
	if err == nil && replaced {
		err = fault.New(fault.InvalidRequest, "the recovery kit was replaced since this account left the coordinator, which has to learn of it: give the kit along")
	}
	return err
}

// kitGiven notes that the coordinator that is joined has what the present kit proves.
func (a *Agent) kitGiven() error {
	return a.db.Update(func(tx *kv.Tx) error { return tx.Delete(kitReplacedKey) })
}
