package seal

import (
	"crypto/rand"
	"encoding/hex"

	tink "github.com/tink-crypto/tink-go/v2/aead/subtle"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

const (
	magic   = "CFSV"
	version = 1

	commitmentSize = 32
	nonceSize      = 12
	tagSize        = 16

	maxPurpose = 64

	// MaxPlaintext is the size of the largest value, in bytes. Larger things are no sealed values: they are columns.
	MaxPlaintext = 64 << 20

	labelKey        = "seal/key"
	labelCommitment = "seal/commitment"
)

// KeyID names a key. It is random: it tells nothing about the key.
type KeyID [16]byte

// RandomKeyID returns a new id.
func RandomKeyID() KeyID {
	var id KeyID
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	return id
}

// String returns the id in hexadecimal.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Context is the place of a value. Opening needs exactly the one it was sealed with.
type Context struct {
	Owner   string `json:"owner"`   // user or dataset
	Type    string `json:"type"`    // kind of the object, such as "vault"
	ID      string `json:"id"`      // the object
	Field   string `json:"field"`   // part of the object; "" if it has none
	Version uint64 `json:"version"` // of the object; 0 if it has none
}

// Overhead returns how many bytes longer than its plaintext a value sealed for purpose is.
func Overhead(purpose string) int { return headerSize(purpose) + nonceSize + tagSize }

// Seal encrypts plaintext for the given purpose and place. It panics if there is no key, if the purpose is not 1 to 64 characters of
// a-z, 0-9, "/" and "-", and if the plaintext is larger than MaxPlaintext.
func Seal(key secret.Key, id KeyID, purpose string, c Context, plaintext []byte) []byte {
	return NewSealer(key, id, purpose).Seal(c, plaintext)
}

// Open decrypts a sealed value. Bytes that are not the value sealed with this key for this purpose and place are
// fault.NotAuthentic, after the same work whatever is wrong with them; another format version is fault.Policy, and no key is
// fault.Locked. It panics on a malformed purpose.
func Open(key secret.Key, purpose string, c Context, sealed []byte) ([]byte, error) {
	checkPurpose(purpose)
	if key.IsZero() {
		return nil, fault.New(fault.Locked, "the key is not there")
	}
	if !possible(purpose, sealed) {
		return nil, versionFault(sealed)
	}
	id := KeyID(sealed[headerSize(purpose)-commitmentSize-len(KeyID{}):])
	return NewSealer(key, id, purpose).Open(c, sealed)
}

// versionFault is the error for bytes that do not open.
func versionFault(sealed []byte) error {
	if len(sealed) > len(magic) && string(sealed[:len(magic)]) == magic && sealed[len(magic)] != version {
		return fault.New(fault.Policy, "sealed value of format version %d, this program has %d", sealed[len(magic)], version)
	}
	return fault.New(fault.NotAuthentic, "sealed value does not open")
}

// IDOf returns the id of the key that a sealed value says it is for. Nothing is verified: it helps to find the key, no more.
func IDOf(sealed []byte) (KeyID, error) {
	if len(sealed) < len(magic)+2 || string(sealed[:len(magic)]) != magic || sealed[len(magic)] != version {
		return KeyID{}, versionFault(sealed)
	}
	at := len(magic) + 2 + int(sealed[len(magic)+1])
	if len(sealed) < at+len(KeyID{})+commitmentSize+nonceSize+tagSize {
		return KeyID{}, versionFault(sealed)
	}
	return KeyID(sealed[at:]), nil
}

// Commitment returns a hash that only this key has, for this id: HKDF-SHA-256 with its own label. Compare in constant time.
// It panics if there is no key.
func Commitment(key secret.Key, id []byte) [commitmentSize]byte {
	sub := key.Derive(labelCommitment, id)
	defer sub.Wipe()
	return [commitmentSize]byte(sub.Bytes())
}

// headerSize is the length of the header up to and with the commitment, in bytes.
func headerSize(purpose string) int {
	return len(magic) + 1 + 1 + len(purpose) + len(KeyID{}) + commitmentSize
}

// appendHeader appends magic ‖ version ‖ length of purpose ‖ purpose ‖ key id ‖ commitment.
func appendHeader(b []byte, key secret.Key, id KeyID, purpose string) []byte {
	checkPurpose(purpose)
	commitment := Commitment(key, append(id[:], purpose...))
	b = append(b, magic...)
	b = append(b, version, byte(len(purpose)))
	b = append(b, purpose...)
	b = append(b, id[:]...)
	return append(b, commitment[:]...)
}

// cipherOf returns the cipher of one key, id and purpose.
func cipherOf(key secret.Key, id KeyID, purpose string) *tink.AESGCMSIV {
	sub := key.Derive(labelKey, []byte(purpose), id[:])
	defer sub.Wipe()
	c, err := tink.NewAESGCMSIV(sub.Bytes())
	if err != nil {
		panic("seal: " + err.Error())
	}
	return c
}

func checkPurpose(purpose string) {
	ok := len(purpose) >= 1 && len(purpose) <= maxPurpose
	for _, r := range purpose {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '/' || r == '-')
	}
	if !ok {
		panic("seal: malformed purpose")
	}
}
