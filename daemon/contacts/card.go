package contacts

import (
	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/ratchet"
)

// cardContext is what the identity key signs of a card: this label, a zero byte, the 16 bytes of the user's UUID, and the signing key.
const cardContext = "coldframe/v1/card"

// Key is a public key: X25519 of an identity (the u-coordinate), or Ed25519.
type Key = [32]byte

// Card is who somebody says to be.
type Card struct {
	User      string                      `cbor:"1,keyasint"` // UUID v4, lower case
	Identity  Key                         `cbor:"2,keyasint"` // X25519, signs with XEdDSA
	Signing   Key                         `cbor:"3,keyasint"` // Ed25519
	Signature [ratchet.SignatureSize]byte `cbor:"4,keyasint"` // XEdDSA of the identity
}

// newCard signs a card. It panics if there is no identity.
func newCard(user string, identity ratchet.Identity, signing Key) (Card, error) {
	c := Card{User: user, Identity: identity.Public(), Signing: signing}
	message, err := c.message()
	if err != nil {
		return Card{}, err
	}
	c.Signature = identity.Sign(message)
	return c, nil
}

func (c *Card) message() ([]byte, error) {
	id, err := userID(c.User)
	if err != nil {
		return nil, err
	}
	m := append([]byte(cardContext), 0)
	return append(append(m, id[:]...), c.Signing[:]...), nil
}

// verify reports whether the identity signed the signing key for this user: fault.NotAuthentic.
func (c *Card) verify() error {
	message, err := c.message()
	if err != nil || !ratchet.Verify(c.Identity, message, c.Signature) {
		return fault.New(fault.NotAuthentic, "the signing key is not signed by the identity key for this user")
	}
	return nil
}

// userID parses the one form of a user's id: a UUID v4 in lower case. Any other is fault.InvalidRequest.
func userID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil || id.String() != s || id.Version() != 4 || id.Variant() != uuid.RFC4122 {
		return uuid.UUID{}, fault.New(fault.InvalidRequest, "a user's id is a UUID of version 4 in lower case")
	}
	return id, nil
}
