package keystore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// FetchOptions say how the vault of a replica is opened on a machine that has none.
type FetchOptions struct {
	Kit      RecoveryKit // gives user, derivation and account key: they are never taken from the replica
	Password []byte

	// NewPassword is the password from now on where there is no Password: the kit's recovery key opens the vault.
	NewPassword []byte
}

// check refuses what can be refused before anything is derived, read or sent.
func (o FetchOptions) check(p Profile) error {
	if len(o.Password) == 0 {
		if len(o.NewPassword) == 0 {
			return fault.New(fault.InvalidRequest, "a vault opens with its password, or with the recovery kit and a new password")
		}
		if err := checkKitPassword(RestoreOptions{Kit: &o.Kit, NewPassword: o.NewPassword}); err != nil {
			return err
		}
	}
	return p.accept(o.Kit.block())
}

// block is the derivation that a kit stands for.
func (k RecoveryKit) block() kdfBlock {
	return kdfBlock{Params: k.Params, accountKey: !k.AccountKey.IsZero(), salt: emailSalt(k.Email)}
}

// FetchProof returns what proves the user of a kit to a coordinator where there is no vault yet: the login proof of the password or, without
// one, the proof of the recovery key. Whether it is right only the coordinator knows; the wait after wrong passwords applies. Everything
// comes from the kit and the password, nothing from a replica. The caller wipes the proof.
//
// Failures: fault.Conflict (there is an account), fault.Policy (costs outside of policy, or a new password that is easy to guess),
// fault.Busy.
func (v *Vault) FetchProof(ctx context.Context, o FetchOptions) (proof Proof, err error) {
	if err := o.check(v.o.Profile); err != nil {
		return Proof{}, err
	}
	err = v.attempt(ctx, func() (bool, error) {
		if err := v.mustBeEmpty(); err != nil {
			return false, err
		}
		if len(o.Password) == 0 {
			proof = o.Kit.Proof()
			return false, nil
		}
		proof, err = passwordProof(ctx, o.Password, o.Kit.block(), o.Kit.AccountKey)
		return false, err
	})
	return proof, err
}

// passwordProof returns the login proof of a password that nothing here can judge. The block was accepted by policy.
func passwordProof(ctx context.Context, password []byte, block kdfBlock, account AccountKey) (Proof, error) {
	normal, err := normalPassword(password)
	if err != nil {
		return Proof{}, wrongPassword(err)
	}
	defer secret.Wipe(normal)
	root, err := rootKey(ctx, normal, block, account)
	if err != nil {
		return Proof{}, err
	}
	defer root.Wipe()
	return loginProof(ctx, root, block)
}

// Fetch makes a vault on this machine of the one that the replica has, and leaves it open; all of it or nothing, and never over an existing
// vault. Afterwards it is Fresh: there is neither root nor vault key here to compare it with, so a vault that somebody with an older vault key made
// is noticed by CheckHead alone, before Confirm. The caller wipes passwords and kit. With NewPassword it is all or nothing, too: until the password is in
// force on both sides, a failure or the next start removes what was fetched. The replica may have the new password then; the kit opens it
// again.
//
// Failures: fault.Conflict (there is an account), fault.NotFound (the replica has no vault), fault.Policy (it has another format or derivation
// than the kit says; nothing was derived), fault.NotAuthentic (a wrong password, kit, or vault), those of Sync, and with NewPassword those of
// ChangePassword.
func (v *Vault) Fetch(ctx context.Context, r Replica, o FetchOptions) error {
	if err := o.check(v.o.Profile); err != nil {
		return err
	}
	ctx, end := v.untilLocked(ctx)
	defer end()
	return orLocked(ctx, v.fetchFrom(ctx, r, o))
}

func (v *Vault) fetchFrom(ctx context.Context, r Replica, o FetchOptions) error {
	if err := v.emptyInTurn(ctx); err != nil {
		return err
	}
	b, h, err := rootOf(ctx, r)
	if err != nil {
		return v.suspicious(err)
	}
	if err := followsKit(h, o.Kit); err != nil {
		return v.suspicious(err)
	}
	return v.attempt(ctx, func() (bool, error) {
		if err := v.mustBeEmpty(); err != nil {
			return false, err
		}
		if len(o.Password) > 0 {
			return v.fetch(ctx, r, b, h, o)
		}
		return v.fetchAnew(ctx, r, b, h, o)
	})
}

// fetchAnew is fetch for who has a new password: what was fetched stays once that is in force.
func (v *Vault) fetchAnew(ctx context.Context, r Replica, b rootBlob, h *header, o FetchOptions) (right bool, err error) {
	if err := setMarker(v.db, map[string]bool{prefixVault: true}); err != nil {
		return false, err
	}
	right, err = v.fetch(ctx, r, b, h, o)
	if err == nil {
		err = v.renewFetched(ctx, r, o)
	}
	if err != nil {
		v.Connect(nil)
		v.lockAgain()
		return right, errors.Join(err, v.undoRestore())
	}
	return true, nil
}

// emptyInTurn is mustBeEmpty for a caller outside of an attempt: it must not tidy up under another one.
func (v *Vault) emptyInTurn(ctx context.Context) error {
	end, err := v.turn(ctx)
	if err != nil {
		return err
	}
	defer end()
	return v.mustBeEmpty()
}

// renewFetched sets the new password of a vault that the kit opened, and takes the marker away that would have it removed.
func (v *Vault) renewFetched(ctx context.Context, r Replica, o FetchOptions) error {
	v.Connect(r)
	proofs := &proofChange{before: o.Kit.Proof()}
	defer proofs.wipe()
	if err := v.rekey(ctx, o.NewPassword, o.Kit.block(), o.Kit.AccountKey, EventRecovered, proofs); err != nil {
		return err
	}
	return v.db.Update(func(tx *kv.Tx) error { return tx.Delete(recordRestore) })
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

// followsKit refuses a header that says anything else of the derivation than the kit (THREATS V01-V03, V05).
func followsKit(h *header, kit RecoveryKit) error {
	if id, err := uuid.Parse(kit.UserID); err != nil || id != h.user {
		return fault.New(fault.NotAuthentic, "the vault on the replica is not the one of the recovery kit")
	}
	if h.kdf != kit.block() {
		return fault.New(fault.Policy, "the vault on the replica has another key derivation than the recovery kit says")
	}
	return nil
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

// Follow opens the vault that the replica has with the password that another device set, and takes it over. The replica may need a login
// first, see FollowProof. A kit is needed where the address changed as well, nil otherwise: the derivation is the one that is known here, or the kit's, never the replica's. The rules of Unlock apply.
// A change that was pending here is made first if the vault there came of it, and dropped if not. A vault whose keyring lacks the vault key that
// is here, open or not, is fault.NotAuthentic.
func (v *Vault) Follow(ctx context.Context, r Replica, password []byte, kit *RecoveryKit) error {
	ctx, end := v.untilLocked(ctx)
	defer end()
	return orLocked(ctx, v.followFrom(ctx, r, password, kit))
}

func (v *Vault) followFrom(ctx context.Context, r Replica, password []byte, kit *RecoveryKit) error {
	b, h, err := rootOf(ctx, r)
	if err != nil {
		return v.suspicious(err)
	}
	account, err := v.followable(h, kit)
	if err != nil {
		return v.suspicious(err)
	}
	defer account.Wipe()
	var key secret.Key
	err = v.attempt(ctx, func() (right bool, err error) { // and no longer: what follows may take long, and others are judged meanwhile
		key, err = openByPassword(ctx, h, password, account)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	return v.suspicious(v.follow(ctx, r, b, h, key))
}

// FollowProof returns the login proof of a password that another device set, for the coordinator that is to be logged in to before Follow: it ended
// this machine's sessions, perhaps, and knows the former proof no more. The vault that is here is still under the former password, so only the
// coordinator can tell whether this one is right; the wait after wrong passwords applies. A kit is needed as for Follow. The vault stays as it
// is. The caller wipes the proof.
//
// Failures: fault.NotFound (nobody is registered here), fault.Policy (another user's kit, costs outside of policy),
// fault.Incomplete (no account key on this machine), fault.Busy.
func (v *Vault) FollowProof(ctx context.Context, password []byte, kit *RecoveryKit) (proof Proof, err error) {
	err = v.attempt(ctx, func() (bool, error) {
		_, block, account, err := v.knownBlock(kit)
		if err != nil {
			return false, err
		}
		defer account.Wipe()
		proof, err = passwordProof(ctx, password, block, account)
		return false, err
	})
	return proof, err
}

// knownBlock returns user, derivation and account key as they are known here, the derivation from the kit if there is one.
func (v *Vault) knownBlock(kit *RecoveryKit) (user uuid.UUID, block kdfBlock, account AccountKey, err error) {
	own, err := v.readHeader()
	if err != nil {
		return user, block, account, err
	}
	block = own.kdf
	if kit != nil {
		if kit.UserID != own.user.String() {
			return user, block, account, fault.New(fault.Policy, "the recovery kit is another user's")
		}
		block = kit.block()
	}
	if err := v.o.Profile.accept(block); err != nil {
		return user, block, account, err
	}
	account, err = v.accountKeyOf(own)
	return own.user, block, account, damaged(err)
}

// followable compares the replica's header with what is known here, and returns the account key.
func (v *Vault) followable(h *header, kit *RecoveryKit) (AccountKey, error) {
	user, block, account, err := v.knownBlock(kit)
	switch {
	case err != nil:
	case h.user != user:
		err = errOtherUser
	case h.kdf != block:
		err = fault.New(fault.Policy, "the vault on the replica has another key derivation; if the address was changed, the newest recovery kit has it")
	}
	if err != nil {
		account.Wipe()
	}
	return account, err
}

// follow takes over a root blob with the vault key that its header gave, if it came of the newest vault that was ever here.
func (v *Vault) follow(ctx context.Context, r Replica, b rootBlob, h *header, key secret.Key) error {
	defer scrubbed()()
	if err := v.writing.LockContext(ctx); err != nil {
		key.Wipe()
		return err
	}
	defer v.writing.Unlock()
	next, top, err := v.openRemote(b, h, key)
	if err != nil {
		return err
	}
	known, err := v.followsLocal(next)
	if err != nil {
		next.keys.wipe()
		return err
	}
	locked, err := v.makeFollowed(next)
	if err != nil {
		next.keys.wipe()
		return err
	}
	if err := v.takeOver(ctx, r, b, next, top, known); err != nil {
		if locked {
			v.notify(EventLocked)
		}
		return err
	}
	v.become(next, false)
	return nil
}

// makeFollowed makes the pending change of this machine if next came of it. The vault is locked then, and locked says that it was open: the
// change may have set the password that is only now known here.
func (v *Vault) makeFollowed(next *contents) (locked bool, err error) {
	h, err := readPending(v.db)
	if err != nil || h == nil {
		return false, err
	}
	counter, hash, err := v.localRoot()
	if err != nil {
		return false, err
	}
	f, err := next.fateOf(counter, hash, [32]byte(h.Root))
	if err != nil || f != made {
		return false, err
	}
	locked = v.leave()
	kept, err := v.applyPending()
	v.keptRecords(kept)
	if err != nil {
		if locked {
			v.notify(EventLocked)
		}
		return false, v.notApplied(err)
	}
	v.notify(EventChangeMade)
	return locked, nil
}

// followsLocal judges a vault by the one that is here, open or not, and by the anchor: after a crash the one may be ahead, after a restore the
// other.
func (v *Vault) followsLocal(next *contents) (known bool, err error) {
	own, err := v.readHeader()
	if err != nil {
		return false, err
	}
	counter, hash, err := v.localRoot()
	if err != nil {
		return false, err
	}
	known, err = next.cameOf(own, counter, hash)
	if err != nil {
		return false, err
	}
	alsoKnown, err := v.followsAnchor(next)
	return known && alsoKnown, err
}

// localRoot returns counter and hash of the root record that is here, open or not.
func (v *Vault) localRoot() (counter uint64, hash [32]byte, err error) {
	err = v.db.View(func(tx *kv.Tx) error {
		record, err := part(tx, recordRoot)
		if err != nil {
			return err
		}
		if len(record) < 8 {
			return fault.New(fault.NotAuthentic, "the index is damaged")
		}
		counter, hash = binary.BigEndian.Uint64(record), sha256.Sum256(record)
		return nil
	})
	return counter, hash, err
}
