package keystore

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// FetchOptions say how the vault of a replica is opened on a machine that has none.
type FetchOptions struct {
	Kit      RecoveryKit // gives user, derivation and account key: they are never taken from the replica
	Password []byte

	// NewPassword is the password from now on where there is no Password: the kit's recovery key opens the vault.
	NewPassword []byte
}

// Fetch makes a vault on this machine of the one that the replica has, and leaves it open; all of it or nothing, and never over an existing
// vault. Afterwards it is Fresh. The caller wipes passwords and kit. A crash before a new password is set leaves the former one valid.
//
// Failures: fault.Conflict (there is an account), fault.NotFound (the replica has no vault), fault.Policy (it has another format or derivation
// than the kit says; nothing was derived), fault.NotAuthentic (a wrong password, kit, or vault), those of Sync, and with NewPassword those of
// ChangePassword.
func (v *Vault) Fetch(ctx context.Context, r Replica, o FetchOptions) error {
	if len(o.Password) == 0 && len(o.NewPassword) == 0 {
		return fault.New(fault.InvalidRequest, "a vault opens with its password, or with the recovery kit and a new password")
	}
	if len(o.Password) == 0 {
		if err := checkKitPassword(RestoreOptions{Kit: &o.Kit, NewPassword: o.NewPassword}); err != nil {
			return err
		}
	}
	if err := v.mustBeEmpty(); err != nil {
		return err
	}
	b, h, err := rootOf(ctx, r)
	if err != nil {
		return v.suspicious(err)
	}
	block, err := v.blockOf(h, o.Kit)
	if err != nil {
		return v.suspicious(err)
	}
	err = v.attempt(ctx, func() (bool, error) {
		if err := v.mustBeEmpty(); err != nil {
			return false, err
		}
		return v.fetch(ctx, r, b, h, o)
	})
	if err != nil || len(o.Password) > 0 {
		return err
	}
	v.Connect(r)
	proofs := &proofChange{before: o.Kit.Proof()}
	defer proofs.wipe()
	return v.rekey(ctx, o.NewPassword, block, o.Kit.AccountKey, EventRecovered, proofs)
}

// rootOf reads the root blob of a replica, and its header.
func rootOf(ctx context.Context, r Replica) (rootBlob, *header, error) {
	there, err := one(ctx, r, remoteRoot)
	if err != nil {
		return rootBlob{}, nil, err
	}
	if len(there.Body) == 0 {
		return rootBlob{}, nil, fault.New(fault.NotFound, "the replica has no vault")
	}
	b, err := parseRootBlob(there.Body)
	if err != nil {
		return b, nil, err
	}
	h, err := parseHeader(b.header)
	return b, h, err
}

// blockOf returns what the kit says of the derivation, and refuses a header that says anything else (THREATS V01-V03, V05).
func (v *Vault) blockOf(h *header, kit RecoveryKit) (kdfBlock, error) {
	block := kdfBlock{Params: kit.Params, accountKey: !kit.AccountKey.IsZero(), salt: emailSalt(kit.Email)}
	if id, err := uuid.Parse(kit.UserID); err != nil || id != h.user {
		return block, fault.New(fault.NotAuthentic, "the vault on the replica is not the one of the recovery kit")
	}
	if h.kdf != block {
		return block, fault.New(fault.Policy, "the vault on the replica has another key derivation than the recovery kit says")
	}
	return block, v.o.Profile.accept(block)
}

// fetch opens a root blob with password or kit and takes the vault over.
func (v *Vault) fetch(ctx context.Context, r Replica, b rootBlob, h *header, o FetchOptions) (right bool, err error) {
	var key secret.Key
	if len(o.Password) > 0 {
		key, err = openByPassword(ctx, h, o.Password, o.Kit.AccountKey)
	} else {
		_, key, err = v.judgeKit(h, o.Kit)
	}
	if err != nil {
		return false, err
	}
	v.writing.Lock()
	defer v.writing.Unlock()
	next, top, err := v.openRemote(b, h, key)
	if err != nil {
		return true, v.refused(err)
	}
	// A machine that lost its database may have the anchor. It may also be of a Fetch that failed, so it does not make the vault less fresh.
	if _, err := v.followsAnchor(next); err != nil && !errors.Is(err, fault.NotAuthentic) {
		next.keys.wipe()
		return true, v.suspicious(err)
	}
	if err := v.writeFiles(next, o.Kit.AccountKey); err != nil { // before the records, as in Register
		next.keys.wipe()
		return true, err
	}
	if err := v.takeOver(ctx, r, b, next, top, false); err != nil {
		return true, v.suspicious(err)
	}
	v.become(next, false)
	return true, nil
}

// Follow opens the vault that the replica has with the password that another device set, and takes it over. A kit is needed where the address
// changed as well, nil otherwise: the derivation is the one that is known here, or the kit's, never the replica's. The rules of Unlock apply.
// A change that was pending here is dropped.
func (v *Vault) Follow(ctx context.Context, r Replica, password []byte, kit *RecoveryKit) error {
	b, h, err := rootOf(ctx, r)
	if err != nil {
		return v.suspicious(err)
	}
	account, err := v.followable(h, kit)
	if err != nil {
		return v.suspicious(err)
	}
	defer account.Wipe()
	return v.attempt(ctx, func() (bool, error) {
		key, err := openByPassword(ctx, h, password, account)
		if err != nil {
			return false, err
		}
		return true, v.suspicious(v.follow(ctx, r, b, h, key))
	})
}

// followable compares the replica's header with what is known here, and returns the account key.
func (v *Vault) followable(h *header, kit *RecoveryKit) (AccountKey, error) {
	own, err := v.readHeader()
	if err != nil {
		return AccountKey{}, err
	}
	block := own.kdf
	if kit != nil {
		block = kdfBlock{Params: kit.Params, accountKey: !kit.AccountKey.IsZero(), salt: emailSalt(kit.Email)}
	}
	if h.user != own.user {
		return AccountKey{}, errOtherUser
	}
	if h.kdf != block {
		return AccountKey{}, fault.New(fault.Policy, "the vault on the replica has another key derivation; if the address was changed, the newest recovery kit has it")
	}
	if err := v.o.Profile.accept(block); err != nil {
		return AccountKey{}, err
	}
	account, err := v.accountKeyOf(own)
	return account, damaged(err)
}

// follow takes over a root blob with the vault key that its header gave, if it came of the newest vault that was ever here.
func (v *Vault) follow(ctx context.Context, r Replica, b rootBlob, h *header, key secret.Key) error {
	v.writing.Lock()
	defer v.writing.Unlock()
	next, top, err := v.openRemote(b, h, key)
	if err != nil {
		return err
	}
	known, err := v.followsAnchor(next)
	if err != nil {
		next.keys.wipe()
		return err
	}
	if err := v.takeOver(ctx, r, b, next, top, known); err != nil {
		return err
	}
	v.become(next, false)
	return nil
}
