package devices

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"

	"github.com/google/uuid"

	"coldframe/internal/fault"
)

// UserID names a user.
type UserID uuid.UUID

// String returns the id as a UUID.
func (u UserID) String() string { return uuid.UUID(u).String() }

// DeviceID names a device: random, made on it, never used again once it was removed.
type DeviceID uuid.UUID

// NewDeviceID returns a random id.
func NewDeviceID() DeviceID { return DeviceID(uuid.New()) }

// ParseDeviceID reads an id in the form that String gives.
func ParseDeviceID(s string) (DeviceID, error) {
	u, err := uuid.Parse(s)
	if err != nil || u.String() != s {
		return DeviceID{}, fault.New(fault.InvalidRequest, "a device id is a UUID in lower case")
	}
	return DeviceID(u), nil
}

// String returns the id as a UUID.
func (d DeviceID) String() string { return uuid.UUID(d).String() }

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// IsZero reports whether there is no hash.
func (h Hash) IsZero() bool { return h == Hash{} }

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// AuthorKey is the Ed25519 public key that verifies the links a device made.
type AuthorKey [ed25519.PublicKeySize]byte

// In CBOR all four are byte strings of exactly their length; the decoder alone would take shorter, longer and other kinds.

// MarshalCBOR encodes the id.
func (u UserID) MarshalCBOR() ([]byte, error) { return append([]byte{shortBytes | 16}, u[:]...), nil }

// UnmarshalCBOR decodes the id.
func (u *UserID) UnmarshalCBOR(b []byte) error { return fixed(u[:], b, shortBytes|16) }

// MarshalCBOR encodes the id.
func (d DeviceID) MarshalCBOR() ([]byte, error) { return append([]byte{shortBytes | 16}, d[:]...), nil }

// UnmarshalCBOR decodes the id.
func (d *DeviceID) UnmarshalCBOR(b []byte) error { return fixed(d[:], b, shortBytes|16) }

// MarshalCBOR encodes the hash.
func (h Hash) MarshalCBOR() ([]byte, error) { return append([]byte{longBytes, 32}, h[:]...), nil }

// UnmarshalCBOR decodes the hash.
func (h *Hash) UnmarshalCBOR(b []byte) error { return fixed(h[:], b, longBytes, 32) }

// MarshalCBOR encodes the key.
func (k AuthorKey) MarshalCBOR() ([]byte, error) { return Hash(k).MarshalCBOR() }

// UnmarshalCBOR decodes the key.
func (k *AuthorKey) UnmarshalCBOR(b []byte) error { return fixed(k[:], b, longBytes, 32) }

// Heads of CBOR byte strings (RFC 8949 section 3.1): with the length inside, and with it in one byte more.
const (
	shortBytes = 2 << 5
	longBytes  = shortBytes | 24
)

var errLength = fault.New(fault.NotAuthentic, "an id, a hash or a key has another length")

func fixed(dst, b []byte, head ...byte) error {
	if len(b) != len(head)+len(dst) || string(b[:len(head)]) != string(head) {
		return errLength
	}
	copy(dst, b[len(head):])
	return nil
}

// Head names the newest link of a list: what a device remembers of it for ever (THREATS R5).
type Head struct {
	Sequence uint64
	Hash     Hash
}

// Compare judges a head that was found by h, which is remembered: a lower one is fault.RolledBack, another of the same number
// fault.Forked. A higher one is nil, and is no more than a claim until List.Next went there.
func (h Head) Compare(found Head) error {
	switch {
	case found.Sequence < h.Sequence:
		return fault.New(fault.RolledBack, "the device list ends at %d and was at %d before", found.Sequence, h.Sequence)
	case found.Sequence == h.Sequence && found.Hash != h.Hash:
		return fault.New(fault.Forked, "two device lists with number %d", h.Sequence)
	}
	return nil
}
