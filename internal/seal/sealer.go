package seal

import (
	"crypto/subtle"

	tink "github.com/tink-crypto/tink-go/v2/aead/subtle"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// Sealer seals and opens values of one key, key id and purpose, as Seal and Open do, each the other's values. What these derive at
// every call it keeps: the header with the commitment, and the cipher, whose copy of the derived key stays in memory for as long as
// the Sealer does. It is for what is sealed again and again under one key, such as a session at every message. Calls may run at once.
type Sealer struct {
	key     secret.Key
	purpose string
	header  []byte
	cipher  *tink.AESGCMSIV
}

// NewSealer returns the Sealer of key, id and purpose. It panics if there is no key, and on a malformed purpose. It does not take the
// key over: once the key is wiped, Open says fault.Locked and Seal panics, as without a Sealer.
func NewSealer(key secret.Key, id KeyID, purpose string) *Sealer {
	return &Sealer{key: key, purpose: purpose, header: appendHeader(nil, key, id, purpose), cipher: cipherOf(key, id, purpose)}
}

// Seal encrypts plaintext for the given place. It panics if the key was wiped, and if the plaintext is larger than MaxPlaintext.
func (s *Sealer) Seal(c Context, plaintext []byte) []byte {
	if s.key.IsZero() {
		panic("seal: the key is not there")
	}
	if len(plaintext) > MaxPlaintext {
		panic("seal: plaintext too large")
	}
	body, err := s.cipher.Encrypt(plaintext, associate(s.header, c))
	if err != nil {
		panic("seal: " + err.Error())
	}
	sealed := make([]byte, 0, len(s.header)+len(body))
	sealed = append(sealed, s.header...)
	return append(sealed, body...) // the body starts with its random nonce
}

// Open decrypts a sealed value, with the errors of the function Open; a value of another key id is fault.NotAuthentic too.
func (s *Sealer) Open(c Context, sealed []byte) ([]byte, error) {
	if s.key.IsZero() {
		return nil, fault.New(fault.Locked, "the key is not there")
	}
	if !possible(s.purpose, sealed) {
		return nil, versionFault(sealed)
	}
	header := sealed[:len(s.header)]
	plaintext, err := s.cipher.Decrypt(sealed[len(header):], associate(header, c))
	opened := subtle.ConstantTimeCompare(header, s.header)
	if err != nil {
		opened = 0
	}
	if opened != 1 {
		secret.Wipe(plaintext)
		return nil, versionFault(sealed)
	}
	return plaintext, nil
}

// possible reports whether a value sealed for purpose can have the length of sealed.
func possible(purpose string, sealed []byte) bool {
	return len(sealed) >= Overhead(purpose) && len(sealed) <= Overhead(purpose)+MaxPlaintext
}
