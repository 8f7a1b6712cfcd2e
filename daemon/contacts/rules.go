package contacts

import (
	"slices"

	"coldframe/internal/fault"
)

// These are all the rules about belief. They look at a contact and nothing else.

// MaySend reports whether anything may be sent to them. Errors: fault.NotFound for nobody; fault.Forbidden for a stranger and who is
// blocked; fault.KeyChanged or fault.Forked until a person has looked.
func (c *Contact) MaySend() error {
	switch c.State {
	case StateAccepted:
		return nil
	case StateChanged:
		return c.change()
	case StateAsked:
		return fault.New(fault.Forbidden, "this stranger waits for your consent")
	case StateBlocked:
		return fault.New(fault.Forbidden, "this contact is blocked")
	}
	return errNobody()
}

// MayTrust reports whether secrets may be sent to them without a person's word for this once: fault.UntrustedKey if nobody compared the
// safety number (THREATS K01), else what MaySend says.
func (c *Contact) MayTrust() error {
	if err := c.MaySend(); err != nil {
		return err
	}
	if c.Verified.Date == 0 {
		return fault.New(fault.UntrustedKey, "the safety number of this contact was not compared")
	}
	return nil
}

// MayShow reports whether what came from them under an identity may be shown. Errors: those of MaySend; fault.Revoked for an identity that
// was replaced, fault.KeyChanged for any other than the pinned one.
func (c *Contact) MayShow(identity Key) error {
	if err := c.revoked(identity); err != nil {
		return err
	}
	if err := c.MaySend(); err != nil {
		return err
	}
	if identity != c.Pinned.Identity {
		return fault.New(fault.KeyChanged, "it came under another identity key than this contact's")
	}
	return nil
}

// change is what a changed contact's failures are: fault.KeyChanged, or fault.Forked for two bundles of one place under the same keys.
func (c *Contact) change() error {
	if c.Candidate != nil && sameKeys(c.Pinned, c.Candidate.Pin) {
		return fault.New(fault.Forked, "this contact has published two different bundles in one place; a person has to look")
	}
	return fault.New(fault.KeyChanged, "this contact's identity has changed; a person has to look")
}

func (c *Contact) revoked(identity Key) error {
	if slices.ContainsFunc(c.History, func(f Former) bool { return f.Pin.Identity == identity }) {
		return fault.New(fault.Revoked, "this identity of the contact was replaced")
	}
	return nil
}

// sameKeys reports whether two pins do not contradict each other. Unknown signing keys contradict nothing: the identity signs them.
func sameKeys(a, b Pin) bool {
	return a.Identity == b.Identity && (a.Signing == b.Signing || a.Signing == Key{} || b.Signing == Key{})
}

// See returns the contact after a sighting, and whether that may be acted upon. A contact that is returned with an error may be another one
// than c: what was seen is kept. Errors: fault.Revoked, fault.KeyChanged, fault.RolledBack for a bundle before the highest seen,
// fault.Forked.
func (c Contact) See(s Sighting) (Contact, error) {
	if err := c.revoked(s.Pin.Identity); err != nil {
		return c, err
	}
	if c.State == StateChanged {
		c.Candidate = c.Candidate.completed(s)
		return c, c.change()
	}
	if !sameKeys(c.Pinned, s.Pin) {
		return c.changed(s)
	}
	if s.Mark.Sequence == 0 {
		return c, nil
	}
	switch {
	case s.Mark.Sequence < c.Mark.Sequence:
		return c, fault.New(fault.RolledBack, "an older bundle of this contact than one seen before")
	case s.Mark.Sequence == c.Mark.Sequence && s.Mark.Hash != c.Mark.Hash,
		s.Mark.Sequence-c.Mark.Sequence == 1 && s.Previous != c.Mark.Hash:
		return c.changed(s)
	}
	c.Mark = s.Mark
	if c.Pinned.Signing == (Key{}) {
		c.Pinned.Signing = s.Pin.Signing
	}
	return c, nil
}

// changed stops everything. Who is blocked or removed was stopped already, and stays so.
func (c Contact) changed(s Sighting) (Contact, error) {
	next := c
	next.Candidate = &s
	if c.State == StateAccepted || c.State == StateAsked {
		next.State, next.Before = StateChanged, c.State
		return next, next.change()
	}
	return c, next.change()
}

// completed adds to a candidate what a later sighting of the same keys knows more. Another one does not replace it.
func (s *Sighting) completed(later Sighting) *Sighting {
	if s.Mark.Sequence > 0 || s.Pin.Identity != later.Pin.Identity {
		return s
	}
	later.Pin.Since = s.Pin.Since
	return &later
}

// takeNew replaces the pin by the candidate, which a person compared. The former identity is revoked if it is another.
func (c Contact) takeNew(v Verification) (Contact, error) {
	s := *c.Candidate
	if s.Pin.Identity != c.Pinned.Identity {
		if len(c.History) >= MaxHistory {
			return c, fault.New(fault.TooLarge, "this contact has replaced its identity %d times", MaxHistory)
		}
		c.History = append(slices.Clone(c.History), Former{Pin: c.Pinned, Until: v.Date, Verified: c.Verified})
		s.Pin.Since = v.Date
	}
	c.Pinned, c.Mark, c.Verified = s.Pin, s.Mark, v
	return c.settled(), nil
}

// settled ends the state of being changed.
func (c Contact) settled() Contact {
	c.State, c.Before, c.Candidate = c.Before, "", nil
	return c
}

// accepted is the contact after a person's consent.
func (c Contact) accepted() Contact {
	c.State, c.Before, c.Candidate, c.Known = StateAccepted, "", nil, true
	return c
}

func errNobody() error { return fault.New(fault.NotFound, "there is no such contact") }
