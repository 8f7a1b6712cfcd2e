package keystore

import (
	"context"
	"crypto/sha256"
	"fmt"

	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// EmailHashSize is the length of the labelled hash of an address, in bytes.
const EmailHashSize = sha256.Size

// EmailHash returns SHA-256("coldframe/v1/email" ‖ 0 ‖ normal address), by which a coordinator knows a user. Whoever guesses the address
// can compute it. What is no address is fault.InvalidRequest.
func EmailHash(email string) ([EmailHashSize]byte, error) {
	normal, err := normalEmail(email)
	if err != nil {
		return [EmailHashSize]byte{}, err
	}
	return sha256.Sum256([]byte("coldframe/v1/email\x00" + normal)), nil
}

// Proof is what proofs for coordinators come from. It is sent to none: what one of them is shown is worth nothing at another. The zero value
// is none.
type Proof struct{ key secret.Key }

// For returns the proof for the coordinator at an address in its normal form, of which there is one: HKDF under the label
// "coordinator-proof" with the address as context. It panics if there is no key. The caller wipes it.
func (p Proof) For(url string) secret.Key { return p.key.Derive("coordinator-proof", []byte(url)) }

// IsZero reports whether there is no proof, or none any more.
func (p Proof) IsZero() bool { return p.key.IsZero() }

// Equal compares in constant time.
func (p Proof) Equal(o Proof) bool { return p.key.Equal(o.key) }

// Clone returns a copy that is wiped by itself.
func (p Proof) Clone() Proof { return Proof{p.key.Clone()} }

// Wipe zeroes the proof.
func (p Proof) Wipe() { p.key.Wipe() }

// Format hides the proof.
func (p Proof) Format(s fmt.State, verb rune) { p.key.Format(s, verb) }

// Proof returns what proves that its holder has the recovery key: HKDF of it under a label of its own. It opens nothing of the vault.
func (k RecoveryKit) Proof() Proof { return Proof{k.RecoveryKey.Derive("recovery-proof")} }

// LoginProof returns what proves to a coordinator that its holder knows the password and has the account key: one more pass of
// argon2id over the root key. The rules are those of Unlock; the vault stays as it is. The caller wipes the proof.
func (v *Vault) LoginProof(ctx context.Context, password []byte) (proof Proof, err error) {
	err = v.attempt(ctx, func() (bool, error) {
		j, err := v.judgeRoot(ctx, password)
		if err != nil {
			return false, err
		}
		defer j.root.Wipe()
		j.key.Wipe()
		proof, err = loginProof(ctx, j.root, j.header.kdf)
		return true, err
	})
	return proof, err
}

// UnlockForLogin is Unlock, and returns the login proof if want, which is asked once the vault is open, says so. It saves the
// second derivation of LoginProof. The caller wipes the proof.
func (v *Vault) UnlockForLogin(ctx context.Context, password []byte, o UnlockOptions, want func() bool) (proof Proof, err error) {
	err = v.attempt(ctx, func() (bool, error) {
		j, err := v.judgeRoot(ctx, password)
		if err != nil {
			return false, err
		}
		defer j.root.Wipe()
		if err := v.enter(ctx, j.header, j.key, o.AcceptRollback); err != nil {
			return true, err
		}
		if want() {
			proof, err = loginProof(context.WithoutCancel(ctx), j.root, j.header.kdf) // the vault is open: this must not fail any more
		}
		return true, err
	})
	return proof, err
}

// ChangePasswordForLogin is ChangePassword; record is called inside the change's transaction with the login proofs of before and after.
// It must neither keep nor wipe them.
func (v *Vault) ChangePasswordForLogin(
	ctx context.Context, oldPassword, newPassword []byte, record func(tx *kv.Tx, before, after Proof) error,
) error {
	return v.changePassword(ctx, oldPassword, newPassword, record)
}

// loginProof runs argon2id over a root key with the account's memory and lanes, one pass, and a salt of its own.
func loginProof(ctx context.Context, root secret.Key, b kdfBlock) (Proof, error) {
	b.Time, b.salt = 1, proofSalt(b.salt)
	stretched, err := stretchInTurn(ctx, root.Bytes(), b)
	if err != nil {
		return Proof{}, err
	}
	defer stretched.Wipe()
	return Proof{stretched.Derive("login-proof")}, nil
}

// proofSalt returns SHA-256("coldframe/v1/login-proof" ‖ 0 ‖ salt)[:16].
func proofSalt(salt [saltSize]byte) (out [saltSize]byte) {
	sum := sha256.Sum256(append([]byte("coldframe/v1/login-proof\x00"), salt[:]...))
	copy(out[:], sum[:])
	return out
}

// proofChange records the login proofs of a password change in its transaction. Nil records nothing.
type proofChange struct {
	before   Proof
	recovery Proof // of a new kit; none otherwise
	record   func(tx *kv.Tx, before, after Proof) error
}

// newProofChange derives the proof of before; nil if there is nobody to record it.
func (v *Vault) newProofChange(ctx context.Context, j judged, record func(tx *kv.Tx, before, after Proof) error) (*proofChange, error) {
	m, err := v.membership()
	if err != nil || record == nil && !m.replicated() {
		return nil, err
	}
	before, err := loginProof(ctx, j.root, j.header.kdf)
	return &proofChange{before: before, record: record}, err
}

// recoveredProofs is newProofChange where the kit opened the vault: nobody knows the former password.
func (v *Vault) recoveredProofs(kit RecoveryKit) (*proofChange, error) {
	m, err := v.membership()
	if err != nil || !m.replicated() {
		return nil, err
	}
	return &proofChange{before: kit.Proof()}, nil
}

// after derives the proof of the new root key; without one the password stays, and the proof.
func (c *proofChange) after(ctx context.Context, root secret.Key, b kdfBlock) (Proof, error) {
	switch {
	case c == nil:
		return Proof{}, nil
	case root.IsZero():
		return c.before.Clone(), nil
	}
	return loginProof(ctx, root, b)
}

// commit records the proofs, and has them change at a replica in the swap that changes the header there.
func (c *proofChange) commit(tx *Tx, after Proof) error {
	if c == nil {
		return nil
	}
	if tx.replicated {
		tx.credentials = &Credentials{Old: c.before.Clone(), New: after.Clone(), Recovery: c.recovery.Clone()}
		if tx.email != "" && tx.email != tx.c.email {
			hash, err := EmailHash(tx.email)
			if err != nil {
				return err
			}
			tx.credentials.EmailHash = hash
		}
	}
	if c.record == nil {
		return nil
	}
	return c.record(tx.KV(), c.before, after)
}

func (c *proofChange) wipe() {
	if c != nil {
		c.before.Wipe()
		c.recovery.Wipe()
	}
}
