package ratchet

import (
	"slices"

	"coldframe/internal/fault"
)

// Fields of a PreKeySignalMessage (spec section 8.2).
const (
	fieldPreKeyID       = 1
	fieldBaseKey        = 2
	fieldIdentityKey    = 3
	fieldMessage        = 4
	fieldRegistrationID = 5
	fieldSignedPreKeyID = 6
	fieldKEMPreKeyID    = 7
	fieldKEMCiphertext  = 8
)

var (
	preKeyNumbers  = protoSetOf(fieldPreKeyID, fieldRegistrationID, fieldSignedPreKeyID, fieldKEMPreKeyID)
	preKeyStrings  = protoSetOf(fieldBaseKey, fieldIdentityKey, fieldMessage, fieldKEMCiphertext)
	preKeyRequired = protoSetOf(fieldBaseKey, fieldIdentityKey, fieldMessage, fieldSignedPreKeyID)
	preKeyKEM      = protoSetOf(fieldKEMPreKeyID, fieldKEMCiphertext)
)

// preKeyMessage is a handshake with the message that it carries. Its slices are views of what was parsed.
type preKeyMessage struct {
	preKeyID       uint32 // of the one-time prekey, if hasPreKey
	hasPreKey      bool   // 0 is an id like any other
	baseKey        [32]byte
	identityKey    [32]byte
	message        []byte // a whole SignalMessage, not parsed
	registrationID uint32 // the sender's; 0 if absent
	signedPreKeyID uint32
	kemPreKeyID    uint32
	kemCiphertext  []byte // 1568 bytes, without the type byte
}

// parsePreKeyMessage takes a PreKeySignalMessage apart, not the message in it. Errors: fault.TooLarge; fault.Policy for another version, a
// missing post-quantum part or one of another KEM; fault.NotAuthentic for whatever is malformed.
func parsePreKeyMessage(b []byte) (preKeyMessage, error) {
	if err := checkWireStart(b); err != nil {
		return preKeyMessage{}, err
	}
	var f protoFields
	if !f.parse(b[1:], preKeyNumbers, preKeyStrings) || f.present&preKeyRequired != preKeyRequired {
		return preKeyMessage{}, fault.New(fault.NotAuthentic, "malformed first message")
	}
	if f.present&preKeyKEM != preKeyKEM {
		return preKeyMessage{}, fault.New(fault.Policy, "first message without its post-quantum part")
	}
	m := preKeyMessage{
		preKeyID: f.numbers[fieldPreKeyID], hasPreKey: f.present.has(fieldPreKeyID), message: f.bytes[fieldMessage],
		registrationID: f.numbers[fieldRegistrationID], signedPreKeyID: f.numbers[fieldSignedPreKeyID], kemPreKeyID: f.numbers[fieldKEMPreKeyID],
	}
	var err error
	if m.baseKey, err = parseECKey(f.bytes[fieldBaseKey]); err != nil {
		return preKeyMessage{}, err
	}
	if m.identityKey, err = parseECKey(f.bytes[fieldIdentityKey]); err != nil {
		return preKeyMessage{}, err
	}
	if m.kemCiphertext, err = parseKEM(f.bytes[fieldKEMCiphertext]); err != nil {
		return preKeyMessage{}, err
	}
	return m, nil
}

// appendPreKeyMessage appends a PreKeySignalMessage. It has no MAC of its own.
func appendPreKeyMessage(b []byte, m *preKeyMessage) []byte {
	b = slices.Grow(b, 2*messageOverhead+len(m.message)+len(m.kemCiphertext))
	b = append(b, versionByte)
	if m.hasPreKey {
		b = appendProtoNumber(b, fieldPreKeyID, m.preKeyID)
	}
	b = appendProtoECKey(b, fieldBaseKey, &m.baseKey)
	b = appendProtoECKey(b, fieldIdentityKey, &m.identityKey)
	b = appendProtoBytes(b, fieldMessage, m.message)
	b = appendProtoNumber(b, fieldRegistrationID, m.registrationID)
	b = appendProtoNumber(b, fieldSignedPreKeyID, m.signedPreKeyID)
	b = appendProtoNumber(b, fieldKEMPreKeyID, m.kemPreKeyID)
	b = appendProtoSize(b, fieldKEMCiphertext, 1+len(m.kemCiphertext))
	return appendKEM(b, m.kemCiphertext)
}
