package messages

import (
	"context"
	"errors"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

const (
	receivedPrefix = "i-"
	seenPrefix     = "messages/seen/"

	maxHeld    = 16   // messages of one sender that wait in the mailbox for a person
	maxAllHeld = 1024 // senders that have some
	maxChanged = 256  // messages of one sender that say they come under another key
	maxUnknown = 256  // bodies of unknown kinds that stay at the coordinator

	maxUnknownOf = 32 // and of one sender

	lookAgainAfter = 15 * time.Minute
)

// outcome is what becomes of a message in the mailbox.
type outcome int

const (
	acknowledge outcome = iota
	leave               // it stays in the mailbox, and blocks nothing
	later               // so it does, and the next Receive takes it up
)

// Receive takes in what is in the mailbox, in order, and returns how many bodies reached the application. A message that cannot be read is
// set aside and blocks nothing; an error is one that concerns everything, and leaves the rest for the next time.
func (m *Messages) Receive(ctx context.Context) (n int, err error) {
	err = m.until(ctx, func(ctx context.Context) error {
		n, err = m.receiveAll(ctx)
		return err
	})
	return n, err
}

func (m *Messages) receiveAll(ctx context.Context) (n int, err error) {
	m.receiving.Lock()
	defer m.receiving.Unlock()
	m.mayRescan(ctx)
	if n, err = m.takeStored(ctx); err != nil {
		return n, err
	}
	for more := true; more; {
		var list []Envelope
		if list, more, err = m.config.Mailbox.Inbox(ctx, m.after); err != nil {
			return n, err
		}
		taken, err := m.receivePage(ctx, list)
		if n += taken; err != nil {
			return n, err
		}
	}
	return n, nil
}

// receivePage takes messages in and acknowledges together those that are done with.
func (m *Messages) receivePage(ctx context.Context, list []Envelope) (n int, err error) {
	var done []Acknowledgement
	for _, e := range list {
		var o outcome
		var taken bool
		if o, taken, err = m.receive(ctx, e); err != nil {
			break
		}
		if taken {
			n++
		}
		switch o {
		case acknowledge:
			done = append(done, Acknowledgement{e.Sequence, e.ID})
		case later:
			m.postponed[receivedName(e.Sender, e.Body)] = Acknowledgement{e.Sequence, e.ID}
		}
		m.after = e.Sequence
	}
	return n, errors.Join(err, m.acknowledge(ctx, done))
}

func (m *Messages) acknowledge(ctx context.Context, done []Acknowledgement) error {
	if len(done) == 0 {
		return nil
	}
	m.step("acknowledge")
	err := m.config.Mailbox.Acknowledge(ctx, done)
	m.step("acknowledged")
	return err
}

// Rescan lets the next Receive look at the whole mailbox again: after a decision about a sender, or when the coordinator says `resync`.
func (m *Messages) Rescan() { m.rescan.Store(true) }

// mayRescan begins the mailbox anew if that was asked for, if there is a new state key, and some time after a record was not right: what
// it left may open now.
func (m *Messages) mayRescan(ctx context.Context) {
	if epoch, _, err := m.config.StateKeys.Current(ctx); err == nil && epoch != m.epoch {
		m.epoch = epoch
		m.Rescan()
	}
	if !m.lookAgain.IsZero() && !m.config.Now().Before(m.lookAgain) {
		m.Rescan()
	}
	if !m.rescan.Swap(false) {
		return
	}
	m.after, m.listed, m.stored, m.lookAgain = 0, false, nil, time.Time{}
	clear(m.held)
	clear(m.changed)
	clear(m.postponed)
}

// receive takes one message in. The errors are those that concern all messages.
func (m *Messages) receive(ctx context.Context, e Envelope) (o outcome, taken bool, err error) {
	if !validUser(e.Sender) || e.Sender == m.user { // S11: no session is with oneself
		m.config.Event(Event{What: Dropped, Peer: e.Sender, Code: fault.Policy})
		return acknowledge, false, nil
	}
	verdict, err := m.config.Gate.Admit(ctx, e.Sender)
	switch {
	case err != nil:
		return leave, false, err
	case verdict == Hold:
		return m.hold(e, ""), false, nil
	case verdict != Accept:
		m.config.Event(Event{What: Dropped, Peer: e.Sender, Code: fault.Policy})
		return acknowledge, false, nil
	}
	if _, err := m.config.Contacts.Identity(ctx, e.Sender); err != nil {
		return m.untrusted(e.Sender, err)
	}
	name := receivedName(e.Sender, e.Body)
	blob, err := m.openAdmitted(ctx, e, name)
	switch {
	case err == nil:
		return m.deliver(ctx, e.Sender, blob)
	case errors.Is(err, errStranger):
		m.config.Event(Event{What: Dropped, Peer: e.Sender, Code: fault.TooLarge})
		return acknowledge, false, nil
	case errors.As(err, new(recordFault)), errors.As(err, new(saveFault)):
		return m.withRecordFault(ctx, e.Sender, err)
	case errors.Is(err, fault.Replayed):
		return m.again(ctx, e, name)
	case errors.Is(err, fault.KeyChanged) && m.changed[e.Sender] < maxChanged:
		m.changed[e.Sender]++
		return m.untrusted(e.Sender, err)
	case fault.Transient(err), ctx.Err() != nil:
		return leave, false, err
	}
	return acknowledge, false, m.setAside(asideOf(e, name, err))
}

// hold leaves a message in the mailbox, for a person to decide, unless too many are there already.
func (m *Messages) hold(e Envelope, code fault.Code) outcome {
	if m.held[e.Sender] >= maxHeld || len(m.held) >= maxAllHeld && m.held[e.Sender] == 0 {
		m.config.Event(Event{What: Dropped, Peer: e.Sender, Code: fault.TooLarge})
		return acknowledge
	}
	m.held[e.Sender]++
	m.config.Event(Event{What: Held, Peer: e.Sender, Code: code})
	return leave
}

// untrusted leaves the message of somebody whose key a person has to look at. They are a contact: the mailbox is limit enough. That
// a message says it comes under another key proves nothing: the event is a reason to ask for their bundle, and no more.
func (m *Messages) untrusted(sender string, err error) (outcome, bool, error) {
	if fault.Transient(err) {
		return leave, false, err
	}
	m.config.Event(Event{What: Held, Peer: sender, Code: fault.CodeOf(err)})
	return leave, false, nil
}

// withRecordFault leaves a message whose session cannot be opened or stored. It stops everything if that concerns everything, otherwise
// the mailbox is read again after a while.
func (m *Messages) withRecordFault(ctx context.Context, sender string, err error) (outcome, bool, error) {
	if fault.Transient(err) || ctx.Err() != nil {
		return leave, false, err
	}
	if m.lookAgain.IsZero() {
		m.lookAgain = m.config.Now().Add(lookAgainAfter)
	}
	m.config.Event(Event{What: RecordFault, Peer: sender, Code: fault.CodeOf(err)})
	return leave, false, nil
}

// openAdmitted is openMessage if the sender may have one more: of strangers there is a bound.
func (m *Messages) openAdmitted(ctx context.Context, e Envelope, name string) (*Blob, error) {
	standing, err := m.config.Standing(e.Sender)
	if err == nil && standing.stranger() {
		err = m.admitStranger(ctx, e.Sender)
	}
	if err != nil {
		return nil, err
	}
	return m.openMessage(ctx, e, name)
}

// openMessage decrypts a message and stores its body in the swap that consumes its key.
func (m *Messages) openMessage(ctx context.Context, e Envelope, name string) (*Blob, error) {
	if len(e.Body) < 1 {
		return nil, fault.New(fault.InvalidRequest, "an empty message")
	}
	msg := ratchet.Message{Type: ratchet.MessageType(e.Body[0]), Body: e.Body[1:]}
	var blob *Blob
	err := m.decrypt(ctx, e.Sender, msg, func(body []byte, identity [32]byte) ([]BlobChange, error) {
		first, err := m.config.Blobs.First(ctx)
		if err != nil {
			return nil, err
		}
		w := wireReceived{Sender: e.Sender, Identity: identity[:], Time: m.config.Now().Unix(), Body: body}
		sealed, err := m.sealReceived(ctx, name, first, w)
		if err != nil {
			return nil, err
		}
		c := change(name, version{}.or(first), sealed)
		blob = &Blob{Name: name, Counter: c.Counter, Hash: m.config.Blobs.Hash(c), Body: sealed}
		return []BlobChange{c}, nil
	})
	return blob, err
}

// again deals with a message whose key is consumed. If its body is still there the application has not had it.
func (m *Messages) again(ctx context.Context, e Envelope, name string) (outcome, bool, error) {
	blob, err := m.readReceived(ctx, name)
	if err != nil {
		return m.withRecordFault(ctx, e.Sender, err)
	}
	if blob == nil {
		if err := m.forgetTaken(ctx, name); err != nil {
			return leave, false, err
		}
		m.config.Event(Event{What: Dropped, Peer: e.Sender, Code: fault.Replayed})
		return acknowledge, false, nil
	}
	return m.deliver(ctx, e.Sender, blob)
}

// deliver takes a stored body into the application. sender is who it is from, if that is known before it is opened.
func (m *Messages) deliver(ctx context.Context, sender string, blob *Blob) (outcome, bool, error) {
	w, err := m.openReceived(ctx, blob)
	if err != nil { // changed at the coordinator: what is right may come yet
		return m.withRecordFault(ctx, sender, err)
	}
	defer secret.Wipe(w.Body) // what the handler has is a copy
	removal := removalOf(blob)
	if sender == "" {
		if o, admitted, err := m.admitStored(ctx, w.Sender, removal); err != nil || !admitted {
			return o, false, err
		}
	}
	body, err := parseBody(w.Body)
	if err != nil {
		return m.remove(ctx, removal, aside{Name: blob.Name, Sender: w.Sender, Code: string(fault.CodeOf(err)), Time: w.Time, body: w.Body})
	}
	if had, err := m.seen(w.Sender, body.ID); err != nil || had {
		if err == nil {
			err = m.finish(ctx, removal)
		}
		return acknowledge, false, err
	}
	r := &Received{
		Body: *body, Sender: w.Sender, Identity: [32]byte(w.Identity), Time: time.Unix(w.Time, 0).UTC(), removal: removal,
	}
	if body.Kind == KindHeads {
		return acknowledge, false, m.taken(ctx, r)
	}
	handler := m.config.Handlers[body.Kind]
	if handler == nil {
		return m.unknownKind(ctx, removal, body, w)
	}
	m.step("handle")
	if err = handler(ctx, r); err != nil {
		return m.refused(ctx, r, w, err)
	}
	m.step("handled")
	return acknowledge, true, m.taken(ctx, r)
}

// admitStored asks whether a body's sender is still let in: much may have happened since it was opened. One of a sender who is to be held,
// or whose key a person has to look at, stays at the coordinator until the next Rescan.
func (m *Messages) admitStored(ctx context.Context, sender string, removal BlobChange) (o outcome, admitted bool, err error) {
	verdict, err := m.config.Gate.Admit(ctx, sender)
	switch {
	case err != nil:
		return leave, false, err
	case verdict == Hold:
		m.config.Event(Event{What: Held, Peer: sender})
		return leave, false, nil
	case verdict != Accept:
		m.config.Event(Event{What: Dropped, Peer: sender, Code: fault.Policy})
		return acknowledge, false, m.finish(ctx, removal)
	}
	if _, err := m.config.Contacts.Identity(ctx, sender); err != nil {
		return m.untrusted(sender, err)
	}
	return leave, true, nil
}

// unknownKind leaves a body at the coordinator, for an agent that knows the kind, unless too many are there.
func (m *Messages) unknownKind(ctx context.Context, removal BlobChange, body *Body, w *wireReceived) (outcome, bool, error) {
	a := aside{Name: removal.Name, Sender: w.Sender, Kind: body.Kind, Code: string(fault.Policy), Time: w.Time}
	all := 0
	for _, n := range m.unknown {
		all += n
	}
	if all >= maxUnknown || m.unknown[w.Sender] >= maxUnknownOf {
		a.body = w.Body
		return m.remove(ctx, removal, a)
	}
	m.unknown[w.Sender]++
	return acknowledge, false, m.setAside(a)
}

// refused deals with the failure of a handler.
func (m *Messages) refused(ctx context.Context, r *Received, w *wireReceived, cause error) (outcome, bool, error) {
	blob, err := m.readReceived(ctx, r.removal.Name)
	switch {
	case err != nil:
		return leave, false, err
	case blob == nil: // another device took it, or our own swap was made and its answer lost
		return acknowledge, false, m.markSeen(r)
	case errors.As(cause, new(never)):
	case stops(ctx, cause):
		return leave, false, cause
	case fault.Transient(cause), errors.Is(cause, fault.Incomplete):
		return later, false, nil
	}
	a := aside{Name: blob.Name, Sender: w.Sender, Kind: r.Kind, Code: string(fault.CodeOf(cause)), Time: w.Time, body: w.Body}
	return m.remove(ctx, removalOf(blob), a)
}

// taken notes that the application has a body. The body's id is marked before its blob goes, if the handler's swap did not take that along.
func (m *Messages) taken(ctx context.Context, r *Received) error {
	if err := m.markSeen(r); err != nil {
		return err
	}
	m.step("marked")
	if r.taken {
		return nil
	}
	return m.finish(ctx, r.removal)
}

// remove sets a body aside and then takes its blob away.
func (m *Messages) remove(ctx context.Context, removal BlobChange, a aside) (outcome, bool, error) {
	if err := m.setAside(a); err != nil {
		return leave, false, err
	}
	return acknowledge, false, m.finish(ctx, removal)
}

// finish removes a blob. Another device may have done so.
func (m *Messages) finish(ctx context.Context, removal BlobChange) error {
	err := m.swap(ctx, []BlobChange{removal})
	m.step("removed")
	if err != nil && !errors.Is(err, fault.Conflict) {
		return err
	}
	return m.config.DB.Update(func(tx *kv.Tx) error { return tx.Delete(bodyPrefix + removal.Name) })
}
