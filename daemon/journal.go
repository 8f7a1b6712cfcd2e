package daemon

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"coldframe/columnar"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
)

// The upload journal: the name of an object is in the local store, durably, before the object is made, and goes away in the transaction
// that makes a manifest name it. What is in the journal and not being written is nobody's and is removed from the store.

// uploadRecord is an entry of the journal, under upload/NAME.
type uploadRecord struct {
	Dataset string `cbor:"1,keyasint"`
	Time    int64  `cbor:"2,keyasint"` // Unix seconds

	// Condemned is set before the object is removed: from then on no switch may name it.
	Condemned bool `cbor:"3,keyasint,omitempty"`
}

func uploadKey(n columnar.ObjectName) string { return uploadPrefix + string(n) }

// nameSet are the objects that transfers of this process are writing: the sweep leaves them alone.
type nameSet struct {
	mu    sync.Mutex
	names map[columnar.ObjectName]struct{}
}

func (s *nameSet) add(n columnar.ObjectName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = map[columnar.ObjectName]struct{}{}
	}
	s.names[n] = struct{}{}
}

func (s *nameSet) remove(names []columnar.ObjectName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		delete(s.names, n)
	}
}

func (s *nameSet) has(n columnar.ObjectName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.names[n]
	return ok
}

// journal are the names of one transfer.
type journal struct {
	a       *Agent
	dataset columnar.DatasetID
	mu      sync.Mutex
	names   []columnar.ObjectName
}

// register notes a name before its object is made.
func (j *journal) register(n columnar.ObjectName) error {
	j.a.names.add(n)
	j.mu.Lock()
	j.names = append(j.names, n)
	j.mu.Unlock()
	return j.a.db.Update(func(tx *kv.Tx) error {
		return writeRecord(tx, uploadKey(n), uploadRecord{Dataset: string(j.dataset), Time: j.a.clock.Now().Unix()})
	})
}

func (j *journal) all() []columnar.ObjectName {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.names
}

// keep stages the removal of the entries whose objects the manifest names now.
func (j *journal) keep(tx *kv.Tx, names []columnar.ObjectName) error {
	for _, n := range names {
		if err := tx.Delete(uploadKey(n)); err != nil {
			return err
		}
	}
	return nil
}

// cleanupTime bounds the removal of a failed transfer's objects: a stop waits for it.
const cleanupTime = 2 * time.Second

// end lets go of the names. Those that are still in the journal are removed from the store at once if that works, else by the sweep.
func (j *journal) end(ctx context.Context, store columnar.Store) {
	names := j.all()
	defer j.a.names.remove(names)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	for _, n := range names {
		err := j.a.removeUpload(ctx, store, n)
		if err != nil {
			j.a.log.Warn("upload left for the sweep", failure(err)...)
		}
		if err != nil && !errors.Is(err, error(errSwitchPending)) {
			return
		}
	}
}

// errSwitchPending is why an object stays whose switch may yet be made.
var errSwitchPending = fault.New(fault.Unavailable, "whether a manifest names the object is decided once the coordinator answers")

// removeUpload removes an object that the journal still names, in whatever state it is, and then its entry. The entry is marked first:
// after a failed commit nobody knows whether the disk holds a switch that names the object (R19). The local store then refuses the mark,
// the object stays, and the next start reads what really is there. Neither does anybody know it while the switch is a pending change of the
// vault, whose answer was lost: the object is errSwitchPending until that is decided.
func (a *Agent) removeUpload(ctx context.Context, store columnar.Store, n columnar.ObjectName) error {
	err := a.condemn(n)
	switch {
	case errors.Is(err, fault.NotFound):
		return nil
	case errors.Is(err, fault.StorageFull): // refused before anything was written: the entry stands, and removing makes room
	case err != nil:
		return err
	}
	if err := store.AbortUploads(ctx, n); err != nil {
		return err
	}
	if err := store.Delete(ctx, n); err != nil {
		return err
	}
	return a.db.Update(func(tx *kv.Tx) error { return tx.Delete(uploadKey(n)) })
}

func (a *Agent) condemn(n columnar.ObjectName) error {
	return a.db.Update(func(tx *kv.Tx) error {
		pending, err := keystore.PendingWrites(tx, uploadKey(n))
		if err != nil {
			return err
		}
		if pending {
			return errSwitchPending
		}
		var r uploadRecord
		if err := readRecord(tx, uploadKey(n), &r); err != nil {
			return err
		}
		r.Condemned = true
		return writeRecord(tx, uploadKey(n), r)
	})
}

// sweepUploads removes what the journal names and no transfer of this process writes: what a dead process or a failed removal left.
func (a *Agent) sweepUploads(ctx context.Context, s *session) error {
	var names []columnar.ObjectName
	err := a.db.View(func(tx *kv.Tx) error {
		return tx.Scan(uploadPrefix, func(key string, _ []byte) error {
			if n, err := columnar.ParseObjectName(strings.TrimPrefix(key, uploadPrefix)); err == nil && !a.names.has(n) {
				names = append(names, n)
			}
			return nil
		})
	})
	if err != nil || len(names) == 0 {
		return err
	}
	store, err := s.objects()
	if err != nil {
		return err
	}
	removed := 0
	for _, n := range names {
		err := a.removeUpload(ctx, store, n)
		if errors.Is(err, error(errSwitchPending)) {
			continue
		}
		if err != nil {
			return err
		}
		removed++
	}
	if removed > 0 {
		a.log.Info("unfinished uploads removed", "count", removed)
		a.event(Event{Type: EventUploadsSwept, Count: int64(removed)})
	}
	return nil
}
