package keystore

import (
	"crypto/hpke"
	"encoding/hex"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
)

// A slot holds the vault key for somebody who has a 32-byte secret: the recovery key of the kit, or the unattended credential.
//
// Two things come from the secret: an HPKE key pair (RFC 9180; X25519 with ML-KEM-768) and a slot key. The keyring keeps the slot
// key, never the secret, so that a password change can fill the slot again. Opening takes both: the exported secret of the HPKE
// encapsulation and the slot key make the key that the vault key is sealed with. So a stolen former vault key opens no later slot
// (it lacks the private half), and nobody who only sees the header can fill one (THREATS V08: he lacks the slot key).
type slot struct {
	_      struct{} `cbor:",toarray"`
	Public []byte   // HPKE public key
	Enc    []byte   // HPKE encapsulated secret
	Sealed []byte   // vault key, as a sealed value
}

// slotKind is what a slot is for; it goes into every label.
type slotKind string

const (
	slotRecovery   slotKind = "recovery"
	slotUnattended slotKind = "unattended"
)

var (
	slotKEM  = hpke.MLKEM768X25519()
	slotKDF  = hpke.HKDFSHA256()
	slotAEAD = hpke.ExportOnly()
)

// slotKey returns the half of the secret that the keyring keeps.
func (k slotKind) slotKey(s secret.Key) secret.Key { return s.Derive("vault/" + string(k) + "/slot") }

func (k slotKind) private(s secret.Key) hpke.PrivateKey {
	seed := s.Derive("vault/" + string(k) + "/hpke")
	defer seed.Wipe()
	private, err := slotKEM.DeriveKeyPair(seed.Bytes())
	if err != nil {
		panic("keystore: " + err.Error())
	}
	return private
}

// info binds an encapsulation to user and slot.
func (k slotKind) info(user uuid.UUID) []byte {
	return append([]byte("coldframe/v1/vault/"+string(k)+"\x00"), user[:]...)
}

// newSlot makes an empty slot for the holder of s, and the slot key that fills it.
func (k slotKind) newSlot(s secret.Key) (slot, secret.Key) {
	return slot{Public: k.private(s).PublicKey().Bytes()}, k.slotKey(s)
}

// fill returns the slot holding the vault key. The public key comes from an authenticated header, or from newSlot.
func (k slotKind) fill(s slot, slotKey secret.Key, user uuid.UUID, id seal.KeyID, vaultKey secret.Key) (slot, error) {
	public, err := slotKEM.NewPublicKey(s.Public)
	if err != nil {
		return slot{}, fault.Wrap(fault.NotAuthentic, err, "a slot of the vault has no public key")
	}
	enc, sender, err := hpke.NewSender(public, slotKDF, slotAEAD, k.info(user))
	if err != nil {
		return slot{}, fault.Wrap(fault.NotAuthentic, err, "a slot of the vault has no usable public key")
	}
	wrap, err := k.wrapKey(sender.Export, slotKey)
	if err != nil {
		return slot{}, err
	}
	defer wrap.Wipe()
	return slot{Public: s.Public, Enc: enc, Sealed: sealVaultKey(wrap, string(k), user, id, vaultKey)}, nil
}

// open returns the vault key. Whatever is wrong is fault.NotAuthentic.
func (k slotKind) open(s slot, holder secret.Key, user uuid.UUID, id seal.KeyID) (secret.Key, error) {
	r, err := hpke.NewRecipient(s.Enc, k.private(holder), slotKDF, slotAEAD, k.info(user))
	if err != nil {
		return secret.Key{}, fault.Wrap(fault.NotAuthentic, err, "the vault does not open with this key")
	}
	slotKey := k.slotKey(holder)
	defer slotKey.Wipe()
	wrap, err := k.wrapKey(r.Export, slotKey)
	if err != nil {
		return secret.Key{}, err
	}
	defer wrap.Wipe()
	return openVaultKey(wrap, string(k), user, id, s.Sealed)
}

// wrapKey makes the key that seals the vault key in a slot, from both halves.
func (k slotKind) wrapKey(export func(string, int) ([]byte, error), slotKey secret.Key) (secret.Key, error) {
	shared, err := export("coldframe/v1/vault/"+string(k), secret.KeySize)
	if err != nil {
		return secret.Key{}, fault.Wrap(fault.Internal, err, "no secret for a slot of the vault")
	}
	defer secret.Wipe(shared)
	return slotKey.Derive("vault/"+string(k)+"/wrap", shared), nil
}

// sealVaultKey wraps the vault key of that id for one way of opening: "password" or a slot.
func sealVaultKey(wrap secret.Key, way string, user uuid.UUID, id seal.KeyID, vaultKey secret.Key) []byte {
	return seal.Seal(wrap, id, "vault/wrap/"+way, wrapContext(way, user, id), vaultKey.Bytes())
}

func openVaultKey(wrap secret.Key, way string, user uuid.UUID, id seal.KeyID, sealed []byte) (secret.Key, error) {
	raw, err := seal.Open(wrap, "vault/wrap/"+way, wrapContext(way, user, id), sealed)
	if err != nil {
		return secret.Key{}, err
	}
	key, err := secret.FromBytes(raw)
	if err != nil {
		return secret.Key{}, fault.New(fault.NotAuthentic, "the wrapped vault key has another length")
	}
	return key, nil
}

func wrapContext(way string, user uuid.UUID, id seal.KeyID) seal.Context {
	return seal.Context{Owner: user.String(), Type: "vault-key", ID: hex.EncodeToString(id[:]), Field: way, Version: headerVersion}
}
