package devices

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/signed"
)

// MaxRequest is the size of the largest request, sealed, in bytes.
const MaxRequest = 4 << 10

const requestType = "device-request"

// requestBody is what a new device says of itself, signed with its own author key.
type requestBody struct {
	User      UserID    `cbor:"1,keyasint"`
	Device    DeviceID  `cbor:"2,keyasint"`
	Public    []byte    `cbor:"3,keyasint"` // HPKE public key
	AuthorKey AuthorKey `cbor:"4,keyasint"`
	Name      []byte    `cbor:"5,keyasint"` // nameSize
	Time      int64     `cbor:"6,keyasint"` // Unix milliseconds
}

// requestRecord is what is sealed: the signed body, and its MAC under the pairing code.
type requestRecord struct {
	_        struct{} `cbor:",toarray"`
	Envelope []byte
	MAC      Hash
}

// RequestName is the name of the blob, at the coordinator, that holds the request of a device.
func RequestName(id DeviceID) string { return "d-request-" + id.String() }

func requestContext(user UserID, id DeviceID) seal.Context {
	return seal.Context{Owner: user.String(), Type: "device-request", ID: id.String(), Version: 1}
}

// Ask makes the request of this new device, sealed, for its blob, and the code to show, which the caller wipes. Make it after the device
// list was opened: what approves it is a link that follows. The code is kept in the key file until Confirm; asking again makes another. A
// device that has joined is fault.Conflict.
func (d *Device) Ask(s Sealer, name string, now time.Time) ([]byte, Code, error) {
	if err := checkName(name); err != nil {
		return nil, Code{}, err
	}
	if err := d.open(); err != nil {
		return nil, Code{}, err
	}
	if d.standing == standingJoined {
		return nil, Code{}, fault.New(fault.Conflict, "this device was approved already")
	}
	envelope, err := signed.Sign(d.present.signer(d.User), requestType, requestBody{
		User: d.User, Device: d.ID, Public: d.present.public, AuthorKey: d.present.authorKey(), Name: encodeName(name), Time: millis(now),
	})
	if err != nil {
		return nil, Code{}, err
	}
	next, before := *d, d.code
	next.standing, next.code, next.request = standingAsking, newCode(), signed.Hash(envelope)
	plain, err := signed.Marshal(requestRecord{Envelope: envelope, MAC: next.code.requestMAC(envelope)})
	if err == nil {
		err = d.write(next)
	}
	if err != nil {
		next.code.Wipe()
		return nil, Code{}, err
	}
	before.Wipe()
	return s.Seal(requestContext(d.User, d.ID), plain), d.code.clone(), nil
}

// Joined reports whether this device began the list, or confirmed that it was approved.
func (d *Device) Joined() bool { return d.standing == standingJoined }

// Code returns the code to show, while this device asks; the caller wipes it. fault.NotFound if it does not.
func (d *Device) Code() (Code, error) {
	if d.standing != standingAsking {
		return Code{}, fault.New(fault.NotFound, "this device asks for nothing")
	}
	return d.code.clone(), d.open()
}

// Request is a new device that asks to be approved. Nothing of it is known to be true before Approve.
type Request struct {
	Device DeviceID
	Name   string
	Time   int64 // Unix milliseconds

	body   requestBody
	record requestRecord
}

// OpenRequest reads a request from the blob of a device.
func OpenRequest(s Sealer, user UserID, id DeviceID, sealed []byte) (*Request, error) {
	if len(sealed) > MaxRequest {
		return nil, fault.New(fault.TooLarge, "a request of a device is larger than %d bytes", MaxRequest)
	}
	plain, err := s.Open(requestContext(user, id), sealed)
	if err != nil {
		return nil, err
	}
	r, err := parseRequest(plain)
	if err != nil {
		return nil, err
	}
	if r.body.User != user || r.body.Device != id {
		return nil, errRequest
	}
	return r, nil
}

var errRequest = fault.New(fault.NotAuthentic, "the request of a device is not in order")

func parseRequest(plain []byte) (*Request, error) {
	r := new(Request)
	if err := signed.Unmarshal(plain, &r.record); err != nil {
		return nil, err
	}
	var claimed requestBody
	if err := signed.Peek(r.record.Envelope, &claimed); err != nil {
		return nil, err
	}
	if err := signed.Open(ed25519.PublicKey(claimed.AuthorKey[:]), requestType, r.record.Envelope, &r.body); err != nil {
		return nil, err
	}
	if again, err := signed.Marshal(r.record); err != nil || string(again) != string(plain) || !exact(r.record.Envelope, r.body) {
		return nil, errRequest
	}
	if _, err := parsePublic(r.body.Public); err != nil {
		return nil, err
	}
	name, err := decodeName(r.body.Name)
	if err != nil {
		return nil, err
	}
	if !inTime(r.body.Time) {
		return nil, errRequest
	}
	r.Device, r.Name, r.Time = r.body.Device, name, r.body.Time
	return r, nil
}

// Approved is a device whose request carries the code that the user typed in. List.Sign lists it.
type Approved struct {
	body    requestBody
	request Hash
	code    Code
}

// Approve compares the request with the code that the new device shows: fault.UntrustedKey if it was made without.
func (r *Request) Approve(code Code) (*Approved, error) {
	if code.k.IsZero() {
		return nil, fault.New(fault.Locked, "the pairing code was wiped from memory")
	}
	mac := code.requestMAC(r.record.Envelope)
	if !hmac.Equal(mac[:], r.record.MAC[:]) {
		return nil, fault.New(fault.UntrustedKey, "the code is not that of this request")
	}
	return &Approved{body: r.body, request: signed.Hash(r.record.Envelope), code: code}, nil
}

func (a *Approved) entry(l *Link, author AuthorKey) Entry {
	approval := a.code.approval(l, author, a.request)
	return Entry{
		ID: a.body.Device, KeyHash: sha256.Sum256(a.body.Public), AuthorKey: a.body.AuthorKey,
		KeyTime: l.Time, Added: l.Time, Approval: approval[:],
	}
}

// Confirm is what the new device asks of the list at the link that added it: that its author knew the code. Whoever has the vault can
// make a list with the new device on it; only the device that the user typed the code into gives it the user's state key. Until then
// Record.Unwrap refuses. Failures:
//
//	not_found      this link did not add the device, or the device asks for nothing
//	untrusted_key  it was added without the code: the list is not one to follow
func (d *Device) Confirm(l *List) error {
	code, err := d.Code()
	defer code.Wipe()
	if err != nil {
		return err
	}
	if !slices.Contains(l.Change.Added, d.ID) {
		return fault.New(fault.NotFound, "the link did not add this device")
	}
	e, err := l.Find(d.ID)
	if err != nil {
		return err
	}
	want := code.approval(&l.Link, l.authorKey, d.request)
	if !hmac.Equal(want[:], e.Approval) {
		return fault.New(fault.UntrustedKey, "the device was listed by somebody who did not know the code")
	}
	next, former := *d, d.code
	next.join()
	if err := d.write(next); err != nil {
		return err
	}
	former.Wipe()
	return nil
}

// Follow is List.Extend for a device that may be asking: it confirms at the link that adds it. A device that asks remembers no head beyond
// what Follow gave it, so that after a restart the link that adds it is among those that follow.
func (d *Device) Follow(l *List, links [][]byte) (*List, error) {
	for _, link := range links {
		next, err := l.Next(link)
		if err != nil {
			return nil, err
		}
		if d.standing == standingAsking && slices.Contains(next.Change.Added, d.ID) {
			if err := d.Confirm(next); err != nil {
				return nil, err
			}
		}
		l = next
	}
	return l, nil
}

// requestMAC binds a request to the code.
func (c Code) requestMAC(envelope []byte) Hash {
	sub := c.k.Derive("devices/request", envelope)
	defer sub.Wipe()
	return Hash(sub.Bytes())
}

// approval binds request, place in the chain, author and state key to the code.
func (c Code) approval(l *Link, author AuthorKey, request Hash) Hash {
	numbers := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, l.Sequence), l.Epoch)
	sub := c.k.Derive("devices/approval", l.User[:], numbers, l.Previous[:], l.Author[:], author[:], request[:], l.Commitment[:], l.Wraps[:])
	defer sub.Wipe()
	return Hash(sub.Bytes())
}
