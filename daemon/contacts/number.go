package contacts

import (
	"context"
	"crypto/subtle"
	"strings"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/keystore"
	"coldframe/ratchet"
)

// numberDigits is the length of a safety number.
const numberDigits = 60

// Number is a safety number, to be shown.
type Number struct {
	Digits string // 60
	Code   []byte // for the other side to scan
}

// Groups returns the number in its 12 groups of five digits.
func (n Number) Groups() []string {
	var out []string
	for i := 0; i+5 <= len(n.Digits); i += 5 {
		out = append(out, n.Digits[i:i+5])
	}
	return out
}

// Numbers are the safety numbers with a contact.
type Numbers struct {
	Pinned Number
	New    *Number // with the other identity that was seen, while the contact is changed
}

// Comparison is a safety number as a person has it from the other side: one of the two.
type Comparison struct {
	Number string // typed: 60 digits, with spaces, line ends and hyphens wherever they are
	Code   []byte // scanned
}

// SafetyNumbers returns the safety numbers with a contact or stranger.
func (b *Book) SafetyNumbers(user string) (Numbers, error) {
	c, err := b.Get(user)
	if err != nil {
		return Numbers{}, err
	}
	out := Numbers{Pinned: number(b.fingerprint(&c, c.Pinned.Identity))}
	if c.Candidate != nil {
		n := number(b.fingerprint(&c, c.Candidate.Pin.Identity))
		out.New = &n
	}
	return out, nil
}

func number(f ratchet.Fingerprint) Number { return Number{Digits: f.Digits(), Code: f.Scannable()} }

func (b *Book) fingerprint(c *Contact, identity Key) ratchet.Fingerprint {
	id := uuid.MustParse(c.User) // checked when it was read
	return ratchet.SafetyNumber(b.o.Own.Identity, b.own[:], identity, id[:])
}

// SetVerified notes that a person compared the safety number with the pinned identity. Errors: fault.KeyChanged if the numbers differ;
// fault.InvalidRequest for what is none; fault.Policy for a code of another version; those of MaySend.
func (b *Book) SetVerified(ctx context.Context, user string, given Comparison) error {
	return b.change(ctx, user, func(_ *keystore.Tx, r record) (record, error) {
		if err := r.Contact.MaySend(); err != nil {
			return r, err
		}
		v, err := b.compare(&r.Contact, r.Contact.Pinned.Identity, given)
		r.Contact.Verified = v
		return r, err
	})
}

// ClearVerified takes back what SetVerified noted.
func (b *Book) ClearVerified(ctx context.Context, user string) error {
	return b.change(ctx, user, func(_ *keystore.Tx, r record) (record, error) {
		if r.none() || r.Contact.State == StateRemoved {
			return r, errNobody()
		}
		r.Contact.Verified = Verification{}
		return r, nil
	})
}

// AcceptNew resolves a change: the identity that was seen takes the place of the pinned one, which is revoked for good. The given number
// must be the one with the new identity, and the contact is verified then. What waits under the new identity becomes visible, what came
// under others is dropped. Errors: fault.Conflict if nothing has changed; those of SetVerified; fault.TooLarge after MaxHistory identities.
func (b *Book) AcceptNew(ctx context.Context, user string, given Comparison) error {
	return b.resolve(ctx, user, func(c Contact) (Contact, error) {
		v, err := b.compare(&c, c.Candidate.Pin.Identity, given)
		if err != nil {
			return c, err
		}
		return c.takeNew(v)
	})
}

// KeepOld resolves a change: what was seen is dropped, and with it what came under it. It can be seen again, and stops everything again.
func (b *Book) KeepOld(ctx context.Context, user string) error {
	return b.resolve(ctx, user, func(c Contact) (Contact, error) { return c.settled(), nil })
}

func (b *Book) resolve(ctx context.Context, user string, how func(Contact) (Contact, error)) error {
	return b.change(ctx, user, func(tx *keystore.Tx, r record) (record, error) {
		switch r.Contact.State {
		case StateChanged:
		case "", StateRemoved:
			return r, errNobody()
		default:
			return r, fault.New(fault.Conflict, "nothing has changed about this contact")
		}
		c, err := how(r.Contact)
		if err != nil {
			return r, err
		}
		r.Contact = c
		if c.State == StateAccepted {
			return b.release(tx, r)
		}
		r.Held = underIdentity(r.Held, c.Pinned.Identity)
		return r, nil
	})
}

// compare returns the verification that a comparison amounts to.
func (b *Book) compare(c *Contact, identity Key, given Comparison) (Verification, error) {
	f := b.fingerprint(c, identity)
	if (given.Number == "") == (len(given.Code) == 0) {
		return Verification{}, fault.New(fault.InvalidRequest, "either the number or the scanned code is given")
	}
	v := Verification{Date: b.o.Clock().Unix(), Number: f.Digits()}
	if len(given.Code) > 0 {
		if err := f.Compare(given.Code); err != nil {
			return Verification{}, err
		}
		return v, nil
	}
	typed, err := parseNumber(given.Number)
	if err != nil {
		return Verification{}, err
	}
	if subtle.ConstantTimeCompare([]byte(typed), []byte(v.Number)) != 1 {
		return Verification{}, fault.New(fault.KeyChanged, "the safety numbers differ")
	}
	return v, nil
}

// parseNumber returns the 60 digits of a number as somebody typed it.
func parseNumber(s string) (string, error) {
	if len(s) > 4*numberDigits {
		return "", errNoNumber()
	}
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n-", r) {
			return -1
		}
		return r
	}, s)
	if len(digits) != numberDigits || strings.Trim(digits, "0123456789") != "" {
		return "", errNoNumber()
	}
	return digits, nil
}

func errNoNumber() error {
	return fault.New(fault.InvalidRequest, "a safety number has %d digits", numberDigits)
}
