package ratchet

import (
	"slices"

	"coldframe/internal/fault"
	"coldframe/ratchet/internal/kdf"
)

// MaxMessageSize is the length of the longest message that is read, of either type, in bytes. The reference has no such limit.
const MaxMessageSize = 1 << 20

const (
	sessionVersion  = 4                     // of the protocol: PQXDH
	versionByte     = sessionVersion<<4 | 4 // first byte of every message; receivers look at its upper half only
	wireMACSize     = 8                     // bytes of an HMAC-SHA-256 that a message carries
	messageOverhead = 80                    // bytes of a message beside its fields of variable length, at most
)

// Fields of a SignalMessage (spec section 8.1).
const (
	fieldRatchetKey      = 1
	fieldCounter         = 2
	fieldPreviousCounter = 3
	fieldCiphertext      = 4
	fieldPQRatchet       = 5
	fieldAddresses       = 6
)

var (
	signalNumbers  = protoSetOf(fieldCounter, fieldPreviousCounter)
	signalStrings  = protoSetOf(fieldRatchetKey, fieldCiphertext, fieldPQRatchet, fieldAddresses)
	signalRequired = protoSetOf(fieldRatchetKey, fieldCounter, fieldCiphertext)
)

// signalMessage is a message of a session. Its slices are views of what was parsed.
type signalMessage struct {
	version         byte // as received; its upper half is 4
	ratchetKey      [32]byte
	counter         uint32
	previousCounter uint32 // receivers do not use it
	ciphertext      []byte
	pqRatchet       []byte // SPQR header; nil if there is none
	addresses       []byte // 36 bytes, or nil if there is no such field
	signed          []byte // version byte and protobuf as received: what the MAC is over
	mac             [wireMACSize]byte
}

// parseSignalMessage takes a SignalMessage apart. It checks neither the MAC nor what is in ciphertext and pqRatchet. Errors:
// fault.TooLarge, fault.Policy for another version, fault.NotAuthentic for whatever is malformed.
func parseSignalMessage(b []byte) (signalMessage, error) {
	if err := checkWireStart(b); err != nil {
		return signalMessage{}, err
	}
	if len(b) < 1+wireMACSize {
		return signalMessage{}, fault.New(fault.NotAuthentic, "message of %d bytes", len(b))
	}
	signed, mac := b[:len(b)-wireMACSize:len(b)-wireMACSize], b[len(b)-wireMACSize:]
	var f protoFields
	ok := f.parse(signed[1:], signalNumbers, signalStrings) && f.present&signalRequired == signalRequired
	if !ok || f.present.has(fieldAddresses) && len(f.bytes[fieldAddresses]) != addressFieldSize {
		return signalMessage{}, fault.New(fault.NotAuthentic, "malformed message")
	}
	key, err := parseECKey(f.bytes[fieldRatchetKey])
	if err != nil {
		return signalMessage{}, err
	}
	m := signalMessage{
		version: b[0], ratchetKey: key, counter: f.numbers[fieldCounter], previousCounter: f.numbers[fieldPreviousCounter],
		ciphertext: f.bytes[fieldCiphertext], addresses: f.bytes[fieldAddresses], signed: signed, mac: [wireMACSize]byte(mac),
	}
	if len(f.bytes[fieldPQRatchet]) > 0 {
		m.pqRatchet = f.bytes[fieldPQRatchet]
	}
	return m, nil
}

// checkWireStart checks the size of a message and its version byte.
func checkWireStart(b []byte) error {
	switch {
	case len(b) > MaxMessageSize:
		return fault.New(fault.TooLarge, "message of %d bytes; at most %d are read", len(b), MaxMessageSize)
	case len(b) == 0:
		return fault.New(fault.NotAuthentic, "empty message")
	case b[0]>>4 < sessionVersion:
		return fault.New(fault.Policy, "message of the legacy version %d", b[0]>>4)
	case b[0]>>4 > sessionVersion:
		return fault.New(fault.Policy, "message of the unknown version %d", b[0]>>4)
	}
	return nil
}

// appendSignalMessage appends the version byte and the protobuf, which is what the MAC is over. What it returns has room for the MAC.
func appendSignalMessage(b []byte, m *signalMessage) []byte {
	b = slices.Grow(b, messageOverhead+len(m.ciphertext)+len(m.pqRatchet)+len(m.addresses))
	b = append(b, m.version)
	b = appendProtoECKey(b, fieldRatchetKey, &m.ratchetKey)
	b = appendProtoNumber(b, fieldCounter, m.counter)
	b = appendProtoNumber(b, fieldPreviousCounter, m.previousCounter)
	b = appendProtoBytes(b, fieldCiphertext, m.ciphertext)
	if len(m.pqRatchet) > 0 {
		b = appendProtoBytes(b, fieldPQRatchet, m.pqRatchet)
	}
	if m.addresses != nil {
		b = appendProtoBytes(b, fieldAddresses, m.addresses)
	}
	return b
}

// messageMAC is the MAC of a message over the identity keys of its sender and its receiver, in this order on both sides, and signed, which
// is the version byte and the protobuf.
func messageMAC(macKey, sender, receiver *[32]byte, signed []byte) [wireMACSize]byte {
	h := kdf.HMAC(macKey[:], ecTypePrefix, sender[:], ecTypePrefix, receiver[:], signed)
	return [wireMACSize]byte(h[:wireMACSize])
}
