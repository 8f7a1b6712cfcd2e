package keystoretest

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"sync"

	"coldframe/internal/fault"
	"coldframe/keystore"
)

// Replica is a coordinator's blobs as a vault sees them, in memory, with a hook wherever one may lie, fail or be slow. Its own rules are
// strict: what breaks one is an error, never passed over.
type Replica struct {
	// OnRead may change an answer, or fail. OnSwap runs before a swap, AfterSwap after one that was made; their error is the answer.
	OnRead    func(answer []keystore.Remote) ([]keystore.Remote, error)
	OnSwap    func(s keystore.Swap) error
	AfterSwap func(s keystore.Swap) error

	mu      sync.Mutex
	records map[string]keystore.Remote
	changed []keystore.Credentials // copies, in order
	calls   int
	there   int // records with a body
	names   int // limit of records with a body
	answer  int // limit of an answer, in bytes
}

// NewReplica returns an empty one.
func NewReplica() *Replica {
	return &Replica{records: map[string]keystore.Remote{}, names: 10_000, answer: keystore.MaxSwapBytes}
}

// Limit sets how many records there may be, and how many bytes an answer has at most.
func (r *Replica) Limit(names, answer int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names, r.answer = names, answer
}

// Calls returns how many calls there were.
func (r *Replica) Calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// Credentials returns the changes of credentials that were made.
func (r *Replica) Credentials() []keystore.Credentials {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.changed)
}

// Records returns all records that have a body; their bodies are not to be changed.
func (r *Replica) Records() map[string]keystore.Remote {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := maps.Clone(r.records)
	maps.DeleteFunc(out, func(_ string, rec keystore.Remote) bool { return len(rec.Body) == 0 })
	return out
}

// Set makes these its records, as a replica does that goes back in time, or forks.
func (r *Replica) Set(records map[string]keystore.Remote) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records, r.there = maps.Clone(records), 0
	for _, rec := range r.records {
		r.there += count(rec)
	}
}

// Read is that of keystore.Replica.
func (r *Replica) Read(ctx context.Context, names []string) ([]keystore.Remote, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answer, err := r.read(names)
	if err != nil || r.OnRead == nil {
		return answer, err
	}
	return r.OnRead(answer)
}

func (r *Replica) read(names []string) ([]keystore.Remote, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if len(names) < 1 || len(names) > keystore.MaxSwapRecords {
		return nil, fault.New(fault.InvalidRequest, "%d names", len(names))
	}
	var answer []keystore.Remote
	size := 0
	for _, name := range names {
		rec := r.records[name]
		rec.Name, rec.Body = name, bytes.Clone(rec.Body)
		if size += len(rec.Body); size > r.answer && len(answer) > 0 {
			break
		}
		answer = append(answer, rec)
	}
	return answer, nil
}

// List is that of keystore.Replica, 100 at a time.
func (r *Replica) List(ctx context.Context, prefix, after string) ([]keystore.Remote, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	var list []keystore.Remote
	for _, name := range slices.Sorted(maps.Keys(r.records)) {
		rec := r.records[name]
		if !strings.HasPrefix(name, prefix) || name <= after || len(rec.Body) == 0 {
			continue
		}
		if len(list) == 100 {
			return list, true, nil
		}
		list = append(list, keystore.Remote{Name: name, Mark: rec.Mark})
	}
	return list, false, nil
}

// Swap is that of keystore.Replica.
func (r *Replica) Swap(ctx context.Context, s keystore.Swap) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.OnSwap != nil {
		if err := r.OnSwap(s); err != nil {
			return err
		}
	}
	if err := r.swap(s); err != nil {
		return err
	}
	if r.AfterSwap != nil {
		return r.AfterSwap(s)
	}
	return nil
}

func (r *Replica) swap(s keystore.Swap) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if err := r.check(s); err != nil {
		return err
	}
	for _, c := range s.Changes {
		rec := keystore.Remote{Name: c.Name, Mark: keystore.Mark{Counter: c.Before.Counter + 1}, Body: bytes.Clone(c.Body)}
		_, _ = rand.Read(rec.Mark.Hash[:])
		r.there += count(rec) - count(r.records[c.Name])
		r.records[c.Name] = rec
	}
	if s.Credentials != nil {
		c := *s.Credentials
		c.Old, c.New, c.Recovery = c.Old.Clone(), c.New.Clone(), c.Recovery.Clone()
		r.changed = append(r.changed, c)
	}
	return nil
}

func (r *Replica) check(s keystore.Swap) error {
	if len(s.Changes) < 1 || len(s.Changes) > keystore.MaxSwapRecords {
		return fault.New(fault.InvalidRequest, "%d records in a swap", len(s.Changes))
	}
	size, there, seen := 0, r.there, map[string]bool{}
	for _, c := range s.Changes {
		if seen[c.Name] || len(c.Name) < 1 || len(c.Name) > 64 {
			return fault.New(fault.InvalidRequest, "name %q", c.Name)
		}
		seen[c.Name] = true
		if r.records[c.Name].Mark != c.Before {
			return fault.New(fault.Conflict, "%s is at %d", c.Name, r.records[c.Name].Mark.Counter)
		}
		size += len(c.Body)
		there += count(keystore.Remote{Body: c.Body}) - count(r.records[c.Name])
	}
	switch {
	case size > keystore.MaxSwapBytes:
		return fault.New(fault.TooLarge, "%d bytes in a swap", size)
	case there > r.names && there > r.there:
		return fault.New(fault.StorageFull, "%d records", there)
	}
	return nil
}

func count(rec keystore.Remote) int {
	if len(rec.Body) > 0 {
		return 1
	}
	return 0
}
