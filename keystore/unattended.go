package keystore

import (
	"context"

	"coldframe/internal/secret"
)

// EnableUnattended makes a credential that opens this vault without the password, and returns it; it is for a keeper that gives it to
// this machine alone, such as systemd-creds or a TPM. A credential of before opens nothing from then on. The vault must be open;
// failures are those of Unlock.
func (v *Vault) EnableUnattended(ctx context.Context, password []byte) (secret.Key, error) {
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
		return true, v.Update(func(tx *Tx) error { return tx.setUnattended(credential) })
	})
	if err != nil {
		credential.Wipe()
		return secret.Key{}, err
	}
	return credential, nil
}

// DisableUnattended takes the credential's slot out of the header. An older copy of the database still opens with it; a password change
// makes such a copy useless for everything written later.
func (v *Vault) DisableUnattended(context.Context) error {
	return v.Update(func(tx *Tx) error {
		if tx.c.header.unattended == nil {
			return nil
		}
		return tx.setUnattended(secret.Key{})
	})
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
	return nil
}
