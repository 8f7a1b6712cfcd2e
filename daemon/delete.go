package daemon

import (
	"context"
	"errors"

	"coldframe/columnar"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// DeleteDataset ends a dataset: an owner's signed tombstone takes its place, its keys leave the vault at once, and its objects are removed
// from the store after TombstoneLife.
func (a *Agent) DeleteDataset(ctx context.Context, c Caller, id string) error {
	s, _, leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	d, err := visible(c, id)
	if err := errors.Join(err, s.writable()); err != nil {
		return err
	}
	ds, err := a.load(s, d)
	if err != nil {
		return err
	}
	defer ds.wipe()
	if m, ok := ds.newest().Member(s.user); !ok || m.Role != columnar.RoleOwner {
		return errNotOwner()
	}
	if err := a.bury(s, ds); err != nil {
		return err
	}
	a.publish()
	a.log.Info("dataset deleted", "dataset", id, "caller", c.ID)
	return nil
}

// bury makes the switch from a dataset to its tombstone. Keys, head and tombstone change in one transaction; records that nobody can
// reach any more are removed in further ones, and by the housekeeping after a crash.
func (a *Agent) bury(s *session, ds *dataset) error {
	now := a.clock.Now()
	envelope, err := signed.Sign(s.signer, tombstoneType, tombstone{
		Dataset: string(ds.id), RosterHash: ds.meta.RosterHash, Version: ds.meta.Version, Hash: ds.meta.Hash, Author: s.user, Time: now.UnixMilli(),
	})
	if err != nil {
		return err
	}
	return a.vault.Update(func(tx *keystore.Tx) error {
		meta, err := getMetadata(tx.Get, ds.id)
		if err != nil {
			return err
		}
		meta.wipe()
		objects, err := objectsOf(tx.KV(), ds.id)
		if err != nil {
			return err
		}
		var errs []error
		for n := range objects {
			errs = append(errs, discard(tx.KV(), ds.id, n, now.Add(TombstoneLife)))
		}
		for v := range versionsNeeded(objects, ds.info.Oldest, meta.Version) {
			errs = append(errs, tx.Delete(versionItem(ds.id, columnar.Version(v))))
		}
		keys, err := keysUnder(tx.KV(), datasetPrefix+string(ds.id)+"/")
		errs = append(errs, err)
		for _, k := range keys {
			errs = append(errs, tx.KV().Delete(k))
		}
		return errors.Join(append(
			errs, tx.Delete(metadataItemID(ds.id)), tx.KV().Set(tombstonePrefix+string(ds.id), envelope),
			a.events.stage(tx.KV(), Event{Type: EventDatasetDeleted, Dataset: string(ds.id), Version: meta.Version}),
		)...)
	})
}

// versionsNeeded are the versions whose keys the vault holds: those that are kept, and those whose parts later ones name.
func versionsNeeded(objects map[columnar.ObjectName]objectRecord, oldest, newest uint64) map[uint64]struct{} {
	out := map[uint64]struct{}{}
	for _, o := range objects {
		out[o.First] = struct{}{}
	}
	for v := max(oldest, 1); v <= newest; v++ {
		out[v] = struct{}{}
	}
	return out
}

func keysUnder(tx *kv.Tx, prefix string) ([]string, error) {
	var keys []string
	err := tx.Scan(prefix, func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	})
	return keys, err
}
