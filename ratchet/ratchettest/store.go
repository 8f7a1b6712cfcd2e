package ratchettest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"

	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

const purpose = "ratchet/record"

// Store holds the records of one party as a coordinator would: each part sealed by itself, changed by compare-and-swap. It is safe for
// concurrent use: agents of the same party may share one.
type Store struct {
	owner  string
	sealer *seal.Sealer

	mu      sync.Mutex
	records map[ratchet.Address]*record
	preKeys sealed
}

// record is the stored state of the sessions with one peer.
type record struct {
	counter uint64
	parts   map[ratchet.PartID]sealed
}

// sealed is a sealed value and the counter it was sealed with.
type sealed struct {
	counter uint64
	body    []byte
}

// NewStore returns an empty store with a random key.
func NewStore(owner string) *Store {
	return &Store{
		owner: owner, sealer: seal.NewSealer(secret.Random(), seal.RandomKeyID(), purpose),
		records: map[ratchet.Address]*record{},
	}
}

func (s *Store) context(id, field string, counter uint64) seal.Context {
	return seal.Context{Owner: s.owner, Type: "ratchet", ID: id, Field: field, Version: counter}
}

func peerID(a ratchet.Address) string { return fmt.Sprintf("%s.%d", a.Name, a.Device) }

func partField(id ratchet.PartID) string { return fmt.Sprintf("part %d", id) }

// Save returns what stores the changes of the session with one peer.
func (s *Store) Save(peer ratchet.Address) ratchet.Save {
	return func(c ratchet.Change) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		r := s.records[peer]
		if r == nil {
			r = &record{parts: map[ratchet.PartID]sealed{}}
		}
		if c.Counter != r.counter+1 {
			return fault.New(fault.Conflict, "the record is at %d, the change makes %d of it", r.counter, c.Counter)
		}
		if c.PreKeys != nil {
			if err := s.savePreKeys(c.PreKeys); err != nil {
				return err
			}
		}
		if c.Begins {
			clear(r.parts)
		}
		for _, p := range c.Put {
			r.parts[p.ID] = sealed{c.Counter, s.sealer.Seal(s.context(peerID(peer), partField(p.ID), c.Counter), p.Body)}
		}
		for _, id := range c.Drop {
			delete(r.parts, id)
		}
		r.counter = c.Counter
		s.records[peer] = r
		return nil
	}
}

// SavePreKeys stores a record of prekeys that has the next counter.
func (s *Store) SavePreKeys(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.savePreKeys(b)
}

func (s *Store) savePreKeys(b []byte) error {
	counter, err := ratchet.PreKeysCounter(b)
	if err != nil {
		return err
	}
	if counter != s.preKeys.counter+1 {
		return fault.New(fault.Conflict, "the prekeys are at %d, the change makes %d of it", s.preKeys.counter, counter)
	}
	s.preKeys = sealed{counter, s.sealer.Seal(s.context("", "prekeys", counter), b)}
	return nil
}

// Parts opens the record of a peer; nil if there is none.
func (s *Store) Parts(peer ratchet.Address) ([]ratchet.Part, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[peer]
	if r == nil {
		return nil, nil
	}
	var parts []ratchet.Part
	for _, id := range slices.Sorted(maps.Keys(r.parts)) {
		p := r.parts[id]
		body, err := s.sealer.Open(s.context(peerID(peer), partField(id), p.counter), p.body)
		if err != nil {
			return nil, err
		}
		parts = append(parts, ratchet.Part{ID: id, Body: body})
	}
	return parts, nil
}

// Session opens the session with a peer, a new one if there is no record.
func (s *Store) Session(l *ratchet.Local, peer ratchet.Address) (*ratchet.Session, error) {
	seen := s.Counter(peer) // before the parts: another agent may be at work
	parts, err := s.Parts(peer)
	if err != nil {
		return nil, err
	}
	if parts == nil {
		return ratchet.NewSession(l, peer, seen), nil
	}
	return ratchet.OpenSession(l, peer, parts, seen)
}

// Counter returns the highest counter of a record that there was for a peer, 0 if there was none.
func (s *Store) Counter(peer ratchet.Address) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[peer]; r != nil {
		return r.counter
	}
	return 0
}

// PreKeys opens the prekeys, new ones if there is no record.
func (s *Store) PreKeys(l *ratchet.Local) (*ratchet.PreKeys, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.preKeys.counter == 0 {
		return ratchet.NewPreKeys(l, 0), nil
	}
	b, err := s.sealer.Open(s.context("", "prekeys", s.preKeys.counter), s.preKeys.body)
	if err != nil {
		return nil, err
	}
	return ratchet.OpenPreKeys(l, b, s.preKeys.counter)
}

// Copy returns the store as it is now: what a thief, or a restored backup, has.
func (s *Store) Copy() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Store{owner: s.owner, sealer: s.sealer, records: map[ratchet.Address]*record{}, preKeys: s.preKeys}
	for peer, r := range s.records {
		c.records[peer] = &record{r.counter, maps.Clone(r.parts)}
	}
	return c
}

// Same reports whether both stores hold the same, byte for byte as it is sealed. Neither may change meanwhile.
func (s *Store) Same(o *Store) bool {
	same := func(a, b sealed) bool { return a.counter == b.counter && bytes.Equal(a.body, b.body) }
	return same(s.preKeys, o.preKeys) && maps.EqualFunc(s.records, o.records, func(a, b *record) bool {
		return a.counter == b.counter && maps.EqualFunc(a.parts, b.parts, same)
	})
}

// Each calls fn for every sealed part of a peer's record. What fn returns takes its place; the same bytes leave it alone.
func (s *Store) Each(peer ratchet.Address, fn func(id ratchet.PartID, body []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[peer]
	for _, id := range slices.Sorted(maps.Keys(r.parts)) {
		p := r.parts[id]
		r.parts[id] = sealed{p.counter, fn(id, p.body)}
	}
}

// EachPreKeys is Each for the prekeys.
func (s *Store) EachPreKeys(fn func(body []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.preKeys.body = fn(s.preKeys.body)
}

// Drop gives the record of a peer up. Its counter stays known.
func (s *Store) Drop(peer ratchet.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[peer]; r != nil {
		r.parts = map[ratchet.PartID]sealed{}
	}
}

// Size returns the bytes of a peer's record as stored.
func (s *Store) Size(peer ratchet.Address) int {
	n := 0
	s.Each(peer, func(_ ratchet.PartID, b []byte) []byte { n += len(b); return b })
	return n
}
