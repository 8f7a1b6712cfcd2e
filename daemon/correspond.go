package daemon

import (
	"context"
	"errors"
	"time"

	"coldframe/daemon/contacts"
	"coldframe/daemon/messages"
	"coldframe/daemon/remote"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
	"coldframe/ratchet"
)

const (
	oneTimes   = 100 // one-time prekeys that are offered
	oneTimeLow = 20  // with fewer, they are filled up; the coordinator's own mark

	refillEvery = 10 * time.Minute // at most: each takes time here and two changes of the vault, and when they are few is the coordinator's word

	bundleAge = 7 * 24 * time.Hour // of the published bundle, before the next follows it

	checkOwnEvery = 24 * time.Hour
	checkOwnAgain = 2 * time.Hour // while something is wrong

	publishedKey = "meta/prekeys-published" // Unix seconds of this device's last upload
	replaceKey   = "meta/prekeys-replace"   // Unix seconds of when all that was published before was given up, and nothing followed yet
	toldKey      = "meta/heads-told"        // Unix seconds of when it told heads to everybody last

	headVault   = "vault"
	headDevices = "devices"
	tellEvery   = 12 * time.Hour // between two tellings of heads to everybody
)

// Types of events about messages.
const (
	EventMessageAside   = "message.set_aside" // one could not be read, or is of an unknown kind
	EventMessageDropped = "message.dropped"   // one was replayed, or of somebody who is blocked
	EventMessageHeld    = "message.held"      // one waits for a person
	EventSessionFault   = "session.refused"   // the record of a session is not what it was
	EventSessionGivenUp = "session.given_up"  // that with a stranger made room for another stranger's
	EventHeads          = "heads.disagree"    // two views of one object cannot both be right; Code says how
	EventPreKeysLow     = "prekeys.low"       // few one-time prekeys were left, which were filled up
)

var messageEvents = map[messages.EventType]string{
	messages.SetAside: EventMessageAside, messages.Dropped: EventMessageDropped, messages.Held: EventMessageHeld,
	messages.RecordFault: EventSessionFault, messages.Unproven: EventSessionFault, messages.PassedOver: EventSessionFault,
	messages.HeadFault: EventHeads, messages.GivenUp: EventSessionGivenUp,
}

// messageEvent makes an event of what became of a message. Whoever may fill a mailbox must not wash the log out.
func (a *Agent) messageEvent(e messages.Event) {
	if typ, ok := messageEvents[e.What]; ok {
		a.rarely(Event{Type: typ, Contact: e.Peer, Code: e.Code})
	}
}

// takeSecret is the handler of messages that carry a secret: the secret comes into the vault in the swap that takes the message away.
func (y *syncer) takeSecret(ctx context.Context, r *messages.Received) error {
	removal := r.Removal()
	var e contacts.Event
	err := y.a.vault.UpdateContext(ctx, func(tx *keystore.Tx) (err error) {
		e, err = y.book.Receive(tx, contacts.Incoming{From: r.Sender, Identity: r.Identity, Payload: r.Payload})
		if err != nil {
			return err
		}
		return tx.Detach(removal.Name, remote.Before(removal))
	})
	if rejection, ok := errors.AsType[*contacts.Rejection](err); ok {
		if e.Type != "" {
			y.a.contactEvent(e)
		}
		return messages.Never(rejection)
	}
	if err != nil {
		return err
	}
	y.a.contactEvent(e)
	if e.Type == contacts.EventReceived { // so that who sent it learns which views of both accounts agree
		if _, err := y.mail.Enqueue(r.Sender, messages.KindHeads, nil); err != nil {
			y.a.log.Warn("heads not told", failure(err)...)
		}
		y.poke(taskSend)
	}
	return nil
}

// offerPreKeys publishes a bundle and one-time prekeys where the coordinator has none, too few or old ones. Whatever it says of that, what it
// hands out under the user's own id is looked at, before: another key there is not overwritten. A person has it removed by RestartSession (THREATS K03).
func (y *syncer) offerPreKeys(ctx context.Context) error {
	y.offering.Lock()
	defer y.offering.Unlock()
	rotated, err := y.mail.Rotate(ctx)
	if err != nil {
		return err
	}
	now := y.a.clock.Now()
	own := y.checkOwn(ctx, now)
	if errors.Is(own, fault.KeyChanged) {
		return own
	}
	published, err := y.fillPreKeys(ctx, rotated, now)
	switch {
	case isRefusal(fault.CodeOf(own)):
		if published { // which may have mended it
			y.offered.looked = time.Time{}
		}
		return own
	case published && errors.Is(own, fault.NotFound): // there was none yet
		return nil
	case err != nil:
		return err
	}
	return own
}

// offered is what a syncer knows of the prekeys at the coordinator. It belongs to who holds offering.
type offered struct {
	looked   time.Time // at what is handed out under the user's own id
	foundOwn error     // what it was

	owed      bool             // prekeys were replaced, and nothing was published since
	upload    *contacts.Upload // whose answer was lost: the same again changes nothing if it was taken
	at        uint64           // number at the coordinator before it
	refused   error            // why the last upload was not taken; nil: it was
	refusedAt time.Time
}

// forgetOffered notes that no bundle of before can be answered any more: all that the coordinator hands out goes with the next upload. The caller holds offering
// until the prekeys are given up.
func (y *syncer) forgetOffered() error {
	y.offered = offered{}
	return y.keepTime(replaceKey, y.a.clock.Now())
}

// fillPreKeys publishes what the coordinator has none of, too few or old ones, if it is time for it.
func (y *syncer) fillPreKeys(ctx context.Context, rotated bool, now time.Time) (published bool, err error) {
	st, err := y.directory.Status(ctx)
	if err != nil {
		return false, err
	}
	last, err := y.timeOf(publishedKey)
	if err != nil {
		return false, err
	}
	replace, err := y.timeOf(replaceKey)
	if err != nil {
		return false, err
	}
	since := now.Sub(last).Abs()
	if st.Sequence != 0 && st.Left < oneTimeLow {
		y.a.rarely(Event{Type: EventPreKeysLow})
	}
	o := &y.offered
	o.owed = o.owed || rotated
	if rotated || st.Sequence != o.at && (o.upload == nil || st.Sequence != o.upload.Sequence) {
		o.upload = nil // there are others since, here or there
	}
	few := st.Sequence == 0 || st.Left < oneTimeLow
	switch {
	case !o.owed && o.upload == nil && none(replace) && (!few || since < refillEvery) && since < bundleAge:
		return false, nil
	case o.refused != nil && now.Sub(o.refusedAt).Abs() < checkOwnAgain: // each try pushes out a hundred that may have been handed out
		return false, o.refused
	}
	err = y.publish(ctx, st, replace, now)
	return err == nil, err
}

// none reports whether a time of timeOf is none.
func none(t time.Time) bool { return t.Unix() == 0 }

// publish uploads new prekeys, or those whose answer was lost. With replace, which is when those of before were given up, nothing of them is left.
func (y *syncer) publish(ctx context.Context, st remote.PreKeyStatus, replace, now time.Time) error {
	o := &y.offered
	if o.upload == nil {
		n := oneTimes
		if none(replace) {
			n = max(1, oneTimes-st.Left)
		}
		u, err := y.newUpload(ctx, n)
		if err != nil {
			return err
		}
		o.upload, o.at = &u, st.Sequence
	}
	u := *o.upload
	if _, err := y.directory.Publish(ctx, u, !none(replace)); err != nil {
		if code := fault.CodeOf(err); code != fault.Unavailable && code != fault.Busy && ctx.Err() == nil {
			o.upload, o.refused, o.refusedAt = nil, err, now
		}
		return err
	}
	if err := y.book.Uploaded(ctx, u); err != nil {
		return err
	}
	o.owed, o.upload, o.refused = false, nil, nil
	return y.a.db.Update(func(tx *kv.Tx) error {
		asked, err := readCounter(tx, replaceKey)
		if err == nil && int64(asked) == replace.Unix() { //nolint:gosec // a date that we wrote
			err = tx.Delete(replaceKey)
		}
		return errors.Join(err, writeCounter(tx, publishedKey, uint64(now.Unix()))) //nolint:gosec // a date
	})
}

// newUpload makes and signs a bundle and n one-time prekeys.
func (y *syncer) newUpload(ctx context.Context, n int) (contacts.Upload, error) {
	last, err := y.mail.NewBundles(ctx, 1, ratchet.BundleOptions{LastResort: true})
	if err != nil {
		return contacts.Upload{}, err
	}
	oneTime, err := y.mail.NewBundles(ctx, n, ratchet.BundleOptions{OneTime: true})
	if err != nil {
		return contacts.Upload{}, err
	}
	return y.book.Publish(ctx, contacts.Keys{User: y.s.user, Identity: y.own.Identity, Signing: y.s.signer.Key}, last[0], oneTime)
}

// checkOwn looks, once a day, and every two hours while something is wrong, at what the coordinator hands out under the user's own id (THREATS K03).
func (y *syncer) checkOwn(ctx context.Context, now time.Time) error {
	every := checkOwnEvery
	if y.offered.foundOwn != nil {
		every = checkOwnAgain
	}
	if now.Sub(y.offered.looked).Abs() < every {
		return y.offered.foundOwn
	}
	p, err := y.directory.FetchOwn(ctx)
	if err != nil {
		return err
	}
	err = y.book.CheckOwn(ctx, p)
	if err == nil || isRefusal(fault.CodeOf(err)) {
		y.offered.looked, y.offered.foundOwn = now, err // what is wrong stays so until the next look, and makes no event at each try
	}
	return err
}

// timeOf returns a time that keepTime kept; long ago if there is none.
func (y *syncer) timeOf(key string) (t time.Time, err error) {
	err = y.a.db.View(func(tx *kv.Tx) error {
		n, err := readCounter(tx, key)
		t = time.Unix(int64(n), 0) //nolint:gosec // a date that we wrote
		return err
	})
	return t, err
}

func (y *syncer) keepTime(key string, t time.Time) error {
	return y.a.db.Update(func(tx *kv.Tx) error { return writeCounter(tx, key, uint64(t.Unix())) }) //nolint:gosec // a date
}

// ownHeads is what every message tells of this account: its vault and its device list.
func (y *syncer) ownHeads(context.Context, string) ([]messages.Head, error) {
	if y.memberErr != nil {
		return nil, y.memberErr
	}
	counter, hash, err := y.a.vault.Head()
	if err != nil {
		return nil, err
	}
	d := y.member.Head()
	return []messages.Head{
		{Type: headVault, ID: y.s.user, Sequence: counter, Hash: hash}, {Type: headDevices, ID: y.s.user, Sequence: d.Sequence, Hash: d.Hash},
	}, nil
}

// checkHeads looks at what contacts echoed of this account, and tells heads to those who have not heard for a while.
func (y *syncer) checkHeads(ctx context.Context) error {
	if err := y.findOwn(ctx); err != nil || y.s.forked.Load() {
		return err
	}
	return y.tellHeads()
}

// findOwn holds what contacts echoed against what is here. What is news makes an event.
func (y *syncer) findOwn(ctx context.Context) error {
	own, err := y.ownHeads(ctx, "")
	if err != nil {
		return err
	}
	found, err := y.mail.CheckOwn(own)
	if err == nil {
		found, err = y.checkForks(found)
	}
	if err != nil {
		return err
	}
	y.mu.Lock()
	before := y.findings
	y.findings = found
	y.mu.Unlock()
	for _, f := range found {
		if !hasFinding(before, f) {
			y.a.rarely(Event{Type: EventHeads, Contact: f.Peer, Code: f.Code})
		}
	}
	return nil
}

func hasFinding(list []messages.Finding, f messages.Finding) bool {
	for _, g := range list {
		if g.Type == f.Type && g.ID == f.ID && g.Code == f.Code && g.Peer == f.Peer {
			return true
		}
	}
	return false
}

// tellHeads queues a message without content for every contact, twice a day: who hears nothing for a day is kept in the dark by somebody
// (THREATS E05).
func (y *syncer) tellHeads() error {
	now := y.a.clock.Now()
	told, err := y.timeOf(toldKey)
	if err != nil || now.Sub(told).Abs() < tellEvery {
		return err
	}
	list, err := y.book.List()
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.MaySend() != nil {
			continue
		}
		if _, err := y.mail.Enqueue(c.User, messages.KindHeads, nil); err != nil {
			return err
		}
	}
	y.poke(taskSend)
	return y.keepTime(toldKey, now)
}
