package daemon

import (
	"context"
	"errors"
	"time"

	"coldframe/daemon/contacts"
	"coldframe/internal/fault"
)

// ContactState is what a person has decided about somebody, or has to; docs/contacts.md has the table.
type ContactState string

// The states.
const (
	ContactAsked    = ContactState(contacts.StateAsked)
	ContactAccepted = ContactState(contacts.StateAccepted)
	ContactBlocked  = ContactState(contacts.StateBlocked)
	ContactChanged  = ContactState(contacts.StateChanged)
)

// Contact is what is known of somebody. Of who is ContactAsked there are only User, State and Added.
type Contact struct {
	User     string // UUID
	Name     string // as this user calls them; may be empty
	Email    string // as they were looked up; may be empty
	State    ContactState
	Added    time.Time
	Verified time.Time       // when a person compared the safety number; zero: nobody did
	Weak     bool            // the session began without a one-time prekey of theirs and they have not answered yet: see messages.Messages.Weak
	Changed  *ContactChange  // while ContactChanged
	Former   []FormerContact // identities that were replaced, oldest first
}

// ContactChange is why a person has to look: fault.KeyChanged for other keys, fault.Forked for two bundles in one place.
type ContactChange struct {
	Reason fault.Code
	Seen   time.Time
}

// FormerContact is an identity that was replaced, and whether its safety number had been compared.
type FormerContact struct {
	Until    time.Time
	Verified bool
}

// AddContactRequest says whom to add: one of User and Email. Name may be empty.
type AddContactRequest struct {
	User  string
	Email string
	Name  string
}

// SafetyNumber is one to be shown: 60 digits, the same in 12 groups, and what the other side scans.
type SafetyNumber struct {
	Digits string
	Groups []string
	Code   []byte
}

// SafetyNumbers are those with a contact. New is the one with the keys that were seen, while the contact is changed.
type SafetyNumbers struct {
	SafetyNumber
	New *SafetyNumber
}

// Comparison is a safety number as the other side has it: typed, or scanned.
type Comparison struct {
	Number string
	Code   []byte
}

// ResolveRequest ends that a contact is changed: TakeNew wants the number with the new keys, else those of before are kept.
type ResolveRequest struct {
	TakeNew bool
	Given   Comparison
}

// Types of events about contacts and secrets. They carry the contact's user id, and the code of why where something was refused.
const (
	EventContactAsked    = contacts.EventAsked      // a stranger waits for consent
	EventContactChanged  = contacts.EventChanged    // there is another word about a contact's keys
	EventContactResolved = contacts.EventResolved   // a person has looked
	EventContactRefused  = contacts.EventRefused    // what the coordinator gave of a contact was not taken
	EventOwnKeyChanged   = contacts.EventOwnChanged // the coordinator has another key under the user's own name
	EventSecretReceived  = contacts.EventReceived
	EventSecretHeld      = contacts.EventHeld     // one waits for a person
	EventSecretConflict  = contacts.EventConflict // another secret came under an id that is there
	EventSecretTooMany   = contacts.EventTooMany  // one more than is kept of one contact
)

// contactEvent is what a Book notifies.
func (a *Agent) contactEvent(e contacts.Event) {
	event := Event{Type: e.Type, Contact: e.User, Code: e.Code}
	switch e.Type {
	case contacts.EventRefused, contacts.EventConflict, contacts.EventTooMany: // as often as a coordinator or a contact likes
		a.rarely(event)
	default:
		a.event(event)
	}
}

// peopleChange is what happened to a contact, or with one, that lets waiting messages go or come.
type peopleChange string

const (
	contactAdded      peopleChange = "added"
	contactAccepted   peopleChange = "accepted"
	contactBlocked    peopleChange = "blocked"
	contactRemoved    peopleChange = "removed"
	contactVerified   peopleChange = "verified"
	contactUnverified peopleChange = "unverified"
	contactTookNew    peopleChange = "took new" // a session with the identity of before is good for nothing
	contactKeptOld    peopleChange = "kept old"
	secretQueued      peopleChange = "queued" // a message waits to be sent to them
)

// withPeople runs one call about contacts or secrets. One that changes something is refused while the account is read-only.
func (a *Agent) withPeople(ctx context.Context, changes bool, fn func(ctx context.Context, s *session, b *contacts.Book) error) error {
	s, ctx, leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if changes {
		if err := s.writable(); err != nil {
			return err
		}
	}
	return orLoggedOut(ended(ctx, fn(ctx, s, s.sync.book)))
}

// Contacts lists contacts by name, and the strangers who ask.
func (a *Agent) Contacts(ctx context.Context) ([]Contact, error) {
	var out []Contact
	err := a.withPeople(ctx, false, func(_ context.Context, s *session, b *contacts.Book) error {
		list, err := b.List()
		for _, c := range list {
			shown, also := s.sync.contactOf(c)
			out, err = append(out, shown), errors.Join(err, also)
		}
		return err
	})
	return out, err
}

// Contact returns a contact or stranger; fault.NotFound if there is none.
func (a *Agent) Contact(ctx context.Context, user string) (Contact, error) {
	var out Contact
	err := a.withPeople(ctx, false, func(_ context.Context, s *session, b *contacts.Book) error {
		c, err := b.Get(user)
		if err == nil {
			out, err = s.sync.contactOf(c)
		}
		return err
	})
	return out, err
}

// AddContact asks the coordinator for somebody, pins their keys and consents to what they send. Errors: fault.Unavailable without a
// coordinator; fault.InvalidRequest; fault.Conflict for who is there or blocked; fault.NotFound; and what is wrong with their keys.
func (a *Agent) AddContact(ctx context.Context, r AddContactRequest) (Contact, error) {
	var out Contact
	err := a.withPeople(ctx, true, func(ctx context.Context, s *session, b *contacts.Book) error {
		c, err := b.Add(ctx, contacts.Addition{User: r.User, Email: r.Email, Name: r.Name})
		if errors.Is(err, fault.NotFound) {
			return fault.Wrap(fault.NotFound, err, "the coordinator knows nobody of this id or address, or they have published no keys yet")
		}
		if err != nil {
			return err
		}
		s.sync.peopleChanged(c.User, contactAdded)
		out, err = s.sync.contactOf(c)
		return err
	})
	return out, err
}

// changeContact makes a change to a contact and returns what they are then.
func (a *Agent) changeContact(ctx context.Context, user string, kind peopleChange, change func(ctx context.Context, b *contacts.Book) error) (Contact, error) {
	var out Contact
	err := a.withPeople(ctx, true, func(ctx context.Context, s *session, b *contacts.Book) error {
		if err := change(ctx, b); err != nil {
			return err
		}
		if kind != "" {
			s.sync.peopleChanged(user, kind)
		}
		c, err := b.Get(user)
		if err == nil {
			out, err = s.sync.contactOf(c)
		}
		return err
	})
	return out, err
}

// RenameContact sets what a contact is called here. Errors: fault.InvalidRequest for what is no name; fault.Forbidden for a stranger.
func (a *Agent) RenameContact(ctx context.Context, user, name string) (Contact, error) {
	return a.changeContact(ctx, user, "", func(ctx context.Context, b *contacts.Book) error { return b.Rename(ctx, user, name) })
}

// AcceptContact consents to a stranger, or unblocks; what they sent becomes visible. Errors: fault.KeyChanged and fault.Forked for who is
// changed, which ResolveContact ends.
func (a *Agent) AcceptContact(ctx context.Context, user string) (Contact, error) {
	return a.changeContact(ctx, user, contactAccepted, func(ctx context.Context, b *contacts.Book) error { return b.Accept(ctx, user) })
}

// BlockContact drops what waits of a user, and whatever they send from now on.
func (a *Agent) BlockContact(ctx context.Context, user string) (Contact, error) {
	return a.changeContact(ctx, user, contactBlocked, func(ctx context.Context, b *contacts.Book) error { return b.Block(ctx, user) })
}

// RemoveContact forgets a contact but for their keys, and a stranger altogether. Secrets that were received stay.
func (a *Agent) RemoveContact(ctx context.Context, user string) error {
	return a.withPeople(ctx, true, func(ctx context.Context, s *session, b *contacts.Book) error {
		if err := b.Remove(ctx, user); err != nil {
			return err
		}
		s.sync.peopleChanged(user, contactRemoved)
		return nil
	})
}

// SafetyNumbers returns the safety numbers with a contact or stranger.
func (a *Agent) SafetyNumbers(ctx context.Context, user string) (SafetyNumbers, error) {
	var out SafetyNumbers
	err := a.withPeople(ctx, false, func(_ context.Context, _ *session, b *contacts.Book) error {
		n, err := b.SafetyNumbers(user)
		if err != nil {
			return err
		}
		out.SafetyNumber = numberOf(n.Pinned)
		if n.New != nil {
			other := numberOf(*n.New)
			out.New = &other
		}
		return nil
	})
	return out, err
}

// VerifyContact notes that a person compared the safety number: fault.KeyChanged if it is another.
func (a *Agent) VerifyContact(ctx context.Context, user string, given Comparison) (Contact, error) {
	return a.changeContact(ctx, user, contactVerified, func(ctx context.Context, b *contacts.Book) error {
		return b.SetVerified(ctx, user, contacts.Comparison(given))
	})
}

// UnverifyContact takes back what VerifyContact noted.
func (a *Agent) UnverifyContact(ctx context.Context, user string) (Contact, error) {
	return a.changeContact(ctx, user, contactUnverified, func(ctx context.Context, b *contacts.Book) error { return b.ClearVerified(ctx, user) })
}

// ResolveContact ends that a contact is changed. Errors: fault.Conflict if nothing has changed; fault.KeyChanged if the number is not that
// with the new keys; fault.InvalidRequest for a number with the old ones, which want none.
func (a *Agent) ResolveContact(ctx context.Context, user string, r ResolveRequest) (Contact, error) {
	if r.TakeNew {
		return a.changeContact(ctx, user, contactTookNew, func(ctx context.Context, b *contacts.Book) error {
			return b.AcceptNew(ctx, user, contacts.Comparison(r.Given))
		})
	}
	if r.Given.Number != "" || r.Given.Code != nil {
		return Contact{}, fault.New(fault.InvalidRequest, "keeping the old keys wants no number")
	}
	return a.changeContact(ctx, user, contactKeptOld, func(ctx context.Context, b *contacts.Book) error { return b.KeepOld(ctx, user) })
}

func numberOf(n contacts.Number) SafetyNumber {
	return SafetyNumber{Digits: n.Digits, Groups: n.Groups(), Code: n.Code}
}

func (y *syncer) contactOf(c contacts.Contact) (out Contact, err error) {
	out = Contact{User: c.User, State: ContactState(c.State), Added: unixTime(c.Added)}
	if c.State == contacts.StateAsked {
		return out, nil
	}
	out.Weak, err = y.mail.Weak(c.User)
	out.Name, out.Email, out.Verified = c.Name, c.Email, dateOrNone(c.Verified.Date)
	if c.Candidate != nil {
		out.Changed = &ContactChange{Reason: changeOf(&c), Seen: unixTime(c.Candidate.Pin.Since)}
	}
	for _, f := range c.History {
		out.Former = append(out.Former, FormerContact{Until: unixTime(f.Until), Verified: f.Verified.Date != 0})
	}
	return out, err
}

// changeOf returns why nothing is sent to a changed contact.
func changeOf(c *contacts.Contact) fault.Code {
	if errors.Is(c.MaySend(), fault.Forked) {
		return fault.Forked
	}
	return fault.KeyChanged
}

// dateOrNone returns Unix seconds of the vault; zero for none.
func dateOrNone(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return unixTime(seconds)
}
