package daemon

import (
	"context"
	"errors"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/keystore"
)

// expireVersions drops the versions of a dataset that are no longer kept: older than the newest, and replaced longer ago than the roster
// says. Their keys leave the vault unless a later version names their parts; their objects become garbage.
func (a *Agent) expireVersions(ctx context.Context, s *session, id columnar.DatasetID) error {
	ds, err := a.load(s, id)
	if err != nil {
		return err
	}
	defer ds.wipe()
	oldest, err := ds.oldestKept(a.clock.Now())
	for err == nil && ds.info.Oldest < oldest {
		step := min(oldest, ds.info.Oldest+clearBatch)
		if err = a.dropBelow(ctx, ds, step); err == nil {
			ds.info.Oldest = step
		}
	}
	return err
}

// oldestKept returns the lowest version that must stay at the given time.
func (d *dataset) oldestKept(now time.Time) (uint64, error) {
	oldest := d.info.Oldest
	limit := now.AddDate(0, 0, -int(d.newest().Retention)).UnixMilli()
	err := d.each(func(m *columnar.Manifest, _ int64) error {
		if m.Time < limit && oldest < uint64(m.Version) {
			oldest = uint64(m.Version) // every version before was replaced before the limit
		}
		return nil
	})
	return oldest, err
}

func (a *Agent) dropBelow(ctx context.Context, ds *dataset, oldest uint64) error {
	due := a.clock.Now().Add(expiredLife)
	return a.vault.UpdateContext(ctx, func(tx *keystore.Tx) error {
		meta, err := getMetadata(tx.Get, ds.id)
		if err != nil {
			return err // deleted meanwhile
		}
		meta.wipe()
		var info infoRecord
		if err := readRecord(tx.KV(), infoKey(ds.id), &info); err != nil {
			return err
		}
		if info.Oldest != ds.info.Oldest {
			return fault.New(fault.Conflict, "the dataset changed meanwhile")
		}
		objects, err := objectsOf(tx.KV(), ds.id)
		if err != nil {
			return err
		}
		var errs []error
		before := versionsNeeded(objects, info.Oldest, oldest)
		for n, o := range objects {
			if o.Last != 0 && o.Last < oldest {
				errs = append(errs, discard(tx.KV(), ds.id, n, due))
				delete(objects, n)
			}
		}
		after := versionsNeeded(objects, oldest, oldest)
		for v := range before {
			if _, needed := after[v]; !needed && v < oldest {
				errs = append(errs, tx.Delete(versionItem(ds.id, columnar.Version(v))))
			}
		}
		for v := info.Oldest; v < oldest; v++ {
			errs = append(errs, tx.KV().Delete(manifestKey(ds.id, columnar.Version(v))))
		}
		info.Oldest = oldest
		return errors.Join(append(errs, writeRecord(tx.KV(), infoKey(ds.id), info))...)
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

// retain is one look at all datasets.
func (a *Agent) retain(ctx context.Context, s *session) error {
	ids, err := a.datasetIDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := a.expireVersions(ctx, s, id); err != nil && !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Conflict) {
			a.log.Warn("versions not expired", append(failure(err), "dataset", string(id))...)
		}
	}
	return nil
}
