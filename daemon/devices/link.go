package devices

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"strconv"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Limits (THREATS R13). The largest link that they allow has 15,632 bytes; a test makes it.
const (
	MaxLink    = 16 << 10 // bytes, what the coordinator takes
	MaxDevices = 32
	MaxRemoved = 640 // ids, over the life of the list: one a month is 53 years

	slots = 4 // blobs for the wraps records of one device, see freeSlot
)

// Types of signed things.
const (
	listType   = "device-list"        // signed by the user: the author's envelope
	authorType = "device-list/author" // signed by the device that made the link: the Link
)

// Entry is a device of the list.
type Entry struct {
	_         struct{} `cbor:",toarray"`
	ID        DeviceID
	KeyHash   Hash      // SHA-256 of the HPKE public key, which the wraps record has
	AuthorKey AuthorKey // verifies links that this device makes
	KeyTime   int64     // of the link that first named these two keys
	Added     int64     // of the link that first named this device
	Approval  []byte    // in that link the proof that its author knew the pairing code, 32 bytes; else empty
}

// Link is what a link of the chain says.
type Link struct {
	User       UserID     `cbor:"1,keyasint"`
	Sequence   uint64     `cbor:"2,keyasint"`  // 1, 2, 3 …
	Previous   Hash       `cbor:"3,keyasint"`  // of the envelope before; zero in the first
	Time       int64      `cbor:"4,keyasint"`  // Unix milliseconds, the author's word
	Author     DeviceID   `cbor:"5,keyasint"`  // the device that made the link
	Recovery   bool       `cbor:"6,keyasint"`  // the author begins again, all others are removed
	Epoch      uint64     `cbor:"7,keyasint"`  // of the state key
	EpochTime  int64      `cbor:"8,keyasint"`  // of the link that began the epoch
	Commitment Hash       `cbor:"9,keyasint"`  // to the state key
	Wraps      Hash       `cbor:"10,keyasint"` // SHA-256 of the wraps record as sealed
	Slot       uint8      `cbor:"11,keyasint"` // of the author's blobs, the one with the wraps record
	Devices    []Entry    `cbor:"12,keyasint"` // sorted by id
	Removed    []DeviceID `cbor:"13,keyasint"` // sorted: every device there was since the last recovery, and those that it removed
}

// device returns the entry of a device.
func (l *Link) device(id DeviceID) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(l.Devices, id, func(e Entry, id DeviceID) int { return compareIDs(e.ID, id) })
	if !ok {
		return Entry{}, false
	}
	return l.Devices[i], true
}

func (l *Link) removed(id DeviceID) bool {
	_, ok := slices.BinarySearchFunc(l.Removed, id, compareIDs)
	return ok
}

func compareIDs(a, b DeviceID) int { return bytes.Compare(a[:], b[:]) }

// WrapsName is the name of the blob, at the coordinator, that holds the wraps record of the link. A device has four of them in turn, so
// that a record is never written over one that the newest link or the last of the former epoch names.
func (l *Link) WrapsName() string {
	return "d-wraps-" + l.Author.String() + "-" + strconv.Itoa(int(l.Slot))
}

// sign returns the envelope of the link: the author's signature inside, the user's around it.
func (l *Link) sign(user, author signed.Signer) ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	inner, err := signed.Sign(author, authorType, l)
	if err != nil {
		return nil, err
	}
	return signed.Sign(user, listType, inner)
}

// openUser verifies the user's signature and reads what the link claims; the author's signature is still to be verified.
func openUser(key ed25519.PublicKey, envelope []byte) (inner []byte, claimed *Link, err error) {
	if len(envelope) > MaxLink {
		return nil, nil, fault.New(fault.TooLarge, "a link of the device list is larger than %d bytes", MaxLink)
	}
	if err := signed.Open(key, listType, envelope, &inner); err != nil {
		return nil, nil, fault.Wrap(fault.NotAuthentic, err, "the device list is not signed by its user")
	}
	if !exact(envelope, inner) {
		return nil, nil, errLink
	}
	claimed = new(Link)
	if err := signed.Peek(inner, claimed); err != nil {
		return nil, nil, fault.Wrap(fault.NotAuthentic, err, "the device list cannot be read")
	}
	if err := claimed.check(); err != nil {
		return nil, nil, err
	}
	return inner, claimed, nil
}

// openAuthor verifies the author's signature.
func openAuthor(key AuthorKey, inner []byte) (*Link, error) {
	l := new(Link)
	if err := signed.Open(key[:], authorType, inner, l); err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "the link is not signed by the device that it says made it")
	}
	if !exact(inner, l) {
		return nil, errLink
	}
	return l, l.check()
}

// exact reports whether the payload of an envelope is what v encodes to. The decoder takes null for an empty list, and a list of numbers
// for a byte string.
func exact(envelope []byte, v any) bool {
	payload, err := signed.Marshal(v)
	if err == nil {
		payload, err = signed.Marshal(payload)
	}
	return err == nil && len(envelope) > 1 && bytes.HasPrefix(envelope[1:], payload)
}

var errLink = fault.New(fault.NotAuthentic, "the device list is not in order")

// check says whether a link is in order by itself, whoever signed it.
func (l *Link) check() error {
	if len(l.Devices) > MaxDevices || len(l.Removed) > MaxRemoved {
		return fault.New(fault.TooLarge, "a list has at most %d devices, and %d removed ones", MaxDevices, MaxRemoved)
	}
	ok := l.Sequence >= 1 && l.Sequence <= maxCount && l.Epoch >= 1 && l.Epoch <= l.Sequence && l.Slot < slots &&
		inTime(l.Time) && inTime(l.EpochTime) && len(l.Devices) >= 1 && l.Removed != nil
	for i, e := range l.Devices {
		ok = ok && (i == 0 || compareIDs(l.Devices[i-1].ID, e.ID) < 0) && !l.removed(e.ID) &&
			inTime(e.KeyTime) && inTime(e.Added) && e.Approval != nil && (len(e.Approval) == 0 || len(e.Approval) == sha256.Size)
	}
	for i, id := range l.Removed {
		ok = ok && (i == 0 || compareIDs(l.Removed[i-1], id) < 0)
	}
	if !ok {
		return errLink
	}
	return nil
}

func inTime(ms int64) bool { return ms >= 0 && ms <= maxMillis }
