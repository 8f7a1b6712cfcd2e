package messages

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
	"coldframe/ratchet"
)

const (
	receivedPrefix = "i-"
	seenPrefix     = "messages/seen/"

	maxHeld    = 16   // messages of one sender that wait in the mailbox for a person
	maxAllHeld = 1024 // senders that have some
	maxUnknown = 256  // bodies of unknown kinds that stay at the coordinator
)

// Received is a body on its way into the application.
type Received struct {
	Body
	Sender string
	Time   time.Time // when it was opened, by the clock of the device that did

	removal BlobChange
	taken   bool
}

// Removal returns the change that takes the body away: it belongs into the swap that has the effect of the message. That swap fails with
// fault.Conflict if another device was faster; the body is had then.
func (r *Received) Removal() BlobChange {
	r.taken = true
	return r.removal
}

// wireReceived is what the blob of a received body holds, sealed.
type wireReceived struct {
	_      struct{} `cbor:",toarray"`
	Sender string
	Time   int64  // unix seconds
	Body   []byte // as it was decrypted
}

// receivedName names the blob of a body by the message that it came in, so that whoever gets that again finds it.
func receivedName(sender string, message []byte) string {
	h := sha256.New()
	h.Write([]byte("coldframe/v1/messages/received\x00" + sender)) //nolint:errcheck // never fails
	h.Write(message)                                               //nolint:errcheck // never fails
	return receivedPrefix + hex.EncodeToString(h.Sum(nil)[:16])
}

func (m *Messages) receivedContext(name string, counter uint64) seal.Context {
	return seal.Context{Owner: m.user, Type: "received", ID: name, Version: counter}
}

// outcome is what becomes of a message in the mailbox.
type outcome int

const (
	acknowledge outcome = iota
	leave               // it stays in the mailbox, and blocks nothing
)

// Receive takes in what is in the mailbox, in order, and returns how many bodies reached the application. A message that cannot be read is
// set aside and blocks nothing; an error is one that concerns everything, and leaves the rest for the next time.
func (m *Messages) Receive(ctx context.Context) (n int, err error) {
	m.receiving.Lock()
	defer m.receiving.Unlock()
	if !m.recovered {
		if n, err = m.recover(ctx); err != nil {
			return n, err
		}
		m.recovered = true
	}
	for more := true; more; {
		var list []Envelope
		if list, more, err = m.Mailbox.Inbox(ctx, m.after); err != nil {
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
		if o == acknowledge {
			done = append(done, Acknowledgement{e.Sequence, e.ID})
		}
		m.after = e.Sequence
	}
	if len(done) == 0 {
		return n, err
	}
	m.step("acknowledge")
	err = errors.Join(err, m.Mailbox.Acknowledge(ctx, done))
	m.step("acknowledged")
	return n, err
}

// Rescan lets the next Receive look at the whole mailbox again: after a decision about a sender, or when the coordinator says `resync`.
func (m *Messages) Rescan() {
	m.receiving.Lock()
	defer m.receiving.Unlock()
	m.after, m.recovered = 0, false
	clear(m.held)
}

// receive takes one message in. The errors are those that concern all messages.
func (m *Messages) receive(ctx context.Context, e Envelope) (o outcome, taken bool, err error) {
	if !validUser(e.Sender) || e.Sender == m.user { // S11: no session is with oneself
		m.Event(Event{What: Dropped, Peer: e.Sender, Code: fault.Policy})
		return acknowledge, false, nil
	}
	verdict, err := m.Gate.Admit(ctx, e.Sender)
	switch {
	case err != nil:
		return leave, false, err
	case verdict == Hold:
		return m.hold(e, ""), false, nil
	case verdict != Accept:
		m.Event(Event{What: Dropped, Peer: e.Sender, Code: fault.Policy})
		return acknowledge, false, nil
	}
	name := receivedName(e.Sender, e.Body)
	blob, err := m.openMessage(ctx, e, name)
	switch {
	case err == nil:
		return m.deliver(ctx, name, blob)
	case errors.As(err, new(recordFault)), errors.As(err, new(saveFault)):
		return m.withRecordFault(ctx, e, err)
	case errors.Is(err, fault.Replayed):
		return m.again(ctx, e, name)
	case errors.Is(err, fault.KeyChanged):
		return m.hold(e, fault.KeyChanged), false, nil
	case transient(err), ctx.Err() != nil:
		return leave, false, err
	}
	return acknowledge, false, m.setAside(asideOf(e, name, err))
}

// hold leaves a message in the mailbox, for a person to decide, unless too many are there already.
func (m *Messages) hold(e Envelope, code fault.Code) outcome {
	if m.held[e.Sender] >= maxHeld || len(m.held) >= maxAllHeld && m.held[e.Sender] == 0 {
		m.Event(Event{What: Dropped, Peer: e.Sender, Code: fault.TooLarge})
		return acknowledge
	}
	m.held[e.Sender]++
	m.Event(Event{What: Held, Peer: e.Sender, Code: code})
	return leave
}

// withRecordFault leaves a message whose session cannot be opened or stored. It stops everything if that may pass.
func (m *Messages) withRecordFault(ctx context.Context, e Envelope, err error) (outcome, bool, error) {
	if transient(err) || ctx.Err() != nil {
		return leave, false, err
	}
	m.Event(Event{What: RecordFault, Peer: e.Sender, Code: fault.CodeOf(err)})
	return leave, false, nil
}

// openMessage decrypts a message and stores its body in the swap that consumes its key.
func (m *Messages) openMessage(ctx context.Context, e Envelope, name string) (*Blob, error) {
	if len(e.Body) < 1 {
		return nil, fault.New(fault.InvalidRequest, "an empty message")
	}
	msg := ratchet.Message{Type: ratchet.MessageType(e.Body[0]), Body: e.Body[1:]}
	var blob *Blob
	err := m.decrypt(ctx, e.Sender, msg, func(body []byte) ([]BlobChange, error) {
		sealed, err := m.sealReceived(ctx, name, 1, wireReceived{Sender: e.Sender, Time: m.Now().Unix(), Body: body})
		if err != nil {
			return nil, err
		}
		c := change(name, version{}, sealed)
		blob = &Blob{Name: name, Counter: c.Counter, Hash: m.Blobs.Hash(c), Body: sealed}
		return []BlobChange{c}, nil
	})
	return blob, err
}

func (m *Messages) sealReceived(ctx context.Context, name string, counter uint64, w wireReceived) ([]byte, error) {
	plaintext, err := signed.Marshal(w)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plaintext)
	sealed, _, err := m.seal(ctx, purposeReceived, m.receivedContext(name, counter), plaintext)
	return sealed, err
}

func (m *Messages) openReceived(ctx context.Context, b *Blob) (*wireReceived, error) {
	plaintext, err := m.open(ctx, purposeReceived, m.receivedContext(b.Name, b.Counter), b.Body)
	if err != nil {
		return nil, err
	}
	w := &wireReceived{}
	if err := signed.Unmarshal(plaintext, w); err != nil {
		return nil, err
	}
	if !validUser(w.Sender) {
		return nil, fault.New(fault.NotAuthentic, "not a received message")
	}
	return w, nil
}

// again deals with a message whose key is consumed. If its body is still there the application has not had it.
func (m *Messages) again(ctx context.Context, e Envelope, name string) (outcome, bool, error) {
	blob, err := m.readReceived(ctx, name)
	if err != nil {
		return m.withRecordFault(ctx, e, err)
	}
	if blob == nil {
		m.Event(Event{What: Dropped, Peer: e.Sender, Code: fault.Replayed})
		return acknowledge, false, nil
	}
	return m.deliver(ctx, name, blob)
}

// readReceived returns the blob of a body; nil if it is not there any more.
func (m *Messages) readReceived(ctx context.Context, name string) (*Blob, error) {
	list, err := m.Blobs.Read(ctx, []string{name})
	i := slices.IndexFunc(list, func(b Blob) bool { return b.Name == name && len(b.Body) > 0 })
	if err != nil || i < 0 {
		return nil, err
	}
	return &list[i], nil
}

// deliver takes a stored body into the application.
func (m *Messages) deliver(ctx context.Context, name string, blob *Blob) (outcome, bool, error) {
	w, err := m.openReceived(ctx, blob)
	if err != nil { // changed at the coordinator: what is right may come yet
		return m.withRecordFault(ctx, Envelope{}, err)
	}
	removal := change(name, blob.version(), nil)
	removal.Remove = true
	body, err := parseBody(w.Body)
	if err != nil {
		return m.remove(ctx, removal, aside{Name: name, Sender: w.Sender, Code: string(fault.CodeOf(err)), Time: w.Time, Body: w.Body})
	}
	if had, err := m.seen(w.Sender, body.ID); err != nil || had {
		if err == nil {
			err = m.finish(ctx, removal)
		}
		return acknowledge, false, err
	}
	handler := m.Handlers[body.Kind]
	if handler == nil {
		return m.unknownKind(ctx, removal, body, w)
	}
	r := &Received{Body: *body, Sender: w.Sender, Time: time.Unix(w.Time, 0).UTC(), removal: removal}
	m.step("handle")
	if err = handler(ctx, r); err != nil {
		return m.refused(ctx, r, w, err)
	}
	m.step("handled")
	return acknowledge, true, m.taken(ctx, r)
}

// unknownKind leaves a body at the coordinator, for an agent that knows the kind, unless too many are there.
func (m *Messages) unknownKind(ctx context.Context, removal BlobChange, body *Body, w *wireReceived) (outcome, bool, error) {
	a := aside{Name: removal.Name, Sender: w.Sender, Kind: body.Kind, Code: string(fault.Policy), Time: w.Time}
	if m.unknown >= maxUnknown {
		a.Body = w.Body
		return m.remove(ctx, removal, a)
	}
	m.unknown++
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
	case transient(cause), ctx.Err() != nil:
		return leave, false, cause
	}
	a := aside{Name: blob.Name, Sender: w.Sender, Kind: r.Kind, Code: string(fault.CodeOf(cause)), Time: w.Time, Body: w.Body}
	removal := change(blob.Name, blob.version(), nil)
	removal.Remove = true
	return m.remove(ctx, removal, a)
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
	if errors.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

func seenKey(sender string, id ID) string {
	return seenPrefix + sender + "/" + hex.EncodeToString(id[:])
}

// seen reports whether a body of a sender reached the application through this device.
func (m *Messages) seen(sender string, id ID) (had bool, err error) {
	err = m.DB.View(func(tx *kv.Tx) error {
		_, err := tx.Get(seenKey(sender, id))
		had = err == nil
		if errors.Is(err, fault.NotFound) {
			err = nil
		}
		return err
	})
	return had, err
}

// markSeen writes down, for ever, that the application has a body, and what the sender said of heads.
func (m *Messages) markSeen(r *Received) error {
	now := m.Now()
	var found []Fork
	err := m.DB.Update(func(tx *kv.Tx) (err error) {
		at := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))
		if err := tx.Set(seenKey(r.Sender, r.ID), at); err != nil {
			return err
		}
		if err := m.notAside(tx, r.removal.Name); err != nil {
			return err
		}
		found, err = m.keepHeads(tx, r.Sender, &r.Body, now)
		return err
	})
	for _, f := range found {
		m.Event(Event{What: HeadFault, Peer: f.Peer, Code: fault.Forked})
	}
	return err
}

// recover takes in bodies that an agent opened and did not get to the application.
func (m *Messages) recover(ctx context.Context) (n int, err error) {
	list, err := m.Blobs.List(ctx, receivedPrefix)
	if err != nil {
		return 0, err
	}
	m.unknown = 0
	for _, b := range list {
		blob, err := m.readReceived(ctx, b.Name)
		if err != nil && transient(err) {
			return n, err
		}
		if err != nil || blob == nil {
			continue
		}
		_, taken, err := m.deliver(ctx, b.Name, blob)
		if err != nil {
			return n, err
		}
		if taken {
			n++
		}
	}
	return n, nil
}
