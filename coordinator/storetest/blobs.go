package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"coldframe/coordinator/state"
	"coldframe/internal/fault"
)

// agent is one of several of a user that change one blob: it reads, then swaps, and the loser reads again.
type agent struct {
	user   state.UserID
	random *rand.Rand
	have   *state.Body // read, and not yet used
	won    map[uint64]string
}

// step does the next thing and reports whether it won a swap.
func (a *agent) step(t testing.TB, s *state.State) bool {
	ctx := context.Background()
	if a.have == nil {
		b, err := s.Blob(ctx, a.user, "ratchet", 0)
		if err != nil && !errors.Is(err, fault.NotFound) {
			t.Error(err)
		}
		a.have = &b
		return false
	}
	sw := state.Swap{Name: "ratchet", Counter: a.have.Counter + 1, Body: []byte("the same of both"), Keep: a.random.IntN(state.MaxHistory + 1)}
	copy(sw.Previous[:], a.have.Hash)
	for i := range sw.Nonce {
		sw.Nonce[i] = byte(a.random.Uint32())
	}
	a.have = nil
	_, err := s.Swap(ctx, a.user, []state.Swap{sw})
	if errors.Is(err, fault.Conflict) {
		return false
	}
	if err != nil {
		t.Error(err)
		return false
	}
	if _, err := s.Swap(ctx, a.user, []state.Swap{sw}); err != nil && a.random.IntN(2) == 0 && !errors.Is(err, fault.Conflict) {
		t.Error("the answer was lost and the swap made again:", err)
	}
	a.won[sw.Counter] = string(sw.Nonce[:])
	return true
}

// oneWinner: two agents on one blob, 2,000 schedules of their steps, restarts between them: no counter has two winners, and each has one.
func oneWinner(t *testing.T, b *stateBench) {
	const users, schedules = 20, 100
	for i := range users {
		b.user(i)
	}
	for part := range 4 {
		var wg sync.WaitGroup
		for i := range users {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(part), uint64(i)))
				for range schedules / 4 {
					a := [2]agent{{user: UserN(i), random: r, won: map[uint64]string{}}, {user: UserN(i), random: r, won: map[uint64]string{}}}
					before, _ := b.Blob(context.Background(), UserN(i), "ratchet", 0)
					wins := 0
					for range 12 {
						if a[r.IntN(2)].step(t, b.State) {
							wins++
						}
					}
					checkWinners(t, b.State, UserN(i), a[:], before.Counter, wins)
				}
			})
		}
		wg.Wait()
		b.restart()
	}
}

// checkWinners wants each counter since before to have been won once, and the newest to hold what its winner put there.
func checkWinners(t testing.TB, s *state.State, user state.UserID, agents []agent, before uint64, wins int) {
	t.Helper()
	now, err := s.Blob(context.Background(), user, "ratchet", 0)
	if errors.Is(err, fault.NotFound) && wins == 0 {
		return
	}
	if err != nil || now.Counter != before+uint64(wins) {
		t.Errorf("%d swaps were won from %d on, and the blob is at %d (%v)", wins, before, now.Counter, err)
		return
	}
	for c := before + 1; c <= now.Counter; c++ {
		winners := 0
		for _, a := range agents {
			if nonce, ok := a.won[c]; ok {
				winners++
				if c == now.Counter && nonce != string(now.Nonce) {
					t.Errorf("%d holds what its winner did not put there", c)
				}
			}
		}
		if winners != 1 {
			t.Errorf("counter %d was won by %d", c, winners)
		}
	}
}

// swapsOfManyAgents: 8 agents at once, each until it won 10 times.
func swapsOfManyAgents(t *testing.T, b *stateBench) {
	b.user(1)
	agents := make([]agent, 8)
	var wg sync.WaitGroup
	for i := range agents {
		agents[i] = agent{user: UserN(1), random: rand.New(rand.NewPCG(7, uint64(i))), won: map[uint64]string{}}
		wg.Go(func() {
			for len(agents[i].won) < 10 && !t.Failed() {
				agents[i].step(t, b.State)
			}
		})
	}
	wg.Wait()
	b.restart()
	checkWinners(t, b.State, UserN(1), agents, 0, 80)
}
