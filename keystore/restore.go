package keystore

import (
	"context"
	"errors"
	"io"
	"strings"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// RestoreOptions say how a backup is opened: with its password, or with the recovery kit and a new password.
type RestoreOptions struct {
	Password []byte       // of the time of the backup
	Kit      *RecoveryKit // gives the account key on a machine that has none; without Password its recovery key opens the backup

	// NewPassword is the password from now on, where the recovery key opens the backup. If the process dies between the restore and
	// this change, the vault is there with its former password, and the kit recovers it.
	NewPassword []byte
}

// Restore makes a vault, and the agent's records, of a backup: all of it or nothing, and never over an existing vault. The vault is
// open afterwards, and this state of it is the newest that this machine knows. The caller wipes passwords and kit.
//
// Failures: fault.Conflict (there is an account), fault.NotAuthentic (a wrong password, or a file that was changed; the former counts
// as a wrong password), fault.Incomplete (the file ends too early; no account key), fault.Policy, and those of Unlock.
func (v *Vault) Restore(ctx context.Context, r io.Reader, o RestoreOptions) error {
	if len(o.Password) == 0 && (o.Kit == nil || len(o.NewPassword) == 0) {
		return fault.New(fault.InvalidRequest, "a backup opens with its password, or with the recovery kit and a new password")
	}
	return v.attempt(ctx, func() (bool, error) {
		if err := v.mustBeEmpty(); err != nil {
			return false, err
		}
		b, err := readBackupHead(r)
		if err != nil {
			return false, notCounted(err)
		}
		o, key, err := v.judgeBackup(ctx, b.head, o)
		defer o.account.Wipe()
		if err != nil {
			return false, err
		}
		if err := v.restore(ctx, b, key, o.account); err != nil {
			return true, errors.Join(err, v.undoRestore())
		}
		if len(o.Password) > 0 {
			return true, nil
		}
		return true, v.rekey(ctx, o.NewPassword, o.block, o.account, EventRecovered, nil)
	})
}

// notCounted keeps a file that is no backup from counting as a wrong password.
func notCounted(err error) error {
	if errors.Is(err, fault.NotAuthentic) {
		return fault.Wrap(fault.InvalidRequest, err, "this is no backup")
	}
	return err
}

// opened is how a backup was opened.
type opened struct {
	RestoreOptions
	block   kdfBlock
	account AccountKey
}

func (v *Vault) judgeBackup(ctx context.Context, h *header, ro RestoreOptions) (opened, secret.Key, error) {
	o := opened{RestoreOptions: ro, block: h.kdf}
	if len(ro.Password) == 0 {
		if err := checkKitPassword(ro); err != nil {
			return o, secret.Key{}, err
		}
		block, key, err := v.judgeKit(h, *ro.Kit)
		o.block = block
		if h.kdf.accountKey && err == nil {
			o.account = accountKeyFrom(ro.Kit.AccountKey.bytes())
		}
		return o, key, err
	}
	if err := v.o.Profile.accept(h.kdf); err != nil {
		return o, secret.Key{}, v.refused(err)
	}
	var err error
	switch {
	case !h.kdf.accountKey:
	case ro.Kit != nil && !ro.Kit.AccountKey.IsZero():
		o.account = accountKeyFrom(ro.Kit.AccountKey.bytes())
	default:
		if o.account, err = v.readAccountKey(h.user); err != nil {
			return o, secret.Key{}, damaged(err)
		}
	}
	key, err := openByPassword(ctx, h, ro.Password, o.account)
	return o, key, err
}

// checkKitPassword refuses a new password before anything is restored.
func checkKitPassword(o RestoreOptions) error {
	password, err := newPassword(o.NewPassword, o.Kit.Email)
	secret.Wipe(password)
	return err
}

// restore writes the records, checks the whole vault, and puts the header in place last: until then there is no vault.
func (v *Vault) restore(ctx context.Context, b *backupReader, key secret.Key, account AccountKey) error {
	v.writing.Lock()
	defer v.writing.Unlock()
	if err := b.unlock(key); err != nil {
		key.Wipe()
		return err
	}
	defer b.key.Wipe()
	batch := &restoreBatch{ctx: ctx, db: v.db, prefixes: map[string]bool{}}
	err := b.records(batch.add)
	if err == nil {
		err = batch.flush()
	}
	if err != nil {
		key.Wipe()
		return err
	}
	var c *contents
	err = v.db.View(func(tx *kv.Tx) (err error) {
		c, err = load(tx, b.head, key)
		return err
	})
	if err != nil {
		return v.refused(err)
	}
	if err := v.finishRestore(c, account); err != nil {
		c.keys.wipe()
		return err
	}
	v.become(c, false)
	return nil
}

// finishRestore writes the files of this machine and then, in one transaction, the header.
func (v *Vault) finishRestore(c *contents, account AccountKey) error {
	v.warnIfOlder(c)
	if err := v.writeFiles(c, account); err != nil {
		return err
	}
	return v.db.Update(func(tx *kv.Tx) error {
		m, err := readMembership(tx)
		if err == nil && m == joined { // the replica may have a newer vault, and nobody told this machine
			err = tx.Set(recordReplica, []byte{byte(fresh)})
		}
		return errors.Join(err, tx.Set(recordHeader, c.header.raw), tx.Delete(recordRestore))
	})
}

// warnIfOlder logs that this machine knew a newer state of the same vault. The user asked for the older one.
func (v *Vault) warnIfOlder(c *contents) {
	raw, err := atomicfile.ReadFrom(v.o.Files, v.path(anchorFileName))
	if err != nil {
		return
	}
	a, err := parseAnchor(raw)
	if err == nil && errors.Is(a.compare(c), fault.RolledBack) {
		v.o.Logger.Warn("the restored vault is older than the one that was here", "counter", c.counter, "was", a.counter)
		v.notify(EventRollbackAccepted)
	}
}

const (
	batchBytes   = 512 << 10 // of one transaction, well below what the store takes
	batchRecords = 500
)

// restoreBatch writes records in transactions of a bearable size. Before a transaction, the marker record names every prefix that is
// written to, so that undoRestore can remove them all.
type restoreBatch struct {
	ctx      context.Context
	db       *kv.DB
	prefixes map[string]bool
	keys     []string
	values   [][]byte
	size     int
	marked   bool
}

func (b *restoreBatch) add(kind byte, key string, value []byte) error {
	if (kind == recordOfVault) != strings.HasPrefix(key, prefixVault) || kind == recordOfVault && !inBackup(key) {
		return errBackup
	}
	if len(b.keys) == batchRecords || b.size+len(value) > batchBytes && len(b.keys) > 0 {
		if err := b.flush(); err != nil {
			return err
		}
	}
	if p := keyPrefix(key); !b.prefixes[p] {
		b.prefixes[p], b.marked = true, false
	}
	b.keys, b.values, b.size = append(b.keys, key), append(b.values, value), b.size+len(key)+len(value)
	return nil
}

// keyPrefix is a key up to its first slash; all of it if there is none.
func keyPrefix(key string) string {
	if i := strings.IndexByte(key, '/'); i >= 0 {
		return key[:i+1]
	}
	return key
}

func (b *restoreBatch) flush() error {
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	if !b.marked {
		if err := setMarker(b.db, b.prefixes); err != nil {
			return err
		}
		b.marked = true
	}
	err := b.db.Update(func(tx *kv.Tx) error {
		for i, key := range b.keys {
			if err := tx.Set(key, b.values[i]); err != nil {
				return err
			}
		}
		return nil
	})
	b.keys, b.values, b.size = nil, nil, 0
	return err
}

// setMarker notes that a restore is under way, and where it writes.
func setMarker(db *kv.DB, prefixes map[string]bool) error {
	names := make([]string, 0, len(prefixes))
	for p := range prefixes {
		names = append(names, p)
	}
	marker, err := signed.Marshal(names)
	if err != nil {
		return err
	}
	return db.Update(func(tx *kv.Tx) error { return tx.Set(recordRestore, marker) })
}

// undoRestore removes what a restore wrote that did not get to its header. Without a marker there is nothing to remove.
func (v *Vault) undoRestore() error {
	var prefixes []string
	err := v.db.View(func(tx *kv.Tx) error {
		raw, err := tx.Get(recordRestore)
		if err != nil {
			return err
		}
		return signed.Unmarshal(raw, &prefixes)
	})
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range prefixes {
		if err := removeAll(v.db, p); err != nil {
			return err
		}
	}
	return v.db.Update(func(tx *kv.Tx) error { return tx.Delete(recordRestore) })
}

var errEnough = errors.New("keystore: enough keys for one transaction")

// removeAll deletes every record under a prefix, but the marker and the count of wrong passwords.
func removeAll(db *kv.DB, prefix string) error {
	for {
		var keys []string
		err := db.View(func(tx *kv.Tx) error {
			return tx.Scan(prefix, func(key string, _ []byte) error {
				if key != recordRestore && key != recordThrottle {
					keys = append(keys, key)
				}
				if len(keys) == batchRecords {
					return errEnough
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errEnough) || len(keys) == 0 {
			return err
		}
		err = db.Update(func(tx *kv.Tx) error {
			for _, key := range keys {
				if err := tx.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}
