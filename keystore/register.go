package keystore

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/google/uuid"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
)

// Registration is what a new account is made from. The caller wipes Password.
type Registration struct {
	Email    string
	Password []byte

	// PasswordOnly leaves the account key out: address and password alone open the vault on any device, and are all that keeps a
	// stolen one closed. The derivation then has one fixed cost.
	PasswordOnly bool
}

// Register makes an account and leaves its vault open. The recovery kit is to be shown once and wiped.
// Failures: fault.Conflict (there is an account), fault.InvalidRequest (no address; a password that cannot be normalised),
// fault.Policy (a password that is too easy to guess).
func (v *Vault) Register(ctx context.Context, r Registration) (RecoveryKit, error) {
	end, err := v.turn(ctx)
	if err != nil {
		return RecoveryKit{}, err
	}
	defer end()
	defer scrubbed()()
	if err := v.mustBeEmpty(); err != nil {
		return RecoveryKit{}, err
	}
	email, err := normalEmail(r.Email)
	if err != nil {
		return RecoveryKit{}, err
	}
	password, err := newPassword(r.Password, email)
	if err != nil {
		return RecoveryKit{}, err
	}
	defer secret.Wipe(password)

	kit := RecoveryKit{UserID: uuid.New().String(), Email: email, RecoveryKey: secret.Random()}
	block := kdfBlock{accountKey: !r.PasswordOnly, salt: emailSalt(email)}
	if block.accountKey {
		kit.AccountKey = newAccountKey()
	}
	block, root, err := v.o.Profile.calibrate(ctx, password, block, kit.AccountKey)
	if err != nil {
		kit.Wipe()
		return RecoveryKit{}, err
	}
	defer root.Wipe()
	kit.Params = block.Params
	if err := v.create(kit, block, root); err != nil {
		kit.Wipe()
		return RecoveryKit{}, err
	}
	return kit, nil
}

// newPassword normalises a password to be set and judges its strength.
func newPassword(password []byte, normalEmail string) ([]byte, error) {
	normal, err := normalPassword(password)
	if err != nil {
		return nil, err
	}
	if err := checkStrength(normal, normalEmail); err != nil {
		secret.Wipe(normal)
		return nil, err
	}
	return normal, nil
}

// mustBeEmpty returns fault.Conflict if there is an account, and removes what an interrupted Restore or Fetch left. The caller has the turn.
func (v *Vault) mustBeEmpty() error {
	if err := v.undoRestore(); err != nil { // first: a vault without its new password has a header
		return err
	}
	if _, err := v.readHeader(); !errors.Is(err, fault.NotFound) {
		return fault.New(fault.Conflict, "there is an account here already")
	}
	return nil
}

// create writes a new vault: account key file and anchor first, the records after them, so that a crash in between leaves no account.
func (v *Vault) create(kit RecoveryKit, block kdfBlock, root secret.Key) error {
	v.writing.Lock()
	defer v.writing.Unlock()
	c, err := v.newContents(kit, block, root)
	if err != nil {
		return err
	}
	err = v.db.Update(func(tx *kv.Tx) error {
		if _, err := tx.Get(recordHeader); !errors.Is(err, fault.NotFound) {
			return fault.New(fault.Conflict, "there is an account here already")
		}
		if err := writeNew(tx, c); err != nil {
			return err
		}
		return v.writeFiles(c, kit.AccountKey)
	})
	if err != nil {
		c.keys.wipe()
		return err
	}
	v.become(c, false)
	return nil
}

func (v *Vault) newContents(kit RecoveryKit, block kdfBlock, root secret.Key) (*contents, error) {
	user := uuid.MustParse(kit.UserID)
	keys := &keyring{id: seal.RandomKeyID(), current: secret.Random(), anchor: secret.Random()}
	h := &header{user: user, created: v.o.Clock().UTC(), kdf: block, keyID: keys.id}
	h.password = sealVaultKey(root, "password", user, keys.id, keys.current)

	empty, slotKey := slotRecovery.newSlot(kit.RecoveryKey)
	keys.recovery = slotKey
	var err error
	if h.recovery, err = slotRecovery.fill(empty, slotKey, user, keys.id, keys.current); err == nil {
		_, err = h.encode(keys.current)
	}
	if err != nil {
		keys.wipe()
		return nil, err
	}
	return &contents{header: h, keys: keys, index: new(index), email: kit.Email, counter: 1}, nil
}

// writeNew writes the records of a vault without items.
func writeNew(tx *kv.Tx, c *contents) error {
	record := c.keys.seal(c.header.user)
	c.keyring = sha256.Sum256(record)
	return errors.Join(tx.Set(recordHeader, c.header.raw), tx.Set(recordKeyring, record), writeRoot(tx, c))
}

// writeFiles writes the files beside the database.
func (v *Vault) writeFiles(c *contents, account AccountKey) error {
	if !account.IsZero() {
		if err := v.writeAccountKey(c.header.user, account); err != nil {
			return err
		}
	}
	return v.writeAnchor(c)
}
