package contacts

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/keystore"
)

// Incoming is a message of KindSecret that a session opened.
type Incoming struct {
	From     string // user
	Identity Key    // that the session has
	Payload  []byte
}

// Rejection is the error of a message that will never be taken. It has the code of what is wrong.
type Rejection struct{ Err error }

func (r *Rejection) Error() string { return r.Err.Error() }

// Unwrap returns what is wrong.
func (r *Rejection) Unwrap() error { return r.Err }

// Receive takes a secret into the vault, or lets it wait for a person: from a stranger, and from who is changed. The same secret again
// changes nothing. The event is for Notify, once the transaction has committed.
//
// After an error nothing was put into tx. A Rejection says that the message will never be taken: the caller goes on with tx, sets the
// message aside and acknowledges it. Its codes are those of a payload that is none; fault.Conflict for another secret under an id of the
// same sender, where the first one stays; fault.Forbidden from who is blocked; fault.Revoked under a replaced identity; fault.TooLarge for
// more strangers, or more from one, than may wait, and for more from one contact than MaxFromOne. Other errors are the vault's, and fault.StorageFull: the message stays where it is.
func (b *Book) Receive(tx *keystore.Tx, in Incoming) (Event, error) {
	from, err := userID(in.From)
	if err != nil || from == b.own {
		return Event{}, &Rejection{fault.New(fault.NotAuthentic, "the message's sender is nobody else")}
	}
	p, err := parsePayload(in.Payload)
	if err != nil {
		return Event{}, &Rejection{err}
	}
	defer clear(p.Body)
	if known, err := known(tx, in.From, &p); known || err != nil {
		return conflictEvent(in.From, err), err
	}
	r, err := b.load(tx, from)
	if err != nil {
		return Event{}, err
	}
	return b.receive(tx, from, r, in, &p)
}

// conflictEvent is the event of a secret that is set aside.
func conflictEvent(from string, err error) Event {
	if errors.Is(err, fault.Conflict) {
		return Event{Type: EventConflict, User: from, Code: fault.Conflict}
	}
	return Event{}
}

// tooManyEvent is the event of one secret too many of a contact.
func tooManyEvent(from string, err error) Event {
	if errors.Is(err, fault.TooLarge) {
		return Event{Type: EventTooMany, User: from, Code: fault.TooLarge}
	}
	return Event{}
}

// known reports whether a secret is in the vault already: fault.Conflict if it says something else there.
func known(tx *keystore.Tx, from string, p *payload) (bool, error) {
	s, err := getSecret(tx, secretRef(from, p.ID))
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer clear(s.Body)
	if !s.same(p) {
		return false, &Rejection{errOther()}
	}
	return true, nil
}

func errOther() error {
	return fault.New(fault.Conflict, "another secret came under this id of the same sender")
}

// receive judges by who sent it.
func (b *Book) receive(tx *keystore.Tx, from uuid.UUID, r record, in Incoming, p *payload) (Event, error) {
	was := r
	now := b.o.Clock()
	pin := Pin{Identity: in.Identity, Since: now.Unix()}
	switch r.Contact.State {
	case "":
		r.Contact = Contact{User: in.From, State: StateAsked, Pinned: pin, Added: now.Unix()}
	case StateRemoved:
		r.Contact.State = StateAsked
	case StateBlocked:
		return Event{}, &Rejection{r.Contact.MaySend()}
	}
	c, err := r.Contact.See(Sighting{Pin: pin})
	if errors.Is(err, fault.Revoked) {
		return Event{}, &Rejection{err}
	}
	if r.Contact = c; c.MayShow(in.Identity) == nil {
		if err := b.share(tx, in.From); err != nil {
			return tooManyEvent(in.From, err), err
		}
		s := r.incoming(b.o.Own.User, in.Identity, p, now)
		return Event{Type: EventReceived, User: in.From}, b.put(tx, &s)
	}
	if r.Held, err = hold(r.Held, held{Identity: in.Identity, Payload: in.Payload, Received: now.Unix()}, p); err != nil {
		return conflictEvent(in.From, err), &Rejection{err}
	}
	e := moved(was.Contact, r.Contact, nil)
	if e.Type == "" && len(r.Held) > len(was.Held) {
		e = Event{Type: EventHeld, User: in.From}
	}
	if err := b.store(tx, from, was, r); errors.Is(err, fault.TooLarge) {
		return Event{}, &Rejection{err} // one stranger too many
	} else if err != nil {
		return Event{}, err
	}
	return e, nil
}

// incoming is the secret that a message of a contact carries.
func (r *record) incoming(to string, identity Key, p *payload, now time.Time) Secret {
	return Secret{
		ID: p.ID, From: r.Contact.User, To: to, Title: p.Title, Body: p.Body, Written: p.Written, Since: now.UnixMilli(), State: SecretReceived,
		Identity: identity, Verified: r.Contact.Verified.Date != 0,
	}
}

// hold adds a message to those that wait. The same again is no other; another of the same id and identity is fault.Conflict.
func hold(waiting []held, h held, p *payload) ([]held, error) {
	bytesHeld := len(h.Payload)
	for _, w := range waiting {
		bytesHeld += len(w.Payload)
		q, err := parsePayload(w.Payload)
		if err != nil {
			return nil, err
		}
		clear(q.Body)
		if q.ID != p.ID || w.Identity != h.Identity {
			continue
		}
		if !bytes.Equal(w.Payload, h.Payload) {
			return nil, errOther()
		}
		return waiting, nil
	}
	if len(waiting) >= MaxHeld || bytesHeld > MaxHeldBytes {
		return nil, fault.New(fault.TooLarge, "no more of this sender may wait for consent")
	}
	return append(slices.Clip(waiting), h), nil
}

// underIdentity returns what came under an identity.
func underIdentity(waiting []held, identity Key) []held {
	return slices.DeleteFunc(slices.Clone(waiting), func(h held) bool { return h.Identity != identity })
}

// release makes what waits of a contact visible, as far as it came under the pinned identity. The rest is dropped.
func (b *Book) release(tx *keystore.Tx, r record) (record, error) {
	for _, h := range underIdentity(r.Held, r.Contact.Pinned.Identity) {
		p, err := parsePayload(h.Payload)
		if err != nil {
			return r, err
		}
		s := r.incoming(b.o.Own.User, h.Identity, &p, unixTime(h.Received))
		err = b.put(tx, &s)
		clear(p.Body)
		if err != nil {
			return r, err
		}
	}
	r.Held = nil
	return r, nil
}
