package daemon

import (
	"context"
	"errors"
	"time"

	"coldframe/daemon/link"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
	"coldframe/keystore"
)

// restoreWait is how long RestoreCoordinator waits for the login that it may need: a restored coordinator has no sessions.
const restoreWait = 30 * time.Second

// RestoreCoordinator gives a coordinator that was restored from an older state what this machine knows to be newer, on the word of a person: the
// vault, the device list, the sessions, new prekeys, and the messages that it took lately. It may be called again, and then on the user's other
// machines; the one that was used last begins. Password and kit are wiped. With the kit the coordinator is told the login proof of the password first: it
// may know that of a former one.
//
// fault.Forked: what the coordinator has did not come of what is here: it stays. fault.RolledBack: this machine does not have all that is missing.
// fault.Conflict: there is nothing to put back where nothing is kept.
func (a *Agent) RestoreCoordinator(ctx context.Context, r RestoreCoordinatorRequest) (CoordinatorRestored, error) {
	defer clear(r.Password)
	defer clear(r.Kit)
	kit, err := a.ownKit(r.Kit)
	if err != nil {
		return CoordinatorRestored{}, err
	}
	if kit != nil {
		defer kit.Wipe()
	}
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return CoordinatorRestored{}, err
	}
	defer leave()
	if err := s.writable(); err != nil {
		return CoordinatorRestored{}, err
	}
	item, err := a.coordinatorItem()
	if err != nil {
		return CoordinatorRestored{}, err
	}
	if err := passwordGiven(r.Password); err != nil {
		return CoordinatorRestored{}, err
	}
	proof, err := a.vault.LoginProof(ctx, r.Password)
	if err != nil {
		return CoordinatorRestored{}, err
	}
	defer proof.Wipe()
	if kit != nil {
		err = a.renewProof(ctx, item.settings(), proof, kit)
	}
	if err == nil {
		err = a.loginAgain(ctx, s, proof)
	}
	if err != nil {
		return CoordinatorRestored{}, ended(ctx, forCaller(err))
	}
	return s.sync.putBackAll(ctx)
}

// putBackAll is the part of RestoreCoordinator after the login.
func (y *syncer) putBackAll(ctx context.Context) (CoordinatorRestored, error) {
	r, err := y.putBack(ctx)
	if err == nil {
		y.a.log.Warn("the coordinator got what this machine has newer", "vault", r.Vault, "links", r.Links, "records", r.Records, "bodies", r.Bodies)
		y.a.event(Event{Type: EventCoordinatorPutBack})
	}
	y.poke(allTasks)
	return r, ended(ctx, err)
}

// renewProof logs in with the recovery kit and sets the login proof of the present password, and the present address.
func (a *Agent) renewProof(ctx context.Context, settings link.Settings, proof keystore.Proof, kit *keystore.RecoveryKit) error {
	hash, err := keystore.EmailHash(a.vault.Email())
	if err != nil {
		return err
	}
	recovery := kit.Proof()
	defer recovery.Wipe()
	b, err := a.beginAt(ctx, settings, a.vault.UserID(), recovery, true)
	if err != nil {
		return err
	}
	defer b.Close()
	before, after := recovery.For(settings.URL), proof.For(settings.URL)
	defer before.Wipe()
	defer after.Wipe()
	err = b.SetProof(ctx, before, after, hash[:])
	a.endBeginning(ctx, b)
	return err
}

// loginAgain lets the link connect anew, with the proof if its session has ended, and waits for that. A credential of this machine that the coordinator
// knew is another one after it.
func (a *Agent) loginAgain(ctx context.Context, s *session, proof keystore.Proof) error {
	l := s.currentLink()
	if l.Link == nil {
		return fault.New(fault.Unavailable, "no coordinator is set")
	}
	if err := (linkStore{a, s, l.url}).forgetCredential(); err != nil {
		return err
	}
	before := s.sync.arrivals.Load()
	a.giveProof(l.Link, l.url, proof)
	l.Wake()
	ctx, cancel := context.WithTimeout(ctx, restoreWait)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for s.sync.arrivals.Load() == before {
		if l.NeedsProof() {
			return fault.New(fault.Forbidden, "the coordinator does not take the proof of this password: it may know a former one; the recovery kit helps")
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "there is no connection to the coordinator")
		case <-look.C:
		}
	}
	return nil
}

// putBack does what is said of RestoreCoordinator, in the order of a round: each part needs those before it.
func (y *syncer) putBack(ctx context.Context) (r CoordinatorRestored, err error) {
	if err = y.mail.Restored(); err != nil {
		return r, err
	}
	y.repost(ctx)
	if err = y.a.vault.Sync(ctx); errors.Is(err, fault.RolledBack) {
		err = y.a.vault.Republish(ctx)
		r.Vault = err == nil
	}
	if err == nil {
		err = y.memberErr
	}
	if err != nil {
		return r, err
	}
	if r.Links, err = y.member.PutBack(ctx); err != nil {
		return r, err
	}
	state, err := y.member.Sync(ctx)
	if err == nil {
		err = errNotListed(state)
	}
	if err != nil {
		return r, err
	}
	done, err := y.mail.PutBack(ctx)
	r.Records, r.Bodies = done.Records, done.Bodies
	for peer, code := range done.Wrong {
		r.Left = append(r.Left, RecordLeft{Contact: peer, Code: code})
	}
	if err != nil {
		return r, err
	}
	return r, y.keepTime(publishedKey, time.Unix(0, 0)) // one-time prekeys are in no backup
}

// repost posts again what the coordinator took lately, if that was asked for, whatever becomes of the vault: no key is needed for it. A failure is no other
// part's: the next round goes on with it. Nothing goes out where there are two of the vault, as with Send.
func (y *syncer) repost(ctx context.Context) {
	if y.s.forked.Load() {
		return
	}
	if err := y.mail.Repost(ctx); err != nil {
		y.a.log.Info("not posted again yet", failure(err)...)
	}
}

// followEpoch notes whether the coordinator was restored since the last connection, and posts again what that calls for.
func (y *syncer) followEpoch(ctx context.Context) error {
	if n := y.arrivals.Load(); n != y.epochAt {
		epoch, err := remote.Epoch(ctx, y.client)
		if err != nil {
			return err
		}
		changed, err := y.mail.Epoch(epoch)
		if err != nil {
			return err
		}
		if changed {
			y.a.event(Event{Type: EventCoordinatorOlder})
		}
		y.epochAt = n
	}
	y.repost(ctx)
	return nil
}
