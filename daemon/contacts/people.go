package contacts

import (
	"context"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/ratchet"
)

// Addition says whom to add: one of User and Email.
type Addition struct {
	User  string
	Email string
	Name  string // may be empty
}

// Add looks somebody up, pins their identity at first sight, and consents to what they send. A stranger who waits becomes a contact; so
// does who was removed, by the keys of that time. Errors: fault.InvalidRequest, also for the user themselves; fault.Conflict for who is
// there or blocked; fault.NotFound; those of Verify and See.
func (b *Book) Add(ctx context.Context, a Addition) (Contact, error) {
	if (a.User == "") == (a.Email == "") {
		return Contact{}, fault.New(fault.InvalidRequest, "a contact is added by id or by address")
	}
	if err := checkLabel(a.Name); err != nil {
		return Contact{}, err
	}
	hash, err := b.find(ctx, &a)
	if err != nil {
		return Contact{}, err
	}
	if a.User == b.o.Own.User {
		return Contact{}, fault.New(fault.InvalidRequest, "this is your own account")
	}
	r, err := b.record(a.User)
	if err == nil {
		err = r.Contact.addable()
	}
	if err != nil {
		return Contact{}, err
	}
	offer, err := b.fetch(ctx, a.User)
	if err != nil {
		return Contact{}, err
	}
	var added Contact
	err = b.change(ctx, a.User, func(tx *keystore.Tx, r record) (record, error) {
		if err := r.Contact.addable(); err != nil {
			return r, err
		}
		c := r.Contact
		if r.none() {
			c = Contact{User: a.User, Pinned: b.pin(offer), Added: b.o.Clock().Unix()}
		}
		c.Name, c.Email, c.EmailHash = a.Name, a.Email, hash
		c, err := c.accepted().See(b.sighting(offer))
		added = c
		if err != nil && c.State != StateChanged {
			return r, noted{err} // who was removed stays so
		}
		if r.Contact = c; err != nil {
			return r, noted{err}
		}
		return b.release(tx, r)
	})
	return added, err
}

// addable refuses whom a person has decided about: fault.Conflict, or what MaySend says while they are changed.
func (c *Contact) addable() error {
	switch c.State {
	case StateAccepted:
		return fault.New(fault.Conflict, "this contact is there already")
	case StateBlocked:
		return fault.New(fault.Conflict, "this contact is blocked")
	case StateChanged:
		return c.change()
	}
	return nil
}

// find fills in the id of the user with an address, and returns the address's hash. An address that a contact has already is not looked up
// again: the answer would be the coordinator's word against what is known (THREATS R2).
func (b *Book) find(ctx context.Context, a *Addition) (Hash, error) {
	if a.Email == "" {
		_, err := userID(a.User)
		return Hash{}, err
	}
	a.Email = strings.TrimSpace(a.Email)
	if err := checkLabel(a.Email); err != nil {
		return Hash{}, err
	}
	hash, err := b.o.EmailHash(a.Email)
	if err != nil {
		return Hash{}, err
	}
	taken := false
	if err := b.each(func(c Contact) { taken = taken || c.Email != "" && c.EmailHash == hash && c.State != StateRemoved }); err != nil {
		return Hash{}, err
	}
	if taken {
		return Hash{}, fault.New(fault.Conflict, "a contact has this address already")
	}
	if a.User, err = b.o.Directory.FindUser(ctx, hash); err != nil {
		return Hash{}, err
	}
	if _, err := userID(a.User); err != nil {
		return Hash{}, fault.Wrap(fault.NotAuthentic, err, "the coordinator's answer is no user")
	}
	return hash, nil
}

// fetch fetches and verifies what a user published.
func (b *Book) fetch(ctx context.Context, user string) (*Offer, error) {
	p, err := b.o.Directory.FetchBundle(ctx, user)
	if err != nil {
		return nil, err
	}
	offer, err := Verify(user, p, b.o.Clock())
	if err != nil {
		b.notify(Event{Type: EventRefused, User: user, Code: fault.CodeOf(err)})
		return nil, err
	}
	return offer, nil
}

func (b *Book) pin(o *Offer) Pin {
	return Pin{Identity: o.Card.Identity, Signing: o.Card.Signing, Since: b.o.Clock().Unix()}
}

func (b *Book) sighting(o *Offer) Sighting {
	return Sighting{Pin: b.pin(o), Mark: o.Mark, Previous: o.Previous}
}

// Offer fetches what a session with a contact is started with, or by which a suspicion is checked. Nothing is fetched for whom nothing may
// be sent to. Errors: those of MaySend, Verify and See, and the directory's; what was seen is kept.
func (b *Book) Offer(ctx context.Context, user string) (*Offer, error) {
	if err := b.MaySend(user); err != nil {
		return nil, err
	}
	offer, err := b.fetch(ctx, user)
	if err != nil {
		return nil, err
	}
	err = b.change(ctx, user, func(_ *keystore.Tx, r record) (record, error) {
		if err := r.Contact.MaySend(); err != nil {
			return r, err
		}
		c, err := r.Contact.See(b.sighting(offer))
		r.Contact = c
		if err != nil {
			return r, noted{err}
		}
		return r, nil
	})
	if err != nil {
		return nil, err
	}
	return offer, nil
}

// MaySend is the rule of that name for a user, as the vault has them now. Whoever sends asks it before each message leaves.
func (b *Book) MaySend(user string) error {
	r, err := b.record(user)
	if err != nil {
		return err
	}
	return r.Contact.MaySend()
}

// Bundle is Offer for who needs the bundle alone.
func (b *Book) Bundle(ctx context.Context, user string) (*ratchet.Bundle, error) {
	o, err := b.Offer(ctx, user)
	if err != nil {
		return nil, err
	}
	return &o.Bundle, nil
}

// Identity returns the identity that a user's sessions must have; zero if none is pinned yet. Errors: fault.KeyChanged and fault.Forked
// until a person has looked.
func (b *Book) Identity(_ context.Context, user string) (Key, error) {
	r, err := b.record(user)
	if err == nil && r.Contact.State == StateChanged {
		err = r.Contact.change()
	}
	if err != nil {
		return Key{}, err
	}
	return r.Contact.Pinned.Identity, nil
}

// Rename sets what a contact is called here. A stranger has no name: fault.Forbidden.
func (b *Book) Rename(ctx context.Context, user, name string) error {
	if err := checkLabel(name); err != nil {
		return err
	}
	return b.change(ctx, user, func(_ *keystore.Tx, r record) (record, error) {
		switch r.Contact.State {
		case "", StateRemoved:
			return r, errNobody()
		case StateAsked:
			return r, r.Contact.MaySend()
		}
		r.Contact.Name = name
		return r, nil
	})
}

// Remove forgets a contact but for their keys, and a stranger altogether, with what they sent that nobody saw. Secrets that were received
// stay.
func (b *Book) Remove(ctx context.Context, user string) error {
	return b.change(ctx, user, func(_ *keystore.Tx, r record) (record, error) {
		switch {
		case r.none() || r.Contact.State == StateRemoved:
			return r, errNobody()
		case !r.Contact.Known:
			return record{}, nil
		}
		c := r.Contact
		return record{Contact: Contact{
			User: c.User, State: StateRemoved, Known: true, Pinned: c.Pinned, Mark: c.Mark, History: c.History, Added: c.Added,
		}}, nil
	})
}

// Block drops what a user sent that waits, and whatever they send from now on.
func (b *Book) Block(ctx context.Context, user string) error {
	return b.change(ctx, user, func(_ *keystore.Tx, r record) (record, error) {
		if r.none() || r.Contact.State == StateRemoved {
			return r, errNobody()
		}
		r.Contact.State, r.Contact.Before, r.Contact.Candidate, r.Held = StateBlocked, "", nil, nil
		return r, nil
	})
}

// Accept consents to a stranger, or unblocks; what waits becomes visible. Who is accepted already stays so. Errors: fault.NotFound;
// fault.KeyChanged or fault.Forked for who is changed: Resolve comes first.
func (b *Book) Accept(ctx context.Context, user string) error {
	return b.change(ctx, user, func(tx *keystore.Tx, r record) (record, error) {
		switch r.Contact.State {
		case "", StateRemoved:
			return r, errNobody()
		case StateChanged:
			return r, r.Contact.change()
		}
		r.Contact = r.Contact.accepted()
		return b.release(tx, r)
	})
}

// unixTime returns seconds as they are in the vault; zero for none.
func unixTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
