package keystore

import (
	"context"
	"crypto/subtle"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// KitChange is a kit that takes the place of the present one, and what comes with that.
type KitChange struct {
	Kit     RecoveryKit // of DraftKit
	Address bool        // its address becomes the account's; else it must be that

	Within func(tx *Tx) error                         // called inside the change, if there is one; nil: nothing
	Record func(tx *kv.Tx, before, after Proof) error // as in ChangePasswordForLogin; nil: nothing
}

// DraftKit returns a kit with a new recovery key, for the present address or, if there is one, for another. It opens nothing before UseKit, and
// nothing keeps it: so it can be in the user's hands before the present one is worth nothing any more. The vault must be open. The caller wipes it.
// Failures: those of Unlock for the password, fault.InvalidRequest for what is no address, or is the present one, fault.Policy for a password
// that is easy to guess from the address.
func (v *Vault) DraftKit(ctx context.Context, password []byte, email string) (kit RecoveryKit, err error) {
	if _, err := v.writable(); err != nil {
		return RecoveryKit{}, err
	}
	err = v.attempt(ctx, func() (bool, error) {
		h, key, err := v.judgePassword(ctx, password)
		key.Wipe()
		if err != nil {
			return false, err
		}
		kit, err = v.draft(h, password, email)
		return true, err
	})
	return kit, err
}

func (v *Vault) draft(h *header, password []byte, email string) (RecoveryKit, error) {
	address := v.Email()
	if email != "" {
		normal, err := normalEmail(email)
		if err == nil && normal == address {
			err = fault.New(fault.InvalidRequest, "the account has this address already")
		}
		if err == nil {
			err = strongFor(password, normal)
		}
		if err != nil {
			return RecoveryKit{}, err
		}
		address = normal
	}
	account, err := v.accountKeyOf(h)
	if err != nil {
		return RecoveryKit{}, err
	}
	return RecoveryKit{UserID: h.user.String(), Email: address, Params: h.kdf.Params, AccountKey: account, RecoveryKey: secret.Random()}, nil
}

// strongFor refuses a password that is easy to guess from an address.
func strongFor(password []byte, email string) error {
	normal, err := newPassword(password, email)
	secret.Wipe(normal)
	return err
}

// UseKit makes a kit of DraftKit the one that opens the vault, all or nothing: the former opens nothing from then on. With Address the salt changes with the
// address, so the vault key is wrapped anew; no item is touched (THREATS V13). The same again, after an answer that was lost, changes nothing.
// Failures: those of Unlock for the password, fault.InvalidRequest for a kit of another account, fault.Conflict if the address is another one by now, those of
// UpdateContext.
func (v *Vault) UseKit(ctx context.Context, password []byte, c KitChange) error {
	if v.State() != Unlocked {
		_, err := v.writable()
		return err
	}
	return v.attempt(ctx, func() (bool, error) {
		j, err := v.judgeRoot(ctx, password)
		if err != nil {
			return false, err
		}
		defer j.root.Wipe()
		j.key.Wipe()
		return true, v.useKit(ctx, j, password, c)
	})
}

func (v *Vault) useKit(ctx context.Context, j judged, password []byte, c KitChange) error {
	if err := v.ofAccount(j.header, c.Kit); err != nil {
		return err
	}
	block, root, err := v.wrapFor(ctx, j.header, password, c)
	if err != nil {
		return err
	}
	defer root.Wipe()
	proofs, err := v.newProofChange(ctx, j, c.Record)
	defer proofs.wipe()
	if err != nil {
		return err
	}
	after, err := proofs.after(ctx, root, block)
	if err != nil {
		return err
	}
	defer after.Wipe()
	if proofs != nil {
		proofs.recovery = c.Kit.Proof()
	}
	return v.UpdateContext(ctx, func(tx *Tx) error {
		switch {
		case tx.c.opensWith(c.Kit):
			return nil // as the answer to the same call was lost
		case tx.c.header.kdf.salt != j.header.kdf.salt:
			return errOtherAddress
		}
		err := errors.Join(tx.replaceRecovery(c.Kit, block, root), proofs.commit(tx, after))
		if err == nil && c.Within != nil {
			err = c.Within(tx)
		}
		return err
	})
}

// ofAccount refuses a kit that says anything else of the account than is known here.
func (v *Vault) ofAccount(h *header, kit RecoveryKit) error {
	account, err := v.accountKeyOf(h)
	if err != nil {
		return err
	}
	defer account.Wipe()
	same := kit.UserID == h.user.String() && kit.Params == h.kdf.Params && !kit.RecoveryKey.IsZero()
	if !same || subtle.ConstantTimeCompare(account.bytes(), kit.AccountKey.bytes()) != 1 {
		return fault.New(fault.InvalidRequest, "this is no recovery kit of this account")
	}
	return nil
}

// wrapFor returns the derivation that a kit stands for and, if that is another one than the present, the root key by it.
func (v *Vault) wrapFor(ctx context.Context, h *header, password []byte, c KitChange) (block kdfBlock, root secret.Key, err error) {
	block = h.kdf
	if block.salt = emailSalt(c.Kit.Email); block.salt == h.kdf.salt {
		return block, root, nil
	}
	if !c.Address {
		return block, root, errOtherAddress
	}
	normal, err := newPassword(password, c.Kit.Email) // it may be easy to guess from the new address
	if err != nil {
		return block, root, err
	}
	defer secret.Wipe(normal)
	root, err = rootKey(ctx, normal, block, c.Kit.AccountKey)
	return block, root, err
}

// opensWith reports whether a kit is the present one.
func (c *contents) opensWith(kit RecoveryKit) bool {
	_, slotKey := slotRecovery.newSlot(kit.RecoveryKey)
	defer slotKey.Wipe()
	return c.email == kit.Email && c.keys.recovery.Equal(slotKey)
}

// CheckKit reports whether a kit opens the vault that is here, open or not: another user's, or one that was replaced, is fault.NotAuthentic and counts as a
// wrong password. A replica may have a newer vault: Sync comes first. It is fault.Unavailable while a change is pending that may replace the kit.
func (v *Vault) CheckKit(ctx context.Context, kit RecoveryKit) error {
	return v.attempt(ctx, func() (bool, error) {
		h, err := v.decidedHeader()
		if err != nil {
			return false, err
		}
		_, key, err := v.judgeKit(h, kit)
		key.Wipe()
		return err == nil, err
	})
}

// decidedHeader is readHeader, and fault.Unavailable while nobody knows whether that is the header.
func (v *Vault) decidedHeader() (*header, error) {
	pending := false
	err := v.db.View(func(tx *kv.Tx) (err error) {
		pending, err = PendingWrites(tx, recordHeader)
		return err
	})
	if err == nil && pending {
		err = fault.New(fault.Unavailable, "a change that may replace the recovery kit is pending: which one is valid will be seen once the coordinator can be reached")
	}
	if err != nil {
		return nil, err
	}
	return v.readHeader()
}

// replaceRecovery puts a new recovery key and, if there is a root key, a new wrap by the password into the header.
func (tx *Tx) replaceRecovery(kit RecoveryKit, block kdfBlock, root secret.Key) (err error) {
	h, keys := *tx.c.header, *tx.c.keys
	if !root.IsZero() {
		h.kdf = block
		h.password = sealVaultKey(root, "password", h.user, keys.id, keys.current)
	}
	empty, slotKey := slotRecovery.newSlot(kit.RecoveryKey)
	keys.recovery = slotKey
	if h.recovery, err = slotRecovery.fill(empty, slotKey, h.user, keys.id, keys.current); err != nil {
		return err
	}
	tx.header, tx.keys, tx.email = &h, &keys, kit.Email
	return nil
}
