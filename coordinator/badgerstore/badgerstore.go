// Package badgerstore is the coordinator's embedded store: one folder, no other server. It is internal/kv (Badger with every write synced, the
// guards against full and failing disks, and the checks for lost transactions) with group commit on top.
//
// kv lets one transaction write at a time and syncs each. Here transactions that wait are run one after the other inside one of kv's, so
// that they share a sync. Each sees what those before it wrote, and writes beside it until it has succeeded: one that fails leaves nothing and costs nothing. As
// they never run side by side, they are serialisable without a conflict that somebody would have to try again.
package badgerstore

import (
	"context"
	"errors"
	"slices"
	"sync"

	"coldframe/coordinator/store"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

const (
	maxWaiting = 128 // transactions that share a sync

	// Weights after which no further transaction joins. With a last one of store.MaxSmallTx the small values are still below Badger's bound, 15 % of a
	// table in memory (8 MiB).
	maxBatchSmall = 192 << 10
	maxBatch      = 1 << 20

	// spare is room on the disk for urgent changes, in bytes: while it is full for all others, some 30,000 sessions go on, until what was deleted is given back.
	spare = 16 << 20
)

// Options are those of internal/kv. The zero value is good.
type Options = kv.Options

// Store is an open store.
type Store struct {
	db    *kv.DB
	queue chan *update
	done  chan struct{} // closed once the committer ended

	mu      sync.RWMutex // held for reading by whoever puts something into queue
	closing bool
}

// update is one caller's transaction.
type update struct {
	fn     func(store.Tx) error
	urgent bool
	err    error
	panic  any
	result chan struct{}
}

// Open opens the store in a folder, which becomes 0700, and makes it if there is none. Failures are those of kv.Open: fault.Conflict (open
// already), fault.StorageFull, fault.RolledBack (lost what it had acknowledged), fault.Unavailable.
func Open(dir string, o Options) (*Store, error) {
	o.LogValues, o.Spare = store.SmallValue, spare
	db, err := kv.Open(dir, o)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, queue: make(chan *update, maxWaiting), done: make(chan struct{})}
	go s.commitAll()
	return s, nil
}

// Update implements store.Store. A context that ends before the transaction began ends the call; later it does not.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	u := &update{fn: fn, urgent: store.IsUrgent(ctx), result: make(chan struct{})}
	if err := s.enqueue(ctx, u); err != nil {
		return err
	}
	<-u.result
	if u.panic != nil {
		panic(u.panic)
	}
	return u.err
}

func (s *Store) enqueue(ctx context.Context, u *update) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closing {
		return fault.New(fault.Unavailable, "the store is closed")
	}
	select {
	case s.queue <- u:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, ctx.Err(), "the request ended before its change was begun")
	}
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the request ended before it was answered")
	}
	return s.db.View(func(tx *kv.Tx) error { return fn(tx) })
}

// Close implements store.Store. With no room to close the files it is fault.StorageFull; ending the process then loses nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		close(s.queue)
	}
	s.mu.Unlock()
	<-s.done
	return s.db.Close()
}

// commitAll runs transactions until the queue is closed.
func (s *Store) commitAll() {
	defer close(s.done)
	for u := range s.queue {
		s.commit(s.waiting(u))
	}
}

// waiting returns u and those that wait behind it.
func (s *Store) waiting(u *update) []*update {
	batch := []*update{u}
	for len(batch) < maxWaiting {
		select {
		case u, ok := <-s.queue:
			if !ok {
				return batch
			}
			batch = append(batch, u)
		default:
			return batch
		}
	}
	return batch
}

// commit makes the transactions of a batch durable, in as few syncs as their sizes allow, and lets their callers go.
func (s *Store) commit(batch []*update) {
	for len(batch) > 0 {
		n := s.commitSome(batch)
		for _, u := range batch[:n] {
			close(u.result)
		}
		batch = batch[n:]
	}
}

// commitSome runs the first transactions of a batch and returns how many. Where there is no room for them, those that are urgent are run again, alone.
func (s *Store) commitSome(batch []*update) int {
	n, err := s.run(batch, s.db.Update)
	if errors.Is(err, fault.StorageFull) {
		urgent := slices.DeleteFunc(slices.Clone(batch[:n]), func(u *update) bool { return !u.urgent })
		for len(urgent) > 0 {
			done, _ := s.run(urgent, s.db.UpdateSpare)
			urgent = urgent[done:]
		}
	}
	return n
}

// run runs the first transactions of a batch and returns how many, and the failure of all of them together.
func (s *Store) run(batch []*update, in func(func(*kv.Tx) error) error) (n int, err error) {
	err = in(func(raw *kv.Tx) error {
		sum := weight{}
		for n < len(batch) && (n == 0 || sum.small < maxBatchSmall && sum.all < maxBatch) {
			u := batch[n]
			n++
			tx := newOverlay(raw)
			if u.panic, u.err = tx.call(u.fn); u.panic != nil || u.err != nil {
				continue
			}
			if err := tx.flush(); err != nil {
				return err
			}
			sum = sum.plus(tx.weight)
		}
		return nil
	})
	if n == 0 { // refused before anything ran
		n = len(batch)
	}
	for _, u := range batch[:n] {
		if err != nil { // none of them is durable, whatever each of them returned
			u.err, u.panic = err, nil
		}
	}
	return n, err
}
