package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
	"coldframe/keystore"
)

// DeleteDataset ends a dataset: an owner's signed tombstone takes its place, its keys leave the vault at once, and its objects are removed
// from the store after TombstoneLife.
func (a *Agent) DeleteDataset(ctx context.Context, c Caller, id string) error {
	s, ctx, leave, err := a.enter(ctx)
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
	if err := a.bury(ctx, s, ds); err != nil {
		return ended(ctx, err)
	}
	if err := a.clearBuried(ctx, d); err != nil {
		a.log.Warn("left of a deleted dataset for the housekeeping", append(failure(err), "dataset", id)...)
	}
	a.publish()
	a.log.Info("dataset deleted", "dataset", id, "caller", c.ID)
	return nil
}

// bury makes the switch from a dataset to its tombstone: head, metadata key and tombstone change in one transaction.
func (a *Agent) bury(ctx context.Context, s *session, ds *dataset) error {
	envelope, err := signed.Sign(s.signer, tombstoneType, tombstone{
		Dataset: string(ds.id), RosterHash: ds.meta.RosterHash, Version: ds.meta.Version, Hash: ds.meta.Hash, Author: s.user,
		Time: a.clock.Now().UnixMilli(),
	})
	if err != nil {
		return err
	}
	return a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		meta, err := getMetadata(tx.Get, ds.id)
		if err != nil {
			return err
		}
		meta.wipe()
		a.events.stageWith(tx, Event{Type: EventDatasetDeleted, Dataset: string(ds.id), Version: meta.Version})
		return errors.Join(tx.Delete(metadataItemID(ds.id)), tx.KV().Set(tombstonePrefix+string(ds.id), envelope))
	})
}

// clearBatch bounds a transaction that clears up after a dataset: one may have more versions and objects than a transaction takes.
const clearBatch = 100

// clearBuried takes away what is left of a dataset that has a tombstone: its keys leave the vault, its objects become garbage, its records
// go. The records go last, so that whoever is interrupted finds the rest by them.
func (a *Agent) clearBuried(ctx context.Context, id columnar.DatasetID) error {
	a.burying.Lock()
	defer a.burying.Unlock()
	if err := a.forgetVersions(ctx, id); err != nil {
		return err
	}
	var names, keys []string
	err := a.db.View(func(tx *kv.Tx) (err error) {
		names, err = keysUnder(tx, objectPrefix(id))
		return err
	})
	if err != nil {
		return err
	}
	due := a.clock.Now().Add(TombstoneLife)
	for batch := range slices.Chunk(names, clearBatch) {
		var objects []columnar.ObjectName
		err := a.db.Update(func(tx *kv.Tx) error {
			for _, key := range batch {
				n, err := columnar.ParseObjectName(strings.TrimPrefix(key, objectPrefix(id)))
				if err := errors.Join(err, discard(tx, id, n, due)); err != nil {
					return err
				}
				objects = append(objects, n)
			}
			return nil
		})
		if err != nil {
			return err
		}
		a.cache.drop(objects...)
	}
	err = a.db.View(func(tx *kv.Tx) (err error) {
		keys, err = keysUnder(tx, datasetPrefix+string(id)+"/")
		return err
	})
	return errors.Join(err, a.deleteKeys(keys))
}

// forgetVersions removes the keys of all versions of a dataset from the vault.
func (a *Agent) forgetVersions(ctx context.Context, id columnar.DatasetID) error {
	items, err := a.vault.List(kindVersion)
	if err != nil {
		return err
	}
	items = slices.DeleteFunc(items, func(it string) bool { return !strings.HasPrefix(it, kindVersion+"/"+string(id)+"/") })
	for batch := range slices.Chunk(items, clearBatch) {
		err := a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
			for _, it := range batch {
				if err := tx.Delete(it); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// clearAllBuried goes on with what a crash or a full disk interrupted.
func (a *Agent) clearAllBuried(ctx context.Context) error {
	var left []columnar.DatasetID
	err := a.db.View(func(tx *kv.Tx) error {
		buried, err := keysUnder(tx, tombstonePrefix)
		for _, key := range buried {
			id := strings.TrimPrefix(key, tombstonePrefix)
			n, countErr := countRecords(tx, datasetPrefix+id+"/")
			if err = errors.Join(err, countErr); n > 0 {
				left = append(left, columnar.DatasetID(id))
			}
		}
		return err
	})
	for _, id := range left {
		meta, getErr := getMetadata(a.vault.Get, id)
		if getErr == nil { // the vault, which nobody else can write, has the dataset: a record beside it does not bury it
			meta.wipe()
			continue
		}
		if !errors.Is(getErr, fault.NotFound) {
			return errors.Join(err, getErr)
		}
		err = errors.Join(err, a.clearBuried(ctx, id))
	}
	return err
}

func keysUnder(tx *kv.Tx, prefix string) ([]string, error) {
	var keys []string
	err := tx.Scan(prefix, func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	})
	return keys, err
}
