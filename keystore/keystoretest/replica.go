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
	login   keystore.Proof         // in force; none: it is not known, and the next one passes
	kit     keystore.Proof         // of recovery, in the same way
	deleted []string               // names, the one that was deleted first in front
	strict  bool                   // no proof passes that is not known
	floor   uint64                 // no record that is not there begins below it
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
	r.records, r.there, r.deleted, r.login, r.kit = maps.Clone(records), 0, nil, keystore.Proof{}, keystore.Proof{}
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

// Marks is that of keystore.Replica.
func (r *Replica) Marks(ctx context.Context, names []string) ([]keystore.Presence, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if len(names) < 1 || len(names) > keystore.MaxSwapRecords {
		return nil, fault.New(fault.InvalidRequest, "%d names", len(names))
	}
	if r.OnRead != nil {
		if _, err := r.OnRead(nil); err != nil {
			return nil, err
		}
	}
	out := make([]keystore.Presence, len(names))
	for i, name := range names {
		rec := r.records[name]
		out[i] = keystore.Presence{Name: name, Mark: rec.Mark, There: len(rec.Body) > 0}
	}
	return out, nil
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
		r.put(c)
	}
	if s.Credentials != nil {
		c := *s.Credentials
		c.Old, c.New, c.Recovery = c.Old.Clone(), c.New.Clone(), c.Recovery.Clone()
		r.changed, r.login = append(r.changed, c), c.New
		if !c.Recovery.IsZero() {
			r.kit = c.Recovery
		}
	}
	return nil
}

// put makes a change that was checked. A record that never was begins above the floor, which rises with the deletions that are forgotten.
func (r *Replica) put(c keystore.RemoteChange) {
	before := c.Before.Counter
	if c.Before == (keystore.Mark{}) {
		before = r.floor
	}
	rec := keystore.Remote{Name: c.Name, Mark: keystore.Mark{Counter: before + 1}, Body: bytes.Clone(c.Body)}
	_, _ = rand.Read(rec.Mark.Hash[:])
	r.there += count(rec) - count(r.records[c.Name])
	r.records[c.Name] = rec
	r.deleted = slices.DeleteFunc(r.deleted, func(name string) bool { return name == c.Name })
	if len(c.Body) > 0 {
		return
	}
	if r.deleted = append(r.deleted, c.Name); len(r.deleted) > maxDeleted {
		r.floor = max(r.floor, r.records[r.deleted[0]].Mark.Counter)
		delete(r.records, r.deleted[0])
		r.deleted = r.deleted[1:]
	}
}

// maxDeleted is how many deletions are known, as at a coordinator.
const maxDeleted = 1024

// Knows sets the login proof that is in force, where there is no kit's; without it the first proofs that are shown pass.
func (r *Replica) Knows(login keystore.Proof) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.login, r.strict = login.Clone(), true
}

// proves reports whether a change of credentials shows what is in force, or sets it again.
func (r *Replica) proves(c *keystore.Credentials) bool {
	shows := func(p keystore.Proof) bool { return p.IsZero() && !r.strict || !p.IsZero() && p.Equal(c.Old) }
	return c == nil || shows(r.login) || shows(r.kit) || r.login.Equal(c.New)
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
		if len(c.Body)+len(r.records[c.Name].Body) == 0 {
			return fault.New(fault.Conflict, "%s is not there", c.Name)
		}
		size += len(c.Body)
		there += count(keystore.Remote{Body: c.Body}) - count(r.records[c.Name])
	}
	switch {
	case !r.proves(s.Credentials):
		return fault.New(fault.Forbidden, "the present proof is another one")
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
