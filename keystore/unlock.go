package keystore

import (
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// UnlockOptions change how a vault opens.
type UnlockOptions struct {
	// AcceptRollback opens a vault that is older than one seen before, for reading only. It is logged, and an event.
	AcceptRollback bool
}

// Unlock opens the vault with the password, which the caller wipes.
//
// A wrong password and a header that somebody changed look the same: fault.NotAuthentic. After five failures the answer is
// fault.Busy for a time that RetryAfter tells. Others: fault.NotFound (nobody registered), fault.Policy (another format, derivation
// or cost than policy allows; nothing was derived), fault.Incomplete (no account key on this machine; a record is missing),
// fault.RolledBack, fault.Forked.
func (v *Vault) Unlock(ctx context.Context, password []byte, o UnlockOptions) error {
	_, err := v.UnlockForLogin(ctx, password, o, func() bool { return false })
	return err
}

// CheckPassword reports whether this is the user's password, by the rules of Unlock. It changes nothing.
func (v *Vault) CheckPassword(ctx context.Context, password []byte) error {
	return v.attempt(ctx, func() (bool, error) {
		_, key, err := v.judgePassword(ctx, password)
		key.Wipe()
		return err == nil, err
	})
}

// UnlockUnattended opens the vault with the credential of EnableUnattended. Unattended opening that is off is fault.Forbidden, another
// credential fault.NotAuthentic. Nothing is throttled: 256 random bits are not guessed.
func (v *Vault) UnlockUnattended(ctx context.Context, credential secret.Key) error {
	end, err := v.turn(ctx)
	if err != nil {
		return err
	}
	defer end()
	defer scrubbed()()
	h, err := v.readHeader()
	if err != nil {
		return err
	}
	if h.unattended == nil {
		return fault.New(fault.Forbidden, "unattended opening is off")
	}
	key, err := slotUnattended.open(*h.unattended, credential, h.user, h.keyID)
	if err != nil {
		return v.refused(err)
	}
	return v.enter(ctx, h, key, false)
}

// judged is what a right password led to.
type judged struct {
	header *header    // authentic
	root   secret.Key // root key
	key    secret.Key // vault key
}

// judgePassword opens the vault key with a password. The header is authentic if it succeeds.
func (v *Vault) judgePassword(ctx context.Context, password []byte) (*header, secret.Key, error) {
	j, err := v.judgeRoot(ctx, password)
	j.root.Wipe()
	return j.header, j.key, err
}

// judgeRoot is judgePassword for callers that need the root key, too.
func (v *Vault) judgeRoot(ctx context.Context, password []byte) (judged, error) {
	h, err := v.readHeader()
	if err != nil {
		return judged{}, err
	}
	if err := v.o.Profile.accept(h.kdf); err != nil {
		return judged{}, v.refused(err)
	}
	var account AccountKey
	if h.kdf.accountKey {
		if account, err = v.readAccountKey(h.user); err != nil {
			return judged{}, damaged(err)
		}
		defer account.Wipe()
	}
	root, key, err := deriveAndOpen(ctx, h, password, account)
	return judged{h, root, key}, err
}

// damaged gives an account key file that does not fit a code of its own: it is no wrong password, and must not be counted as one.
func damaged(err error) error {
	if errors.Is(err, fault.NotAuthentic) {
		return fault.Wrap(fault.Incomplete, err, "the account key of this machine is damaged or another user's; the recovery kit has it")
	}
	return err
}

// openByPassword derives the root key, unwraps the vault key and authenticates the header. The block was accepted by policy.
func openByPassword(ctx context.Context, h *header, password []byte, account AccountKey) (secret.Key, error) {
	root, key, err := deriveAndOpen(ctx, h, password, account)
	root.Wipe()
	return key, err
}

// deriveAndOpen is openByPassword for callers that need the root key, too. There are keys only without an error.
func deriveAndOpen(ctx context.Context, h *header, password []byte, account AccountKey) (root, key secret.Key, err error) {
	normal, err := normalPassword(password)
	if err != nil {
		return secret.Key{}, secret.Key{}, wrongPassword(err) // no such password was ever set
	}
	defer secret.Wipe(normal)
	if root, err = rootKey(ctx, normal, h.kdf, account); err != nil {
		return secret.Key{}, secret.Key{}, err
	}
	key, err = openVaultKey(root, "password", h.user, h.keyID, h.password)
	if err == nil {
		err = h.authenticate(key)
	}
	if err != nil {
		root.Wipe()
		key.Wipe()
		return secret.Key{}, secret.Key{}, wrongPassword(err)
	}
	return root, key, nil
}

func wrongPassword(err error) error {
	if errors.Is(err, fault.Policy) {
		return err
	}
	return fault.Wrap(fault.NotAuthentic, err, "the password is wrong, or the vault was changed")
}
