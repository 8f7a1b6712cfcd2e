package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"coldframe/bench/figures"
	"coldframe/coordinator"
	"coldframe/coordinator/badgerstore"
	"coldframe/coordinator/state"
	"coldframe/coordinator/storetest"
)

// side is one thing that is measured: op does the nth operation of a writer.
type side struct {
	name string
	op   func(writer, n int) error
	did  []float64 // operations a second, by round
}

// writes measures all sides in turns.
func writes(ctx context.Context, dir string, rounds int, turn time.Duration, f *figures.List) (err error) {
	st, err := badgerstore.Open(filepath.Join(dir, "store"), badgerstore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	bare, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "bare")).WithSyncWrites(true).WithLogger(nil))
	if err != nil {
		return err
	}
	defer bare.Close()
	s, err := newState(ctx, st, 2*writers)
	if err != nil {
		return err
	}
	sides := []*side{bareWrites(bare), mail(ctx, s), swaps(ctx, s), fetches(ctx, s)}
	for range rounds {
		for _, side := range sides {
			n, err := side.turn(turn)
			if err != nil {
				return err
			}
			side.did = append(side.did, n)
		}
	}
	for _, side := range sides[1:] {
		var ratios []float64
		for i, n := range side.did {
			ratios = append(ratios, n/min(sides[0].did[i]*0.6, 3000))
		}
		f.Note(side.name, figures.Median(side.did), "op/s")
		f.AtLeast(side.name+", of its target", figures.Median(ratios), "x", 1)
	}
	f.Note(sides[0].name, figures.Median(sides[0].did), "op/s")
	return nil
}

// turn runs all writers for a while and returns operations a second.
func (s *side) turn(length time.Duration) (float64, error) {
	var done atomic.Int64
	var failure atomic.Value
	var wg sync.WaitGroup
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			for n := 0; time.Since(start) < length && failure.Load() == nil; n++ {
				if err := s.op(w, len(s.did)<<32|n); err != nil {
					failure.Store(fmt.Errorf("%s: %w", s.name, err))
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if err, ok := failure.Load().(error); ok {
		return 0, err
	}
	return float64(done.Load()) / time.Since(start).Seconds(), nil
}

// newState returns a state with so many users, and quotas that do not end a turn.
func newState(ctx context.Context, st *badgerstore.Store, users int) (*state.State, error) {
	limits := state.DefaultLimits
	limits.WriteRate = 0
	limits.Quota = state.Quota{Blobs: 1 << 40, Bytes: 1 << 40, Mail: 1 << 40, MailBytes: 1 << 40}
	limits.MailPerSender, limits.BytesPerSender = 1<<40, 1<<40
	s, err := state.New(ctx, st, state.Options{Registration: state.Open, Limits: limits, Cost: storetest.CheapCost})
	if err != nil {
		return nil, err
	}
	for i := range users {
		if err := register(ctx, s, i); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func register(ctx context.Context, s *state.State, n int) error {
	_, err := s.Register(ctx, state.NewAccount{User: storetest.UserN(n), Device: storetest.DeviceN(n), Email: bytes32(n), Proof: bytes32(n)})
	return err
}

func bytes32(n int) []byte { return fmt.Appendf(nil, "%032d", n) }

func bareWrites(db *badger.DB) *side {
	return &side{name: "bare Badger, SyncWrites", op: func(w, n int) error {
		return db.Update(func(tx *badger.Txn) error { return tx.Set(fmt.Appendf(nil, "k/%d/%d", w, n), make([]byte, size)) })
	}}
}

func mail(ctx context.Context, s *state.State) *side {
	return &side{name: "mail", op: func(w, n int) error {
		_, err := s.Send(ctx, storetest.UserN(w), storetest.UserN(writers+w), fmt.Sprint(n), make([]byte, size))
		return err
	}}
}

func swaps(ctx context.Context, s *state.State) *side {
	heads := make([]state.Version, writers)
	return &side{name: "swaps of a blob", op: func(w, _ int) error {
		sw := state.Swap{Name: "ratchet", Counter: heads[w].Counter + 1, Nonce: [coordinator.NonceSize]byte{1}, Body: make([]byte, size)}
		copy(sw.Previous[:], heads[w].Hash)
		made, err := s.Swap(ctx, storetest.UserN(w), []state.Swap{sw})
		if err == nil {
			heads[w] = made.Versions[0]
		}
		return err
	}}
}

// fetches uploads 100 one-time prekeys for every 100 that it fetches, as an agent would.
func fetches(ctx context.Context, s *state.State) *side {
	var sequence, left [writers]int
	return &side{name: "fetches of prekeys", op: func(w, n int) error {
		owner := storetest.UserN(writers + w)
		if left[w] == 0 {
			sequence[w]++
			u := state.Upload{Sequence: uint64(sequence[w]), Bundle: make([]byte, size), OneTime: make([][]byte, 100)}
			for i := range u.OneTime {
				u.OneTime[i] = make([]byte, 33)
			}
			if _, err := s.PutPreKeys(ctx, owner, u); err != nil {
				return err
			}
			left[w] = len(u.OneTime)
		}
		left[w]--
		_, err := s.FetchPreKeys(ctx, storetest.UserN(w), owner, fmt.Sprint(n))
		return err
	}}
}
