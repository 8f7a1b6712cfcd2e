package contacts

import (
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
	"coldframe/ratchet"
)

// Published is what the coordinator hands out of a user.
type Published struct {
	Bundle  []byte
	OneTime []byte // nil: all are used up
}

// Offer is a bundle that its owner signed, for the user that was asked for, in its time. Whether the owner is the one that is pinned is
// another question.
type Offer struct {
	Card     Card
	Bundle   ratchet.Bundle // to start a session with
	Mark     Mark
	Previous Hash
	Weak     bool // there was no one-time prekey: who steals the others can read the first messages (THREATS S08)
	NotAfter time.Time
}

// Verify verifies what was handed out for a user, own signatures and the protocol's. Errors: fault.TooLarge; fault.NotAuthentic for
// whatever its owner did not sign for this user; fault.Policy for other algorithms, a missing post-quantum part and a life beyond
// BundleLife; fault.Stale beyond its not-after, with a date in the future, and for a signed prekey older than ratchet.MaxPreKeyAge.
func Verify(user string, p Published, now time.Time) (*Offer, error) {
	if _, err := userID(user); err != nil {
		return nil, err
	}
	b, err := openBundle(user, p.Bundle)
	if err != nil {
		return nil, err
	}
	o := &Offer{
		Card: b.Card, Bundle: b.ratchet(), Mark: Mark{b.Sequence, signed.Hash(p.Bundle)}, Previous: b.Previous, Weak: true,
		NotAfter: time.Unix(b.NotAfter, 0).UTC(),
	}
	if err := b.inTime(now); err != nil {
		return nil, err
	}
	if err := o.Bundle.Verify(now); err != nil {
		return nil, err
	}
	if p.OneTime != nil {
		if err := o.take(p.OneTime, now); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// openBundle verifies who signed a bundle and what it says of itself, but for the time and the prekeys.
func openBundle(user string, envelope []byte) (*bundleBody, error) {
	if len(envelope) > MaxBundle {
		return nil, fault.New(fault.TooLarge, "a bundle has at most %d bytes", MaxBundle)
	}
	var claimed, b bundleBody
	if err := signed.Peek(envelope, &claimed); err != nil {
		return nil, err
	}
	if err := signed.Open(claimed.Card.Signing[:], bundleType, envelope, &b); err != nil {
		return nil, err
	}
	if err := canonical(envelope, b); err != nil {
		return nil, err
	}
	if err := b.Card.verify(); err != nil {
		return nil, err
	}
	if b.Card.User != user {
		return nil, fault.New(fault.NotAuthentic, "the bundle is of another user")
	}
	return &b, b.check()
}

func (b *bundleBody) check() error {
	switch {
	case b.Suite != suite:
		return fault.New(fault.Policy, "the bundle is for other algorithms")
	case len(b.LastResort.Public) == 0:
		return fault.New(fault.Policy, "the bundle has no post-quantum prekey")
	case b.NotAfter <= b.Date || b.NotAfter-b.Date > int64(BundleLife/time.Second):
		return fault.New(fault.Policy, "the bundle is to live for longer than %d days", BundleLife/(24*time.Hour))
	case len(b.Signed.Public) != len(Key{}) || b.Date <= 0 || b.SignedMade <= 0 || b.SignedMade > b.Date ||
		b.Registration >= 1<<14 || b.Sequence == 0 || (b.Sequence == 1) != (b.Previous == Hash{}):
		return fault.New(fault.NotAuthentic, "the bundle is not in order")
	}
	return nil
}

func (b *bundleBody) inTime(now time.Time) error {
	switch {
	case now.Unix() > b.NotAfter:
		return fault.New(fault.Stale, "the bundle was good until %s", time.Unix(b.NotAfter, 0).UTC().Format(time.DateOnly))
	case now.Add(ClockError).Unix() < b.Date:
		return fault.New(fault.Stale, "the bundle is dated %s, in the future; is the clock right?", time.Unix(b.Date, 0).UTC().Format(time.DateOnly))
	}
	return nil
}

// ratchet returns the bundle with its last-resort prekey. b was checked.
func (b *bundleBody) ratchet() ratchet.Bundle {
	return ratchet.Bundle{
		Address: ratchet.Address{Name: b.Card.User, Device: device}, RegistrationID: b.Registration, IdentityKey: b.Card.Identity,
		SignedPreKey: ratchet.SignedPreKey{
			ID: b.Signed.ID, Public: Key(b.Signed.Public), Signature: b.Signed.Signature, Made: time.Unix(b.SignedMade, 0),
		},
		KEMPreKey: ratchet.KEMPreKey(b.LastResort),
	}
}

// take puts one-time prekeys into the offer. Bad ones are no reason to go on without: the coordinator would choose then.
func (o *Offer) take(envelope []byte, now time.Time) error {
	if len(envelope) > MaxOneTime {
		return fault.New(fault.TooLarge, "a one-time prekey has at most %d bytes", MaxOneTime)
	}
	var b oneTimeBody
	if err := signed.Open(o.Card.Signing[:], oneTimeType, envelope, &b); err != nil {
		return err
	}
	switch {
	case canonical(envelope, b) != nil:
		return errForm
	case b.User != o.Card.User:
		return fault.New(fault.NotAuthentic, "the one-time prekey is of another user")
	case b.Suite != suite:
		return fault.New(fault.Policy, "the one-time prekey is for other algorithms")
	}
	o.Bundle.KEMPreKey = ratchet.KEMPreKey(b.KEM)
	o.Bundle.OneTimePreKey = &ratchet.OneTimePreKey{ID: b.ID, Public: b.Public}
	o.Weak = false
	return o.Bundle.Verify(now)
}
