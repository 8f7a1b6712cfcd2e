package ratchet

import (
	"encoding/hex"
	"strings"

	"coldframe/internal/fault"
)

// Address names a party: the device of a user.
type Address struct {
	Name   string // a service id is a hyphenated UUID, or "PNI:" and one; other names are as good
	Device uint8  // 1 to 127
}

const (
	maxDevice = 127
	maxName   = 1024 // bytes

	addressFieldSize = 2 * (1 + uuidSize + 1) // of two parties: kind, UUID, device
	uuidSize         = 16

	kindAccount     = 0 // a service id that is an account's
	kindPhoneNumber = 1 // one that stands for a phone number
	prefixPhone     = "PNI:"
)

// check refuses an address that cannot be one: fault.InvalidRequest.
func (a Address) check() error {
	if a.Device < 1 || a.Device > maxDevice || a.Name == "" || len(a.Name) > maxName {
		return fault.New(fault.InvalidRequest, "an address has a name of 1 to %d bytes and a device from 1 to %d", maxName, maxDevice)
	}
	return nil
}

// addressField returns the field of a message that binds it to its two ends, 36 bytes (spec section 8.1), or nil if one of them is no
// service id or has no valid device.
func addressField(sender, receiver Address) []byte {
	b := make([]byte, 0, addressFieldSize)
	for _, a := range [...]Address{sender, receiver} {
		kind, uuid, ok := parseServiceID(a.Name)
		if !ok || a.Device < 1 || a.Device > maxDevice {
			return nil
		}
		b = append(append(append(b, kind), uuid[:]...), a.Device)
	}
	return b
}

// parseServiceID reads a UUID in the form 8-4-4-4-12, in either case, and what may come before it.
func parseServiceID(name string) (kind byte, uuid [uuidSize]byte, ok bool) {
	digits := strings.TrimPrefix(name, prefixPhone)
	if len(digits) < len(name) {
		kind = kindPhoneNumber
	}
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	if len(digits) != len(form) {
		return 0, uuid, false
	}
	plain := make([]byte, 0, 2*uuidSize)
	for i := range len(form) {
		switch hyphen := digits[i] == '-'; {
		case hyphen != (form[i] == '-'):
			return 0, uuid, false
		case !hyphen:
			plain = append(plain, digits[i])
		}
	}
	_, err := hex.Decode(uuid[:], plain)
	return kind, uuid, err == nil
}
