package devices

import (
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// Purpose is that of the vault's subkey which seals wraps records and requests.
const Purpose = "devices"

// MaxRecord is the size of the largest wraps record, sealed, in bytes. One of MaxDevices has some 77 KiB.
const MaxRecord = 96 << 10

// Sealer seals and opens values under the vault's subkey for Purpose; a *seal.Sealer is one. After a change of the vault key Open must
// find the former key, too.
type Sealer interface {
	Seal(c seal.Context, plaintext []byte) []byte
	Open(c seal.Context, sealed []byte) ([]byte, error)
}

// Record is the wraps record of a link, verified against it.
type Record struct {
	list    *List
	members []member // in the order of the list's devices
}

// member is a line of a wraps record.
type member struct {
	_      struct{} `cbor:",toarray"`
	ID     DeviceID
	Name   []byte // nameSize
	Public []byte // HPKE public key
	Wrap   []byte // encapsulated secret ‖ state key under it
}

// recordContext binds a sealed record to the link that names it.
func (l *Link) recordContext() seal.Context {
	return seal.Context{Owner: l.User.String(), Type: "device-wraps", ID: l.Author.String(), Version: l.Sequence}
}

// wrapInfo binds a wrap to its place: user, link, epoch, key, and the device and device key that it is for.
func (l *Link) wrapInfo(id DeviceID, key Hash) []byte {
	b := append([]byte("coldframe/v1/state-key-wrap"), 0)
	b = append(b, l.User[:]...)
	b = binary.BigEndian.AppendUint64(b, l.Sequence)
	b = append(b, l.Previous[:]...)
	b = append(b, l.Author[:]...)
	b = binary.BigEndian.AppendUint64(b, l.Epoch)
	b = append(b, l.Commitment[:]...)
	b = append(b, id[:]...)
	return append(b, key[:]...)
}

// wrap fills the wraps of a record for a link whose every field but Wraps is set.
func (l *Link) wrap(members []member, key secret.Key) error {
	for i, e := range l.Devices {
		m := &members[i]
		public, err := parsePublic(m.Public)
		if err != nil {
			return err
		}
		ok := key.Use(func(b []byte) { m.Wrap, err = hpke.Seal(public, kdf, aead, l.wrapInfo(e.ID, e.KeyHash), b) })
		if err != nil {
			return fault.Wrap(fault.NotAuthentic, err, "the key of a device takes no state key")
		}
		if !ok {
			return fault.New(fault.Locked, "the state key was wiped from memory")
		}
	}
	return nil
}

// OpenRecord opens the wraps record of the newest link of l. Bytes other than those that the link names, or that do not fit its devices,
// are fault.NotAuthentic.
func OpenRecord(l *List, s Sealer, sealed []byte) (*Record, error) {
	if len(sealed) > MaxRecord {
		return nil, fault.New(fault.TooLarge, "a wraps record is larger than %d bytes", MaxRecord)
	}
	if sha256.Sum256(sealed) != l.Wraps {
		return nil, fault.New(fault.NotAuthentic, "the wraps record is not the one that the device list names")
	}
	plain, err := s.Open(l.recordContext(), sealed)
	if err != nil {
		return nil, err
	}
	members, err := parseRecord(plain)
	if err != nil {
		return nil, err
	}
	r := &Record{list: l, members: members}
	return r, r.check()
}

func parseRecord(plain []byte) ([]member, error) {
	var members []member
	if err := signed.Unmarshal(plain, &members); err != nil {
		return nil, err
	}
	if again, err := signed.Marshal(members); err != nil || string(again) != string(plain) || len(members) > MaxDevices {
		return nil, errRecord
	}
	for _, m := range members {
		if len(m.Public) != publicKeySize || len(m.Wrap) != wrapSize {
			return nil, errRecord
		}
		if _, err := decodeName(m.Name); err != nil {
			return nil, err
		}
	}
	return members, nil
}

var errRecord = fault.New(fault.NotAuthentic, "the wraps record is not in order")

// check compares a record with its link: the same devices, each with its own key.
func (r *Record) check() error {
	if len(r.members) != len(r.list.Devices) {
		return fault.New(fault.Incomplete, "the wraps record does not have the devices of the list")
	}
	for i, e := range r.list.Devices {
		m := r.members[i]
		if m.ID != e.ID || sha256.Sum256(m.Public) != e.KeyHash {
			return errRecord
		}
	}
	return nil
}

// Name returns what the user calls a device, or "" for one that is not on the list.
func (r *Record) Name(id DeviceID) string {
	for _, m := range r.members {
		if m.ID == id {
			name, _ := decodeName(m.Name) // parseRecord has been through it
			return name
		}
	}
	return ""
}

// Unwrap returns the state key. Failures:
//
//	revoked, forbidden  the device was removed from the list, or never was on it
//	key_changed         the list names a device key that this device has not
//	untrusted_key       this device did not begin the list, and did not confirm that it was approved (Device.Confirm)
//	not_authentic       the wrap does not open, or holds another key than the list commits to
func (r *Record) Unwrap(d *Device) (StateKey, error) {
	e, err := r.list.Find(d.ID)
	if err == nil {
		err = d.open()
	}
	if err != nil {
		return StateKey{}, err
	}
	if d.standing != standingJoined {
		return StateKey{}, fault.New(fault.UntrustedKey, "nobody who knew the pairing code has approved this device")
	}
	p := d.pairOf(e)
	if p == nil || d.User != r.list.User {
		return StateKey{}, fault.New(fault.KeyChanged, "the device list names another key for this device")
	}
	for _, m := range r.members {
		if m.ID == d.ID {
			return r.list.unwrap(e, p, m.Wrap)
		}
	}
	return StateKey{}, errRecord
}

func (l *List) unwrap(e Entry, p *pair, wrap []byte) (StateKey, error) {
	raw, err := hpke.Open(p.private(), kdf, aead, l.wrapInfo(e.ID, e.KeyHash), wrap)
	if err != nil {
		return StateKey{}, fault.Wrap(fault.NotAuthentic, err, "the state key does not open")
	}
	key, err := secret.FromBytes(raw)
	if err != nil {
		return StateKey{}, errRecord
	}
	k := StateKey{Epoch: l.Epoch, Key: key}
	if k.commitment(l.User) != l.Commitment {
		key.Wipe()
		return StateKey{}, fault.New(fault.NotAuthentic, "the state key is not the one that the device list commits to")
	}
	return k, nil
}
