package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"coldframe/coordinator"
	"coldframe/internal/fault"
)

const (
	maxNames       = 256     // blobs in one answer
	maxPages       = 256     // answers, for one list
	roomAboveFloor = 1 << 10 // for blobs that are deleted meanwhile
	maxFloor       = 1 << 52
)

// store is the user's blobs.
type store struct {
	client Client
	begin  atomic.Uint64 // counter that new blobs begin with; 0: not asked yet
}

// first returns a counter for a blob that never was: some room above the floor, so that deletions of another device do not come in between.
func (s *store) first(ctx context.Context) (uint64, error) {
	if n := s.begin.Load(); n > 0 {
		return n, nil
	}
	c, err := s.client()
	if err != nil {
		return 0, err
	}
	one := 1
	page, err := c.ReadBlobs(ctx, coordinator.BlobRead{Limit: &one})
	if err != nil {
		return 0, failure(err)
	}
	if page.Floor < 0 || page.Floor > maxFloor {
		return 0, fault.New(fault.NotAuthentic, "the coordinator's counters are used up")
	}
	n := uint64(page.Floor) + roomAboveFloor
	s.begin.Store(n)
	return n, nil
}

// page reads blobs, of one moment and ordered by name, and reports whether more follow. fits says which names were asked for.
func (s *store) page(ctx context.Context, r coordinator.BlobRead, fits func(name string) bool) (list []coordinator.Blob, more bool, err error) {
	c, err := s.client()
	if err != nil {
		return nil, false, err
	}
	p, err := c.ReadBlobs(ctx, r)
	if err != nil {
		return nil, false, failure(err)
	}
	last := ""
	if r.After != nil {
		last = *r.After
	}
	for _, b := range p.Blobs {
		if b.Name <= last || !fits(b.Name) {
			return nil, false, errOther
		}
		last = b.Name
	}
	if p.More && len(p.Blobs) == 0 {
		return nil, false, errOther
	}
	return p.Blobs, p.More, nil
}

// read returns those of the names that are or were there.
func (s *store) read(ctx context.Context, names []string, bodies bool) (list []coordinator.Blob, more bool, err error) {
	return s.page(ctx, coordinator.BlobRead{Names: &names, Bodies: &bodies}, func(name string) bool { return slices.Contains(names, name) })
}

// names returns a page of blobs whose names begin with prefix, deleted ones among them.
func (s *store) names(ctx context.Context, prefix, after string) (list []coordinator.Blob, more bool, err error) {
	r := coordinator.BlobRead{Prefix: &prefix}
	if after != "" {
		r.After = &after
	}
	return s.page(ctx, r, func(name string) bool { return strings.HasPrefix(name, prefix) })
}

// all returns all pages of names.
func (s *store) all(ctx context.Context, prefix string) (all []coordinator.Blob, err error) {
	after := ""
	for range maxPages {
		list, more, err := s.names(ctx, prefix, after)
		if err != nil {
			return nil, err
		}
		if all = append(all, list...); !more {
			return all, nil
		}
		after = list[len(list)-1].Name
	}
	return nil, errEndless
}

var errEndless = fault.New(fault.TooLarge, "the coordinator's list does not end")

// sender makes swaps at the coordinator.
type sender func(ctx context.Context, c *coordinator.Client, list []coordinator.Swap) error

// swap makes a list of swaps, all or none. A counter of 0 stands for a blob that never was. Where the floor rose above what was taken for
// it, the list is tried once more.
func (s *store) swap(ctx context.Context, list []coordinator.Swap, send sender) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	first, fresh := uint64(0), slices.ContainsFunc(list, func(w coordinator.Swap) bool { return w.Counter == 0 })
	if fresh {
		if first, err = s.first(ctx); err != nil {
			return err
		}
	}
	if err = send(ctx, c, numbered(list, first)); !errors.Is(err, fault.Conflict) {
		return err
	}
	s.begin.Store(0) // perhaps it was the floor
	if fresh {
		if again, moved := s.first(ctx); moved == nil && again > first {
			return send(ctx, c, numbered(list, again))
		}
	}
	return err
}

// numbered returns the list with random nonces, and with the counter first, where there are none.
func numbered(list []coordinator.Swap, first uint64) []coordinator.Swap {
	out := slices.Clone(list)
	for i := range out {
		if out[i].Counter == 0 {
			out[i].Counter = int64(first)
		}
		if out[i].Nonce == nil {
			out[i].Nonce = make([]byte, coordinator.NonceSize)
			rand.Read(out[i].Nonce) //nolint:errcheck // ends the process instead of failing
		}
		if out[i].Body == nil {
			out[i].Body = []byte{}
		}
	}
	return out
}

// plain sends swaps and nothing with them.
func plain(ctx context.Context, c *coordinator.Client, list []coordinator.Swap) error {
	made, err := c.Swap(ctx, list...)
	if err != nil {
		return unsure(err)
	}
	if len(made.Versions) != len(list) {
		return unsure(errOther)
	}
	for i, w := range list {
		if hash := hashOf(c.User(), w); !bytes.Equal(made.Versions[i].Hash, hash[:]) {
			return unsure(errOther)
		}
	}
	return nil
}

// hashOf returns the hash of the version that a swap makes.
func hashOf(user string, w coordinator.Swap) [coordinator.HashSize]byte {
	h := coordinator.Header{Counter: uint64(w.Counter), Previous: [coordinator.HashSize]byte(w.Previous), Nonce: [coordinator.NonceSize]byte(w.Nonce)}
	if w.Delete == nil || !*w.Delete {
		h.Body = coordinator.BodyHash(w.Body)
	}
	return h.Hash(user, w.Name)
}

// bodyOf returns what is in a blob that was read with its body; nil if that is nothing.
func bodyOf(b *coordinator.Blob) []byte {
	if b.Body == nil || b.IsDeleted() {
		return nil
	}
	return *b.Body
}
