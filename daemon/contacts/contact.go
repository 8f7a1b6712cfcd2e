package contacts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// Bounds of what is kept.
const (
	MaxContacts  = 10_000
	MaxStrangers = 100
	MaxHistory   = 16        // replaced identities of a contact
	MaxHeld      = 16        // secrets of one sender that wait for a person
	MaxHeldBytes = 256 << 10 // and their bytes
	MaxName      = 256       // bytes of a name or an address
)

// State is what a person has decided about somebody, or has to.
type State string

// The states. Asked: a stranger sent something, and consent is awaited. Changed: there were two words about their keys, and a person has to
// look. Removed: forgotten but for the keys, so that coming back is no way to another pin.
const (
	StateAsked    State = "asked"
	StateAccepted State = "accepted"
	StateBlocked  State = "blocked"
	StateChanged  State = "changed"
	StateRemoved  State = "removed"
)

// Pin is what is known of somebody's keys. Of who only sent a message the signing key is not known: it is zero.
type Pin struct {
	Identity Key   `cbor:"1,keyasint"`
	Signing  Key   `cbor:"2,keyasint"`
	Since    int64 `cbor:"3,keyasint"` // Unix seconds
}

// Verification is that a person compared the safety number. The zero value is that nobody did.
type Verification struct {
	Date   int64  `cbor:"1,keyasint"` // Unix seconds
	Number string `cbor:"2,keyasint"` // 60 digits
}

// Former is an identity that was replaced.
type Former struct {
	Pin      Pin          `cbor:"1,keyasint"`
	Until    int64        `cbor:"2,keyasint"`
	Verified Verification `cbor:"3,keyasint"`
}

// Sighting is a word about somebody's keys.
type Sighting struct {
	Pin      Pin  `cbor:"1,keyasint"`
	Mark     Mark `cbor:"2,keyasint"` // none: seen with a message, not in a bundle
	Previous Hash `cbor:"3,keyasint"`
}

// Contact is what is known of somebody.
type Contact struct {
	User      string       `cbor:"1,keyasint"`
	Name      string       `cbor:"2,keyasint"` // as this user calls them; may be empty
	Email     string       `cbor:"3,keyasint"` // as it was looked up; may be empty
	EmailHash Hash         `cbor:"4,keyasint"`
	State     State        `cbor:"5,keyasint"`
	Before    State        `cbor:"6,keyasint"` // changed from
	Known     bool         `cbor:"7,keyasint"` // was accepted or added once
	Pinned    Pin          `cbor:"8,keyasint"`
	Mark      Mark         `cbor:"9,keyasint"` // the highest seen
	Verified  Verification `cbor:"10,keyasint"`
	Candidate *Sighting    `cbor:"11,keyasint"` // the other word, while changed
	History   []Former     `cbor:"12,keyasint"` // oldest first
	Added     int64        `cbor:"13,keyasint"` // Unix seconds
}

// stranger reports whether nobody ever consented to them: they count separately.
func (c *Contact) stranger() bool {
	return !c.Known && (c.State == StateAsked || c.State == StateChanged && c.Before == StateAsked)
}

// Stranger reports whether nobody ever consented to them. Nobody, whose contact is the zero value, is one.
func (c *Contact) Stranger() bool { return c.State == "" || c.stranger() }

// Trusted reports whether they are a contact now, also while one has changed: the state before counts.
func (c *Contact) Trusted() bool {
	return c.State == StateAccepted || c.State == StateChanged && c.Before == StateAccepted
}

// held is a message that waits for a person, with the identity it came under.
type held struct {
	Identity Key    `cbor:"1,keyasint"`
	Payload  []byte `cbor:"2,keyasint"`
	Received int64  `cbor:"3,keyasint"` // Unix seconds
}

// record is the body of a contact's item. The zero value is nobody.
type record struct {
	Contact Contact `cbor:"1,keyasint"`
	Held    []held  `cbor:"2,keyasint"`
}

func (r *record) none() bool { return r.Contact.State == "" }

// Kinds of items. Their ids are hashes: whoever has the disk learns how many there are.
const (
	kindContact  = "contact"
	kindStranger = "stranger"
)

// contactItem returns the id of somebody's item of a kind: kind ‖ "/" ‖ hex of SHA-256("coldframe/v1/contact-item" ‖ 0 ‖ kind ‖ 0 ‖
// owner's UUID ‖ UUID), first 16 bytes.
func contactItem(kind string, owner, user uuid.UUID) string {
	b := append([]byte("coldframe/v1/contact-item\x00"), kind...)
	b = append(append(append(b, 0), owner[:]...), user[:]...)
	sum := sha256.Sum256(b)
	return kind + "/" + hex.EncodeToString(sum[:16])
}

func (r *record) kind() string {
	if r.Contact.stranger() {
		return kindStranger
	}
	return kindContact
}

// parseRecord reads the body of a contact's item.
func parseRecord(b []byte) (record, error) {
	var r record
	if err := unmarshalExact(b, &r); err != nil {
		return record{}, err
	}
	return r, r.check()
}

// unmarshalExact reads CBOR that is exactly what v encodes to.
func unmarshalExact(b []byte, v any) error {
	if err := signed.Unmarshal(b, v); err != nil {
		return err
	}
	again, err := signed.Marshal(v)
	defer clear(again)
	if err != nil || !bytes.Equal(again, b) {
		return errForm
	}
	return nil
}

func (r *record) check() error {
	c := &r.Contact
	_, err := userID(c.User)
	ok := err == nil && r.heldBytes() <= MaxHeldBytes && len(r.Held) <= MaxHeld && len(c.History) <= MaxHistory &&
		checkLabel(c.Name) == nil && checkLabel(c.Email) == nil && c.Pinned.Identity != Key{}
	switch c.State {
	case StateAccepted, StateBlocked, StateRemoved:
		ok = ok && c.Candidate == nil && c.Before == "" && len(r.Held) == 0
	case StateAsked:
		ok = ok && c.Candidate == nil && c.Before == ""
	case StateChanged:
		ok = ok && c.Candidate != nil && (c.Before == StateAsked || c.Before == StateAccepted)
	default:
		ok = false
	}
	if !ok {
		return fault.New(fault.NotAuthentic, "a contact in the vault is not in order")
	}
	return nil
}

func (r *record) heldBytes() int {
	n := 0
	for _, h := range r.Held {
		n += len(h.Payload)
	}
	return n
}

// checkLabel refuses what is no name, title or address to be shown: fault.InvalidRequest.
func checkLabel(s string) error {
	if len(s) > MaxName || !utf8.ValidString(s) || strings.ContainsFunc(s, unlabelled) {
		return fault.New(fault.InvalidRequest, "a name or title is UTF-8 of at most %d bytes, on one line", MaxName)
	}
	return nil
}

// unlabelled reports what moves a terminal's cursor, ends a line, or turns the direction of what follows. Joiners, which some scripts need,
// may be there.
func unlabelled(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// items is what reads an item: the vault, or a transaction of it.
type items interface {
	Get(id string) (keystore.Item, error)
}

// load returns the record of a user, the zero value if there is none.
func (b *Book) load(from items, user uuid.UUID) (record, error) {
	for _, kind := range []string{kindContact, kindStranger} {
		it, err := from.Get(contactItem(kind, b.own, user))
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return record{}, err
		}
		defer clear(it.Body)
		r, err := parseRecord(it.Body)
		if err == nil && (r.Contact.User != user.String() || r.kind() != kind) {
			err = fault.New(fault.NotAuthentic, "a contact in the vault is not where it belongs")
		}
		return r, err
	}
	return record{}, nil
}

// store puts a record, or removes that of nobody, and nothing if it is what was loaded.
func (b *Book) store(tx *keystore.Tx, user uuid.UUID, was, next record) error {
	if next.none() {
		return errors.Join(tx.Delete(contactItem(kindContact, b.own, user)), tx.Delete(contactItem(kindStranger, b.own, user)))
	}
	if err := next.check(); err != nil {
		return err
	}
	body, err := signed.Marshal(next)
	if err != nil {
		return err
	}
	defer clear(body)
	kind := next.kind()
	moved := was.none() || was.kind() != kind
	if before, err := signed.Marshal(was); err == nil && !moved && bytes.Equal(before, body) {
		return nil
	}
	if moved {
		if err := b.room(kind); err != nil {
			return err
		}
	}
	if moved && !was.none() {
		if err := tx.Delete(contactItem(was.kind(), b.own, user)); err != nil {
			return err
		}
	}
	return tx.Put(keystore.Item{ID: contactItem(kind, b.own, user), Kind: kind, Body: body})
}

// room refuses one more contact or stranger than are kept: fault.TooLarge. Changes of the vault run one after the other, so what the vault
// lists is what this one began with.
func (b *Book) room(kind string) error {
	ids, err := b.o.Vault.List(kind)
	if err != nil {
		return err
	}
	if limit := map[string]int{kindContact: MaxContacts, kindStranger: MaxStrangers}[kind]; len(ids) >= limit {
		return fault.New(fault.TooLarge, "at most %d of the kind %s are kept", limit, kind)
	}
	return nil
}
