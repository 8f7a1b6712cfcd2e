package keystore

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// The header:
//
//	magic "CFVH" ‖ format version (1) ‖ deterministic CBOR of headerBody ‖ HMAC-SHA-256 (32)
//
// The HMAC is over everything before it, under a subkey of the vault key: whoever opened the vault key by any of its wraps checks
// it next, so no field can be edited (THREATS V10).
const (
	headerMagic   = "CFVH"
	headerVersion = 1
	headerMAC     = sha256.Size
	maxHeader     = 64 << 10
)

// headerBody is the readable part of a header. There is no e-mail address in it, only the salt made from it.
type headerBody struct {
	User       []byte `cbor:"1,keyasint"` // UUID, 16 bytes
	Created    int64  `cbor:"2,keyasint"` // Unix seconds
	KDF        []byte `cbor:"3,keyasint"` // KDF parameter block
	KeyID      []byte `cbor:"4,keyasint"` // of the present vault key
	Password   []byte `cbor:"5,keyasint"` // vault key sealed under the root key
	Recovery   slot   `cbor:"6,keyasint"`
	Unattended *slot  `cbor:"7,keyasint,omitempty"`
}

// header is a parsed header. Nothing in it is authentic before authenticate.
type header struct {
	user       uuid.UUID
	created    time.Time
	kdf        kdfBlock
	keyID      seal.KeyID
	password   []byte
	recovery   slot
	unattended *slot

	raw []byte // as stored
}

// parseHeader reads a header. Another format version or key derivation is fault.Policy, anything else fault.NotAuthentic.
func parseHeader(raw []byte) (*header, error) {
	if len(raw) > maxHeader {
		return nil, fault.New(fault.TooLarge, "the vault header is too large")
	}
	if len(raw) < len(headerMagic)+1+headerMAC || !strings.HasPrefix(string(raw), headerMagic) {
		return nil, fault.New(fault.NotAuthentic, "the vault header is damaged")
	}
	if v := raw[len(headerMagic)]; v != headerVersion {
		return nil, fault.New(fault.Policy, "the vault has format version %d, this program has %d", v, headerVersion)
	}
	var b headerBody
	if err := decode(raw[len(headerMagic)+1:len(raw)-headerMAC], &b); err != nil {
		return nil, err
	}
	block, err := parseKDFBlock(b.KDF)
	if err != nil {
		return nil, err
	}
	if len(b.User) != 16 || len(b.KeyID) != 16 {
		return nil, fault.New(fault.NotAuthentic, "the vault header is damaged")
	}
	return &header{
		user: uuid.UUID(b.User), created: time.Unix(b.Created, 0).UTC(), kdf: block, keyID: seal.KeyID(b.KeyID),
		password: b.Password, recovery: b.Recovery, unattended: b.Unattended, raw: raw,
	}, nil
}

// encode returns the header's bytes, authenticated under the vault key, and keeps them in raw.
func (h *header) encode(vaultKey secret.Key) ([]byte, error) {
	body, err := signed.Marshal(headerBody{
		User: h.user[:], Created: h.created.Unix(), KDF: h.kdf.encode(), KeyID: h.keyID[:],
		Password: h.password, Recovery: h.recovery, Unattended: h.unattended,
	})
	if err != nil {
		return nil, err
	}
	raw := append([]byte(headerMagic), headerVersion)
	raw = append(raw, body...)
	h.raw = append(raw, mac(vaultKey, "vault/header", raw)...)
	return h.raw, nil
}

// authenticate checks the header under the vault key that one of its wraps gave.
func (h *header) authenticate(vaultKey secret.Key) error {
	at := len(h.raw) - headerMAC
	if !hmac.Equal(mac(vaultKey, "vault/header", h.raw[:at]), h.raw[at:]) {
		return fault.New(fault.NotAuthentic, "the vault header was changed")
	}
	return nil
}

// mac returns HMAC-SHA-256 of data under the subkey of that label.
func mac(key secret.Key, label string, data []byte) []byte {
	sub := key.Derive(label)
	defer sub.Wipe()
	m := hmac.New(sha256.New, sub.Bytes())
	m.Write(data)
	return m.Sum(nil)
}
