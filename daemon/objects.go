package daemon

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

// objectRecord says which versions of a dataset need an object, under dataset/ID/object/NAME. It follows from the manifests; it is kept
// so that removing does not have to read part lists from the store.
type objectRecord struct {
	First uint64 `cbor:"1,keyasint"` // the version that made it, whose keys open it
	Last  uint64 `cbor:"2,keyasint"` // the last version that names it; 0: the newest does
}

// garbageRecord is an object that no version names any more, under garbage/NAME.
type garbageRecord struct {
	Due int64 `cbor:"1,keyasint"` // Unix seconds: not removed before
}

const (
	// TombstoneLife is how long the objects of a deleted dataset stay.
	TombstoneLife = 7 * 24 * time.Hour

	// expiredLife is how long the objects of a version that is no longer kept stay: transfers that still read them end before.
	expiredLife = 24 * time.Hour

	garbageBatch = 200 // objects removed in one look
)

func objectPrefix(id columnar.DatasetID) string { return datasetPrefix + string(id) + "/object/" }

// objectsOf reads the object records of a dataset by name.
func objectsOf(tx *kv.Tx, id columnar.DatasetID) (map[columnar.ObjectName]objectRecord, error) {
	out := map[columnar.ObjectName]objectRecord{}
	prefix := objectPrefix(id)
	err := tx.Scan(prefix, func(key string, b []byte) error {
		var r objectRecord
		if err := signed.Unmarshal(b, &r); err != nil {
			return err
		}
		n, err := columnar.ParseObjectName(strings.TrimPrefix(key, prefix))
		out[n] = r
		return err
	})
	return out, err
}

// recordObjects notes what the new version m needs, and of which objects the version before was the last.
func recordObjects(tx *kv.Tx, m *columnar.Manifest, parts []columnar.Part) error {
	old, err := objectsOf(tx, m.Dataset)
	if err != nil {
		return err
	}
	needed := map[columnar.ObjectName]uint64{}
	for _, p := range parts {
		needed[p.Name] = uint64(p.Version)
	}
	if m.PartList != nil {
		needed[m.PartList.Name] = uint64(m.Version)
	}
	prefix := objectPrefix(m.Dataset)
	for n, r := range old {
		if _, still := needed[n]; still || r.Last != 0 {
			delete(needed, n)
			continue
		}
		r.Last = uint64(m.Version) - 1
		if err := writeRecord(tx, prefix+string(n), r); err != nil {
			return err
		}
	}
	for n, first := range needed {
		if err := writeRecord(tx, prefix+string(n), objectRecord{First: first}); err != nil {
			return err
		}
	}
	return nil
}

// discard moves an object from its dataset to the garbage.
func discard(tx *kv.Tx, id columnar.DatasetID, n columnar.ObjectName, due time.Time) error {
	if err := tx.Delete(objectPrefix(id) + string(n)); err != nil {
		return err
	}
	return writeRecord(tx, garbagePrefix+string(n), garbageRecord{Due: due.Unix()})
}

// sweepGarbage removes objects whose time has come from the store, then their records.
func (a *Agent) sweepGarbage(ctx context.Context, s *session) error {
	names, err := a.dueGarbage()
	if err != nil || len(names) == 0 {
		return err
	}
	store, err := s.objects()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := store.Delete(ctx, n); err != nil {
			return err
		}
		if err := a.db.Update(func(tx *kv.Tx) error { return tx.Delete(garbagePrefix + string(n)) }); err != nil {
			return err
		}
	}
	a.log.Info("objects removed", "count", len(names))
	return nil
}

func (a *Agent) dueGarbage() ([]columnar.ObjectName, error) {
	var names []columnar.ObjectName
	now := a.clock.Now().Unix()
	enough := errors.New("enough")
	err := a.db.View(func(tx *kv.Tx) error {
		return tx.Scan(garbagePrefix, func(key string, b []byte) error {
			var r garbageRecord
			if err := signed.Unmarshal(b, &r); err != nil {
				return err
			}
			n, err := columnar.ParseObjectName(strings.TrimPrefix(key, garbagePrefix))
			if err == nil && r.Due <= now {
				names = append(names, n)
			}
			if len(names) >= garbageBatch {
				return enough
			}
			return err
		})
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return names, err
}

// reportExtras lists the store and makes an event of objects that nothing here names (D05). The listing is the store's word, so
// nothing follows from it but the event (D18).
func (a *Agent) reportExtras(ctx context.Context, s *session) error {
	store, err := s.objects()
	if err != nil {
		return err
	}
	known, err := a.knownObjects()
	if err != nil {
		return err
	}
	var extra int64
	err = store.List(ctx, func(n columnar.ObjectName, _ int64, _ time.Time) error {
		if _, ours := known[n]; !ours && !a.names.has(n) && extra < math.MaxInt64 {
			extra++
		}
		return nil
	})
	if err == nil && extra > 0 {
		a.event(Event{Type: EventStoreExtra, Count: extra})
	}
	return err
}

// knownObjects are all names in the local store: of datasets, of the garbage and of the journal.
func (a *Agent) knownObjects() (map[columnar.ObjectName]struct{}, error) {
	known := map[columnar.ObjectName]struct{}{}
	note := func(key string, _ []byte) error {
		known[columnar.ObjectName(key[strings.LastIndexByte(key, '/')+1:])] = struct{}{}
		return nil
	}
	ids, err := a.datasetIDs()
	if err != nil {
		return nil, err
	}
	err = a.db.View(func(tx *kv.Tx) error {
		for _, id := range ids {
			if err := tx.Scan(objectPrefix(id), note); err != nil {
				return err
			}
		}
		return errors.Join(tx.Scan(garbagePrefix, note), tx.Scan(uploadPrefix, note))
	})
	return known, err
}

// countRecords counts the records under some prefixes.
func countRecords(tx *kv.Tx, prefixes ...string) (int, error) {
	n := 0
	for _, p := range prefixes {
		err := tx.Scan(p, func(string, []byte) error {
			n++
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// tombstone says that an owner deleted a dataset. It is signed, and kept under tombstone/ID.
type tombstone struct {
	Dataset    string   `cbor:"1,keyasint"`
	RosterHash [32]byte `cbor:"2,keyasint"`
	Version    uint64   `cbor:"3,keyasint"`
	Hash       [32]byte `cbor:"4,keyasint"` // of that version's manifest; zero before the first
	Author     string   `cbor:"5,keyasint"`
	Time       int64    `cbor:"6,keyasint"` // Unix milliseconds
}

const (
	tombstoneType   = "tombstone"
	tombstonePrefix = "tombstone/"
)

func errNotOwner() error { return fault.New(fault.Forbidden, "only an owner deletes a dataset") }
