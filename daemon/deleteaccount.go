package daemon

import (
	"bytes"
	"context"
	"errors"

	"github.com/google/uuid"

	"coldframe/daemon/contacts"
	"coldframe/daemon/devices"
	"coldframe/daemon/link"
	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// deletionKey says how far the deletion of the account at the coordinator is: asked for, or done there and to be finished here.
const deletionKey = "meta/coordinator-deletion"

var (
	deletionAsked = []byte{1}
	deletionDone  = []byte{2}
)

// notYetLocal is the warning while deletionDone stands: finishing failed, and is tried at every unlock.
const notYetLocal = "the account at the coordinator is deleted, but this machine has not removed what it kept of it: lock and unlock; the log says what is in the way"

// ofCoordinator are the single records of this machine about what is at the coordinator. That of the deletion goes with the last of them.
var ofCoordinator = []string{
	homeKey, joinedKey, membershipKey, historyKey, recoveryKey, challengeKey, forkedKey, publishedKey, replaceKey, toldKey, kitReplacedKey, loginDeviceKey, formerDeviceKey, deletionKey,
}

// purgeBatch is how many records one transaction removes.
const purgeBatch = 500

// DeleteCoordinatorAccount removes the account at the coordinator that is set, whose address the caller repeats, and all that is kept for it
// there. The vault, with all that the coordinator had of it, is a local one then, and another coordinator may be joined; what waited to be sent
// or fetched is gone. It asks for the password again (L23), and wipes it. Calls in work end with fault.Locked.
//
// All or nothing: a failure leaves everything as it was, but fault.Unavailable, which may leave open whether it was done: the same again decides
// it and finishes it, and so does the next unlock where it is known to be done. fault.Forbidden after that: the coordinator lets this password in
// no more, which is no proof that the account is gone; Gone is a person's word for it.
func (a *Agent) DeleteCoordinatorAccount(ctx context.Context, r DeletionRequest) error {
	defer clear(r.Password)
	settings, err := link.Settings{URL: r.URL}.Normal(a.coordinatorPolicy())
	if err != nil {
		return err
	}
	r.URL = settings.URL
	done, err := a.changing()
	if err != nil {
		return err
	}
	defer done()
	a.mu.Lock()
	s, open := a.session, a.gate != nil
	a.mu.Unlock()
	if s == nil || !open {
		return errLocked()
	}
	ctx, leave := a.untilStop(ctx)
	defer leave()
	if err := errors.Join(s.writable(), passwordGiven(r.Password)); err != nil {
		return err
	}
	if err := a.deleteThere(ctx, s, r); err != nil {
		return ended(ctx, err)
	}
	return a.reopen(context.WithoutCancel(ctx), r.Password)
}

// deleteThere has the account removed at the coordinator, and notes that it is.
func (a *Agent) deleteThere(ctx context.Context, s *session, r DeletionRequest) error {
	release, err := s.holdJoining()
	if err != nil {
		return err
	}
	defer release()
	proof, err := a.vault.LoginProof(ctx, r.Password)
	if err != nil {
		return err
	}
	defer proof.Wipe()
	item, err := a.coordinatorItem()
	if err == nil && item.URL != r.URL {
		err = fault.New(fault.InvalidRequest, "this account uses another coordinator")
	}
	if err != nil {
		return err
	}
	before := s.currentLink()
	before.stop() // its session ends with the login
	at, err := a.deletion()
	if err == nil && !bytes.Equal(at, deletionDone) {
		err = a.inTime(ctx, func(ctx context.Context) error { return deleting{a, s, item, proof}.ask(ctx, at != nil, r.Gone) })
	}
	if err == nil {
		return a.setDeletion(deletionDone)
	}
	if before.Link != nil {
		before.Give(proof.For(before.url))
	}
	a.resume(s, before)
	return forCaller(err)
}

// deleting is the deletion of an account at its coordinator.
type deleting struct {
	a     *Agent
	s     *session
	item  coordinatorItem
	proof keystore.Proof
}

func (d deleting) begin(ctx context.Context) (*link.Beginning, error) {
	return d.a.beginAt(ctx, d.item.settings(), d.s.user, d.proof, false)
}

// ask logs in, takes over what other machines changed, which nobody else will have then, and has the account removed. Again says that it was
// asked for before: the account may be gone, and is if the coordinator does not let this machine in and gone is the word of a person.
func (d deleting) ask(ctx context.Context, again, gone bool) error {
	b, err := d.begin(ctx)
	switch {
	case err != nil && !again:
		return err
	case errors.Is(err, fault.Unauthorized) && gone:
		return nil
	case errors.Is(err, fault.Unauthorized):
		return refusedDeletion(err)
	case err != nil:
		return undecidedDeletion(err)
	}
	defer b.Close()
	if err = d.sync(ctx, b); err == nil {
		err = d.a.setDeletion(deletionAsked)
	}
	if err != nil {
		d.a.endBeginning(ctx, b)
		return errors.Join(err, d.a.setDeletion(nil)) // it lets this machine in: the account is there
	}
	own := d.proof.For(d.item.URL)
	defer own.Wipe()
	err = b.DeleteAccount(ctx, own)
	switch fault.CodeOf(err) {
	case fault.Unavailable, fault.StorageFull, fault.Unauthorized:
		return d.outcome(ctx, err)
	}
	if err != nil {
		err = errors.Join(err, d.a.setDeletion(nil))
	}
	return err
}

// sync takes over what other machines changed by the session of the deletion: the link is stopped, and may never have come up.
func (d deleting) sync(ctx context.Context, b *link.Beginning) error {
	joined, err := d.a.vault.Joined()
	if err != nil || !joined {
		return err
	}
	d.a.vault.Connect(d.a.replica(b.Client))
	defer d.a.vault.Connect(d.a.replica(d.s.awaitClient))
	return d.a.vault.Sync(ctx)
}

// outcome says of a deletion whose answer tells nothing what a login tells.
func (d deleting) outcome(ctx context.Context, failed error) error {
	b, err := d.begin(ctx)
	if errors.Is(err, fault.Unauthorized) {
		return refusedDeletion(err)
	}
	if err == nil {
		b.Close()
	}
	return undecidedDeletion(failed)
}

// undecidedDeletion is the failure of a deletion that was asked for: the account may be there or not.
func undecidedDeletion(err error) error {
	return fault.Wrap(fault.Unavailable, err, "the coordinator does not say whether the account is deleted")
}

// refusedDeletion is the failure of a deletion that was asked for where the coordinator lets this machine in no more. That is no proof: after a
// change of the password elsewhere it does the same, and where the operator disabled the account.
func refusedDeletion(err error) error {
	return fault.Wrap(fault.Forbidden, err, "there is no account under this password there: it is gone, disabled, or the password was changed elsewhere")
}

func (a *Agent) deletion() (at []byte, err error) {
	err = a.db.View(func(tx *kv.Tx) error {
		b, err := tx.Get(deletionKey)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		at = bytes.Clone(b)
		return err
	})
	return at, err
}

func (a *Agent) setDeletion(at []byte) error {
	return a.db.Update(func(tx *kv.Tx) error {
		if at == nil {
			return tx.Delete(deletionKey)
		}
		return tx.Set(deletionKey, at)
	})
}

// notDeleted notes that the coordinator lets this machine in: a deletion that was asked for was not made.
func (a *Agent) notDeleted() {
	at, err := a.deletion()
	if err == nil && bytes.Equal(at, deletionAsked) {
		err = a.setDeletion(nil)
	}
	if err != nil {
		a.log.Warn("whether the account is to be deleted is not noted", failure(err)...)
	}
}

// reopen closes the session and opens it again, which finishes the deletion. If it does not open, the next unlock does that.
func (a *Agent) reopen(ctx context.Context, password []byte) error {
	a.mu.Lock()
	g := a.gate
	a.gate = nil
	a.mu.Unlock()
	if g != nil {
		g.drain(errLocked())
	}
	a.sql.rest()
	a.closeSession(errLocked())
	a.log.Info("the account at the coordinator is deleted")
	proof, err := a.unlockVault(ctx, UnlockRequest{Password: password})
	if err == nil {
		err = a.openForLogin(true, proof)
	}
	if err != nil {
		a.log.Warn("not unlocked again", failure(err)...)
		a.event(Event{Type: EventLocked})
	}
	return nil
}

// finishDeletion makes the vault of an account that is no more at the coordinator a local one, and removes what this machine kept of what was
// there: whatever is joined next has none of it. It does nothing if that is not so, and may be done again.
func (a *Agent) finishDeletion() error {
	at, err := a.deletion()
	if err != nil || !bytes.Equal(at, deletionDone) {
		return err
	}
	if err := a.vault.Leave(); err != nil {
		return err
	}
	item, err := a.coordinatorItem()
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	err = a.vault.Update(func(tx *keystore.Tx) error {
		if item.URL == "" { // it was done, and died before its end
			return nil
		}
		a.events.stageWith(tx, Event{Type: EventCoordinatorDeleted})
		return errors.Join(tx.Delete(itemCoordinator), tx.Delete(itemDevices))
	})
	for _, prefix := range []string{messagesPrefix, contacts.QueuedPrefix, linkPrefix} {
		if err == nil {
			err = a.purge(prefix)
		}
	}
	if err == nil {
		err = a.destroyDevice()
	}
	if err != nil {
		return err
	}
	defer a.publish()
	return a.db.Update(func(tx *kv.Tx) (err error) {
		for _, key := range ofCoordinator {
			err = errors.Join(err, tx.Delete(key))
		}
		return err
	})
}

// destroyDevice removes the device key, which is of a list that is no more. One that does not open stays, as its owner is to see it.
func (a *Agent) destroyDevice() error {
	a.device.Lock()
	defer a.device.Unlock()
	user, err := uuid.Parse(a.vault.UserID())
	if err != nil {
		return fault.Wrap(fault.Incomplete, err, "the user's id cannot be read")
	}
	d, err := devices.OpenDevice(atomicfile.OS, a.deviceFile(), devices.UserID(user))
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	return d.Destroy()
}

// messagesPrefix begins all records of package messages.
const messagesPrefix = "messages/"

// purge removes all records below a prefix, in transactions of some.
func (a *Agent) purge(prefix string) error {
	for {
		more := false
		err := a.db.Update(func(tx *kv.Tx) error {
			keys, err := keysUnder(tx, prefix)
			if len(keys) > purgeBatch {
				keys, more = keys[:purgeBatch], true
			}
			for _, key := range keys {
				err = errors.Join(err, tx.Delete(key))
			}
			return err
		})
		if err != nil || !more {
			return err
		}
	}
}
