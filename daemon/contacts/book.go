package contacts

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/keystore"
)

// Vault is what a Book needs of keystore.Vault, or of what replicates it. The function of UpdateContext may be called again, and calls List.
type Vault interface {
	Get(id string) (keystore.Item, error)
	List(kind string) ([]string, error)
	UpdateContext(ctx context.Context, fn func(tx *keystore.Tx) error) error
}

// Directory is what a Book needs of the coordinator. None of its answers is believed.
type Directory interface {
	// FindUser returns the id of the user with an address, by its labelled hash; fault.NotFound if there is none.
	FindUser(ctx context.Context, emailHash Hash) (user string, err error)
	// FetchBundle returns what a user published; fault.NotFound for nobody. It uses up one of their one-time prekeys.
	FetchBundle(ctx context.Context, user string) (Published, error)
}

// Outgoing is a message to be sent.
type Outgoing struct {
	Kind    string
	To      string // user
	Payload []byte // copied
}

// MessageID is the id that a message was queued under.
type MessageID = [16]byte

// Sender queues a message in the transaction that it belongs to: it will be sent if that commits, unless it is cancelled, and else not.
type Sender interface {
	Queue(tx *keystore.Tx, m Outgoing) (MessageID, error)
	// Cancel removes a message in the moment in which the transaction becomes durable, and its QueuedRecord with it, and tells then whether it may have
	// left. After a kill in that moment the record says that the message is still to be cancelled, see Gone.
	Cancel(tx *keystore.Tx, id MessageID, tell func(left bool))
}

// Own is the user that a Book belongs to.
type Own struct {
	User     string
	Identity Key
	Signing  ed25519.PublicKey
}

// Event is something that a person should hear of. The zero value is none.
type Event struct {
	Type string
	User string     // the contact
	Code fault.Code // why, if something was refused
}

// Types of events.
const (
	EventAsked      = "contact.asked"           // a stranger waits for consent
	EventChanged    = "contact.key_changed"     // a contact became changed
	EventRefused    = "contact.refused"         // a bundle was not taken
	EventOwnChanged = "account.key_changed"     // the coordinator has another key under the user's own name
	EventReceived   = "secret.received"         // a contact's secret is there
	EventHeld       = "secret.held"             // one waits for a person
	EventConflict   = "secret.conflict"         // another secret under an id that is there
	EventTooMany    = "secret.too_many"         // one more than is kept of one contact
	EventResolved   = "contact.change_resolved" // a person has looked
)

// Options of a Book.
type Options struct {
	Own       Own
	Vault     Vault
	Directory Directory
	Sender    Sender

	// EmailHash returns the labelled hash of an address, which the account itself is known by at the coordinator; fault.InvalidRequest for
	// what is no address.
	EmailHash func(address string) (Hash, error)

	Clock  func() time.Time
	Notify func(Event) // after the change is durable; must return soon
}

// Book is a user's contacts and secrets. Its methods may be called by several goroutines.
type Book struct {
	o       Options
	own     uuid.UUID
	senders senders
}

// New returns the book of a user. It is an error if the user's own id is none.
func New(o Options) (*Book, error) {
	own, err := userID(o.Own.User)
	if err != nil {
		return nil, err
	}
	return &Book{o: o, own: own}, nil
}

// noted is an error that comes with a change to be kept.
type noted struct{ error }

// change changes a user's record in one transaction. An error of fn leaves all as it was, but for a noted one: the record it came with is
// stored, and then that error is returned. Events follow the commit.
func (b *Book) change(ctx context.Context, user string, fn func(tx *keystore.Tx, r record) (record, error)) error {
	id, err := userID(user)
	if err != nil {
		return err
	}
	var after error
	var was, next record
	err = b.o.Vault.UpdateContext(ctx, func(tx *keystore.Tx) (err error) {
		after = nil
		if was, err = b.load(tx, id); err != nil {
			return err
		}
		next, err = fn(tx, was)
		if n, ok := errors.AsType[noted](err); ok {
			after, err = n.error, nil
		}
		if err != nil {
			return err
		}
		return b.store(tx, id, was, next)
	})
	if err != nil {
		return err
	}
	b.notify(moved(was.Contact, next.Contact, after))
	return after
}

// moved tells what a person should hear of a step from one state to the next.
func moved(was, next Contact, err error) Event {
	e := Event{User: next.User}
	switch {
	case was.State != StateChanged && next.State == StateChanged:
		e.Type, e.Code = EventChanged, fault.CodeOf(next.change())
	case was.State == StateChanged && next.State != StateChanged && next.State != "":
		e.Type = EventResolved
	case was.State == "" && next.State == StateAsked:
		e.Type = EventAsked
	case err != nil && was.State != StateChanged:
		e.Type, e.Code = EventRefused, fault.CodeOf(err)
	}
	return e
}

func (b *Book) notify(e Event) {
	if e.Type != "" && b.o.Notify != nil {
		b.o.Notify(e)
	}
}

func (b *Book) record(user string) (record, error) {
	id, err := userID(user)
	if err != nil {
		return record{}, err
	}
	return b.load(b.o.Vault, id)
}

// Get returns a contact or stranger; fault.NotFound if there is none.
func (b *Book) Get(user string) (Contact, error) {
	r, err := b.record(user)
	if err == nil && (r.none() || r.Contact.State == StateRemoved) {
		err = errNobody()
	}
	if err != nil {
		return Contact{}, err
	}
	return r.Contact, nil
}

// Known is Get, but for nobody, who is the zero value, and for who was removed.
func (b *Book) Known(user string) (Contact, error) {
	r, err := b.record(user)
	return r.Contact, err
}

// List returns the contacts by name and then id, strangers included, who have none.
func (b *Book) List() ([]Contact, error) {
	var out []Contact
	err := b.each(func(c Contact) {
		if c.State != StateRemoved {
			out = append(out, c)
		}
	})
	slices.SortFunc(out, func(a, b Contact) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return strings.Compare(a.User, b.User)
	})
	return out, err
}

// each calls fn with everybody, removed ones included.
func (b *Book) each(fn func(Contact)) error {
	for _, kind := range []string{kindContact, kindStranger} {
		ids, err := b.o.Vault.List(kind)
		if err != nil {
			return err
		}
		for _, id := range ids {
			it, err := b.o.Vault.Get(id)
			if errors.Is(err, fault.NotFound) {
				continue // removed meanwhile
			}
			if err != nil {
				return err
			}
			r, err := parseRecord(it.Body)
			clear(it.Body)
			if err != nil {
				return err
			}
			fn(r.Contact)
		}
	}
	return nil
}
