package contacts

import "coldframe/internal/signed"

// For tests: what peers do, and what is inside.
var (
	SignBundle   = signBundle
	SignOneTime  = signOneTime
	ParsePayload = parsePayload
	ParseNumber  = parseNumber
	NewCard      = newCard
)

type (
	BundleBody  = bundleBody
	OneTimeBody = oneTimeBody
	Record      = record
	SignedKey   = signedKey
)

const (
	BundleType  = bundleType
	OneTimeType = oneTimeType
	MaxPayload  = maxPayload
)

// SecretPayload makes a message's payload.
func SecretPayload(id SecretID, title string, body []byte, written int64) ([]byte, error) {
	return signed.Marshal(payload{Version: payloadVersion, ID: id, Title: title, Body: body, Written: written})
}

// ParseRecord reads a contact's item and encodes it again.
func ParseRecord(b []byte) ([]byte, error) {
	r, err := parseRecord(b)
	if err != nil {
		return nil, err
	}
	return signed.Marshal(r)
}

// TakeNew is what AcceptNew does to a contact.
func (c Contact) TakeNew(v Verification) (Contact, error) { return c.takeNew(v) }

// Settled is what KeepOld does to a contact.
func (c Contact) Settled() Contact { return c.settled() }
