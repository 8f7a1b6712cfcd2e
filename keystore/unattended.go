package keystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// EnableUnattended makes a credential that opens this vault without the password, and returns it; it is for a keeper that gives it to
// this machine alone, such as systemd-creds or a TPM. A credential of before opens nothing from then on. There is one for a user: while another
// machine has it, this is fault.Conflict, until DisableUnattended takes it from there. The vault must be open; other failures are those of
// Unlock and Update. A credential that comes with an error (see Undecided) may become the valid one.
func (v *Vault) EnableUnattended(ctx context.Context, password []byte) (secret.Key, error) {
	return v.EnableUnattendedWith(ctx, password, func(*Tx, [32]byte) error { return nil })
}

// EnableUnattendedWith is EnableUnattended; also is called inside the change with what UnattendedSlot returns after it.
func (v *Vault) EnableUnattendedWith(ctx context.Context, password []byte, also func(tx *Tx, slot [32]byte) error) (secret.Key, error) {
	if _, err := v.writable(); err != nil {
		return secret.Key{}, err
	}
	credential := secret.Random()
	err := v.attempt(ctx, func() (bool, error) {
		_, key, err := v.judgePassword(ctx, password)
		if err != nil {
			return false, err
		}
		key.Wipe()
		return true, v.UpdateContext(ctx, func(tx *Tx) error {
			if own, err := ownSlot(tx.kv, tx.c.header); err != nil || !own && tx.c.header.unattended != nil {
				return errors.Join(err, errOtherMachine)
			}
			if err := tx.setUnattended(credential); err != nil {
				return err
			}
			return also(tx, sha256.Sum256(tx.header.unattended.Public))
		})
	})
	if err != nil && !Undecided(err) {
		credential.Wipe()
		return secret.Key{}, err
	}
	return credential, err
}

var errOtherMachine error = fault.New(fault.Conflict, "another machine opens the vault unattended; turn that off first, here or there")

// ownSlot reports whether the unattended slot of a header is this machine's: a local record has the SHA-256 of its public key. A vault that
// no replica keeps has no other machine.
func ownSlot(tx *kv.Tx, h *header) (bool, error) {
	if h.unattended == nil {
		return false, nil
	}
	if m, err := readMembership(tx); err != nil || !m.replicated() {
		return err == nil, err
	}
	own, err := tx.Get(recordUnattended)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	sum := sha256.Sum256(h.unattended.Public)
	return bytes.Equal(own, sum[:]), err
}

// noteSlot notes that the unattended slot of a header, if there is one, is this machine's.
func noteSlot(tx *kv.Tx, h *header) error {
	if h.unattended == nil {
		return tx.Delete(recordUnattended)
	}
	sum := sha256.Sum256(h.unattended.Public)
	return tx.Set(recordUnattended, sum[:])
}

// DisableUnattended takes the credential's slot out of the header. An older copy of the database still opens with it; a password change
// makes such a copy useless for everything written later.
func (v *Vault) DisableUnattended(ctx context.Context) error {
	return v.UpdateContext(ctx, func(tx *Tx) error {
		if tx.c.header.unattended == nil {
			return nil
		}
		return tx.setUnattended(secret.Key{})
	})
}

// UnattendedSlot returns the SHA-256 of the public key of the slot that a credential opens, of whichever machine that is; ok is false if there is
// none. Another credential has another. While the vault is locked it is what the header says, unverified.
func (v *Vault) UnattendedSlot() (sum [32]byte, ok bool) {
	h := v.anyHeader()
	if h == nil || h.unattended == nil {
		return sum, false
	}
	return sha256.Sum256(h.unattended.Public), true
}

// FollowUnattended takes over the vault that the replica has with the credential of this machine, for which every device fills the slot again that
// changes the password. The vault here may be open, and stays so. Failures are those of Follow but for passwords; fault.Locked is a vault of which
// this credential opens no slot. A machine that was removed fills the slot of a vault of its own: that lacks the vault key which is here, open or not,
// and is fault.NotAuthentic.
func (v *Vault) FollowUnattended(ctx context.Context, r Replica, credential secret.Key) error {
	ctx, end := v.untilLocked(ctx)
	defer end()
	return orLocked(ctx, v.suspicious(v.followBySlot(ctx, r, credential)))
}

func (v *Vault) followBySlot(ctx context.Context, r Replica, credential secret.Key) error {
	own, err := v.readHeader()
	if err != nil {
		return err
	}
	b, h, err := rootOf(ctx, r)
	if err != nil {
		return err
	}
	if h.user != own.user {
		return errOtherUser
	}
	if h.unattended == nil || !bytes.Equal(h.unattended.Public, slotUnattended.private(credential).PublicKey().Bytes()) {
		return errOtherKey
	}
	key, err := slotUnattended.open(*h.unattended, credential, h.user, h.keyID)
	if err != nil {
		return err
	}
	return v.follow(ctx, r, b, h, key)
}

// setUnattended fills a new slot for the credential, or removes the slot if there is no credential.
func (tx *Tx) setUnattended(credential secret.Key) error {
	h, keys := *tx.c.header, *tx.c.keys
	h.unattended, keys.unattended = nil, secret.Key{}
	if !credential.IsZero() {
		empty, slotKey := slotUnattended.newSlot(credential)
		filled, err := slotUnattended.fill(empty, slotKey, h.user, keys.id, keys.current)
		if err != nil {
			return err
		}
		h.unattended, keys.unattended = &filled, slotKey
	}
	tx.header, tx.keys = &h, &keys
	return noteSlot(tx.kv, &h)
}
