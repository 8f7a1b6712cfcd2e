package keystore

import (
	"context"
	"io"
	"strings"
	"sync"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// Backup writes the vault, as it is at one moment, to w: one file, encrypted and authenticated, that Restore reads with the password or
// the recovery kit of today. extra, if not nil, adds records of the agent: it reads them from tx, the same moment, and hands each to
// put. The vault must be open. The file is complete only if Backup returned nil.
func (v *Vault) Backup(ctx context.Context, w io.Writer, extra func(tx *kv.Tx, put func(key string, value []byte) error) error) error {
	defer scrubbed()()
	v.writing.Lock()
	release := sync.OnceFunc(v.writing.Unlock)
	defer release()
	c, key, err := v.snapshot()
	if err != nil {
		return err
	}
	defer key.Wipe()
	return v.db.View(func(tx *kv.Tx) error {
		release() // the view is fixed: changes may go on
		b, err := newBackupWriter(writerUntil{ctx, w}, c.header, key)
		defer b.key.Wipe()
		if err != nil {
			return err
		}
		if err := backupVault(tx, b); err != nil {
			return err
		}
		if extra != nil {
			put := func(key string, value []byte) error { return putExtra(b, key, value) }
			if err := extra(tx, put); err != nil {
				return err
			}
		}
		return b.close()
	})
}

// snapshot returns the contents and a vault key of its own, which a Lock during the backup does not wipe.
func (v *Vault) snapshot() (*contents, secret.Key, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.c == nil {
		return nil, secret.Key{}, errLocked
	}
	return v.c, v.c.keys.current.Clone(), nil
}

// backupVault writes every record of the vault but the header, which the file has in front, and those of this machine alone.
func backupVault(tx *kv.Tx, b *backupWriter) error {
	return tx.Scan(prefixVault, func(key string, value []byte) error {
		if !inBackup(key) {
			return nil
		}
		return b.record(recordOfVault, key, value)
	})
}

func inBackup(key string) bool {
	return key == recordKeyring || key == recordRoot || key == recordReplica || strings.HasPrefix(key, prefixShard) || strings.HasPrefix(key, prefixItem)
}

func putExtra(b *backupWriter, key string, value []byte) error {
	if key == "" || len(key) > maxRecordKey || len(value) > kv.MaxValue || strings.HasPrefix(key, prefixVault) {
		return fault.New(fault.Internal, "a record of the agent cannot be in a backup")
	}
	return b.record(recordOfAgent, key, value)
}

// writerUntil stops a backup when its context ends.
type writerUntil struct {
	ctx context.Context
	w   io.Writer
}

func (w writerUntil) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.w.Write(p)
}
