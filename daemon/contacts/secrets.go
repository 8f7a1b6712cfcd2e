package contacts

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// Draft is a secret to be sent.
type Draft struct {
	ID    SecretID // chosen by the caller, so that it can be sent again when an answer was lost; zero: a new one
	To    string   // user
	Title string
	Body  []byte

	// Unverified sends to a contact whose safety number nobody compared: that the key is theirs is the coordinator's word then.
	Unverified bool
}

// Send puts a secret into the vault and queues the message that carries it, in one transaction. The same draft sent again is there once.
// Errors: those of MayTrust, or of MaySend if it may go unverified; fault.InvalidRequest; fault.TooLarge; fault.Conflict for another draft
// of the same id; fault.StorageFull beyond MaxSecrets.
func (b *Book) Send(d Draft) (Secret, error) {
	if err := checkDraft(&d); err != nil {
		return Secret{}, err
	}
	to, err := userID(d.To)
	if err != nil {
		return Secret{}, err
	}
	now := b.o.Clock().UnixMilli()
	var s Secret
	err = b.o.Vault.Update(func(tx *keystore.Tx) error {
		r, err := b.load(tx, to)
		if err != nil {
			return err
		}
		s = Secret{
			ID: d.ID, From: b.o.Own.User, To: d.To, Title: d.Title, Body: d.Body, Written: now, Since: now, State: SecretQueued,
			Identity: r.Contact.Pinned.Identity, Verified: r.Contact.Verified.Date != 0,
		}
		if known, err := b.sentBefore(tx, &s); known || err != nil {
			return err
		}
		if err := r.Contact.sendable(d.Unverified); err != nil {
			return err
		}
		return b.queue(tx, &s)
	})
	if err != nil {
		return Secret{}, err
	}
	s.Body = nil
	return s, nil
}

func checkDraft(d *Draft) error {
	if d.ID == (SecretID{}) {
		rand.Read(d.ID[:]) //nolint:errcheck // never fails: it ends the process instead
	}
	if len(d.Body) > MaxSecret {
		return fault.New(fault.TooLarge, "a secret has at most %d bytes", MaxSecret)
	}
	if d.Body == nil {
		d.Body = []byte{}
	}
	return checkLabel(d.Title)
}

func (c *Contact) sendable(unverified bool) error {
	if unverified {
		return c.MaySend()
	}
	return c.MayTrust()
}

// sentBefore reports whether this very secret is in the vault, and then makes s what is there.
func (b *Book) sentBefore(tx *keystore.Tx, s *Secret) (bool, error) {
	before, err := getSecret(tx, s.Ref())
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer clear(before.Body)
	if before.To != s.To || before.Title != s.Title || !bytes.Equal(before.Body, s.Body) {
		return false, fault.New(fault.Conflict, "another secret was sent under this id")
	}
	*s = before
	return true, nil
}

func (b *Book) queue(tx *keystore.Tx, s *Secret) error {
	if err := b.put(tx, s); err != nil {
		return err
	}
	message, err := s.payload()
	if err != nil {
		return err
	}
	defer clear(message)
	return b.o.Sender.Queue(tx, Outgoing{ID: s.ID, Kind: KindSecret, To: s.To, Payload: message})
}

// put puts a secret that is not there yet: fault.StorageFull beyond MaxSecrets.
func (b *Book) put(tx *keystore.Tx, s *Secret) error {
	ids, err := b.o.Vault.List(kindSecretItem)
	if err != nil {
		return err
	}
	if len(ids) >= MaxSecrets {
		return fault.New(fault.StorageFull, "at most %d secrets are kept; remove some", MaxSecrets)
	}
	return putSecret(tx, s)
}

func putSecret(tx *keystore.Tx, s *Secret) error {
	body, err := signed.Marshal(s)
	if err != nil {
		return err
	}
	defer clear(body)
	return tx.Put(keystore.Item{ID: secretItem(s.Ref()), Kind: kindSecretItem, Body: body})
}

func getSecret(from items, ref string) (Secret, error) {
	it, err := from.Get(secretItem(ref))
	if err != nil {
		return Secret{}, err
	}
	defer clear(it.Body)
	return parseSecret(ref, it.Body)
}

// Sent notes that the message with a secret of ours is with the coordinator. A secret that was removed meanwhile is no error.
func (b *Book) Sent(tx *keystore.Tx, id SecretID) error {
	s, err := getSecret(tx, secretRef(b.o.Own.User, id))
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil || s.State == SecretSent {
		return err
	}
	defer clear(s.Body)
	s.State = SecretSent
	return putSecret(tx, &s)
}

// Incoming is a message of KindSecret that a session opened.
type Incoming struct {
	From     string // user
	Identity Key    // that the session has
	Payload  []byte
}

// Receive takes a secret into the vault, or lets it wait for a person: from a stranger, and from who is changed. The same secret again
// changes nothing. The event is for Notify, once the transaction has committed.
//
// After an error nothing was put into tx, so that the caller may go on with it, set the message aside and acknowledge it. But for
// fault.StorageFull and those of the vault it will not go away: those of parsing; fault.Conflict for another secret under an id of the same
// sender, which stays as it is; fault.Forbidden from who is blocked; fault.Revoked for a replaced identity; fault.TooLarge for more
// strangers, or more from one, than may wait.
func (b *Book) Receive(tx *keystore.Tx, in Incoming) (Event, error) {
	from, err := userID(in.From)
	if err != nil || from == b.own {
		return Event{}, fault.New(fault.NotAuthentic, "the message's sender is nobody else")
	}
	p, err := parsePayload(in.Payload)
	if err != nil {
		return Event{}, err
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
		return false, errOther()
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
		return Event{}, r.Contact.MaySend()
	}
	c, err := r.Contact.See(Sighting{Pin: pin})
	if errors.Is(err, fault.Revoked) {
		return Event{}, err
	}
	if r.Contact = c; c.MayShow(in.Identity) == nil {
		s := r.incoming(b.o.Own.User, in.Identity, p, now)
		return Event{Type: EventReceived, User: in.From}, b.put(tx, &s)
	}
	if r.Held, err = hold(r.Held, held{Identity: in.Identity, Payload: in.Payload, Received: now.Unix()}, p); err != nil {
		return conflictEvent(in.From, err), err
	}
	e := moved(was.Contact, r.Contact, nil)
	if e.Type == "" && len(r.Held) > len(was.Held) {
		e = Event{Type: EventHeld, User: in.From}
	}
	return e, b.store(tx, from, was, r)
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

var refForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Secret returns a secret with its body, which the caller wipes; fault.NotFound if there is none.
func (b *Book) Secret(ref string) (Secret, error) {
	if !refForm.MatchString(ref) {
		return Secret{}, fault.New(fault.InvalidRequest, "a secret's reference has 32 hexadecimal digits")
	}
	return getSecret(b.o.Vault, ref)
}

// Secrets returns all secrets without their bodies, newest first.
func (b *Book) Secrets() ([]Secret, error) {
	ids, err := b.o.Vault.List(kindSecretItem)
	if err != nil {
		return nil, err
	}
	out := make([]Secret, 0, len(ids))
	for _, id := range ids {
		s, err := getSecret(b.o.Vault, strings.TrimPrefix(id, kindSecretItem+"/"))
		if errors.Is(err, fault.NotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		clear(s.Body)
		s.Body = nil
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Secret) int {
		return cmp.Or(cmp.Compare(b.Since, a.Since), strings.Compare(a.Ref(), b.Ref()))
	})
	return out, nil
}

// RemoveSecret removes a secret from this user's vault; fault.NotFound if there is none.
func (b *Book) RemoveSecret(ref string) error {
	s, err := b.Secret(ref)
	if err != nil {
		return err
	}
	clear(s.Body)
	return b.o.Vault.Update(func(tx *keystore.Tx) error { return tx.Delete(secretItem(ref)) })
}
