package keystore

import (
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// ChangePassword sets a new password and replaces the vault key; items sealed under the former one stay as they are. Recovery kit,
// account key, derivation costs and unattended credential stay valid. The vault is open afterwards. The caller wipes both passwords.
// Failures: those of Unlock for the old password, fault.Policy for a new one that is too easy to guess.
func (v *Vault) ChangePassword(ctx context.Context, oldPassword, newPassword []byte) error {
	return v.changePassword(ctx, oldPassword, newPassword, nil)
}

func (v *Vault) changePassword(ctx context.Context, oldPassword, newPassword []byte, record func(tx *kv.Tx, before, after Proof) error) error {
	return v.attempt(ctx, func() (bool, error) {
		j, err := v.judgeRoot(ctx, oldPassword)
		if err != nil {
			return false, err
		}
		defer j.root.Wipe()
		return true, v.orStayLocked(func() error {
			if err := v.enter(ctx, j.header, j.key, false); err != nil {
				return err
			}
			account, err := v.accountKeyOf(j.header)
			if err != nil {
				return err
			}
			defer account.Wipe()
			proofs, err := v.newProofChange(ctx, j, record)
			defer proofs.wipe()
			if err != nil {
				return err
			}
			return v.rekey(ctx, newPassword, j.header.kdf, account, EventPasswordChanged, proofs)
		})
	})
}

// Recover sets a new password with the recovery kit, which stays valid, and replaces the vault key. It also puts the account key back
// on this machine. The vault is open afterwards. Another user's kit, or one that was replaced, is fault.NotAuthentic and counts as a
// wrong password; costs outside policy are fault.Policy.
func (v *Vault) Recover(ctx context.Context, kit RecoveryKit, newPassword []byte) error {
	return v.attempt(ctx, func() (bool, error) {
		h, err := v.readHeader()
		if err != nil {
			return false, err
		}
		block, key, err := v.judgeKit(h, kit)
		if err != nil {
			return false, err
		}
		return true, v.orStayLocked(func() error {
			if err := v.enter(ctx, h, key, false); err != nil {
				return err
			}
			if err := v.keepAccountKey(h, kit.AccountKey); err != nil {
				return err
			}
			proofs, err := v.recoveredProofs(kit)
			defer proofs.wipe()
			if err != nil {
				return err
			}
			return v.rekey(ctx, newPassword, block, kit.AccountKey, EventRecovered, proofs)
		})
	})
}

// judgeKit opens the vault key with the recovery key. The costs come from the kit.
func (v *Vault) judgeKit(h *header, kit RecoveryKit) (kdfBlock, secret.Key, error) {
	block := h.kdf
	block.Params = kit.Params
	if err := v.o.Profile.accept(block); err != nil {
		return block, secret.Key{}, v.refused(err)
	}
	if kit.UserID != h.user.String() {
		return block, secret.Key{}, fault.New(fault.NotAuthentic, "the recovery kit is another user's")
	}
	key, err := slotRecovery.open(h.recovery, kit.RecoveryKey, h.user, h.keyID)
	if err == nil {
		err = h.authenticate(key)
	}
	if err == nil && h.kdf.accountKey == kit.AccountKey.IsZero() {
		err = fault.New(fault.NotAuthentic, "the account key of the recovery kit is missing")
	}
	if err != nil {
		key.Wipe()
		return block, secret.Key{}, fault.Wrap(fault.NotAuthentic, err, "the recovery kit does not open this vault, or the vault was changed")
	}
	return block, key, nil
}

// orStayLocked runs fn and, if it fails, locks a vault that was locked before.
func (v *Vault) orStayLocked(fn func() error) error {
	v.mu.RLock()
	wasOpen := v.c != nil
	v.mu.RUnlock()
	err := fn()
	if err != nil && !wasOpen {
		v.lockAgain()
	}
	return err
}

func (v *Vault) accountKeyOf(h *header) (AccountKey, error) {
	if !h.kdf.accountKey {
		return AccountKey{}, nil
	}
	return v.readAccountKey(h.user)
}

// keepAccountKey writes the account key of a kit where this machine has none or another.
func (v *Vault) keepAccountKey(h *header, account AccountKey) error {
	if !h.kdf.accountKey {
		return nil
	}
	return v.writeAccountKey(h.user, account)
}

// rekey makes a new vault key and wraps it for the new password and for the slots that there are. Proofs, if not
// nil, are recorded in the same transaction.
func (v *Vault) rekey(ctx context.Context, newPass []byte, block kdfBlock, account AccountKey, event string, proofs *proofChange) error {
	password, err := newPassword(newPass, v.Email())
	if err != nil {
		return err
	}
	defer secret.Wipe(password)
	root, err := rootKey(ctx, password, block, account)
	if err != nil {
		return err
	}
	defer root.Wipe()
	after, err := proofs.after(ctx, root, block)
	if err != nil {
		return err
	}
	defer after.Wipe()
	var renewed *keyring
	err = v.UpdateContext(ctx, func(tx *Tx) error {
		if renewed != nil {
			renewed.current.Wipe()
		}
		if tx.c.header.kdf.salt != block.salt {
			return errOtherAddress
		}
		renewed = tx.c.keys.renewed()
		h := *tx.c.header
		h.kdf, h.keyID = block, renewed.id
		h.password = sealVaultKey(root, "password", h.user, renewed.id, renewed.current)
		tx.header, tx.keys = &h, renewed
		return errors.Join(h.refill(renewed), proofs.commit(tx, after))
	})
	if err != nil {
		if renewed != nil {
			renewed.current.Wipe()
		}
		return err
	}
	v.notify(event)
	return nil
}

var errOtherAddress = fault.New(fault.Conflict, "the address was changed on another device meanwhile")

// refill wraps the vault key again for the holders of recovery key and unattended credential.
func (h *header) refill(keys *keyring) (err error) {
	if h.recovery, err = slotRecovery.fill(h.recovery, keys.recovery, h.user, keys.id, keys.current); err != nil {
		return err
	}
	if h.unattended == nil {
		return nil
	}
	filled, err := slotUnattended.fill(*h.unattended, keys.unattended, h.user, keys.id, keys.current)
	h.unattended = &filled
	return err
}
