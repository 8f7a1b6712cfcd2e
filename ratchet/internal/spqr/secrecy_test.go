package spqr

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// An older State is as good after a newer one was made from it, failed or not: it stores as before, and a message taken in twice gives
// the same key and the same State.
func TestOlderStatesStay(t *testing.T) {
	a, b := newPeers(1)
	random := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		from, to := a, b
		if random.IntN(2) == 0 {
			from, to = b, a
		}
		for range random.IntN(4) {
			from.send() // lost: what follows skips keys
		}
		old, before := from.State, store(from.State)
		l := from.send()
		if !sameParts(store(old), before) {
			t.Fatal("Send changed the State it was called on")
		}
		old, before = to.State, store(to.State)
		for _, at := range []int{len(l.header) - 1, 2, 1} {
			flipped := bytes.Clone(l.header)
			flipped[at] ^= 1 << random.IntN(8)
			_, _, _, _ = old.Receive(flipped)
		}
		if !sameParts(store(old), before) {
			t.Fatal("Receive of a forged header changed the State it was called on")
		}
		to.receive(t, l)
		again, key, _, err := old.Receive(l.header)
		if err != nil || key != l.key || !sameParts(store(again), store(to.State)) || !sameParts(store(old), before) {
			t.Fatalf("the older State: %v", err)
		}
	}
}

// Once a side has moved on, nothing of it stored holds what gave earlier keys: each key used and each state of a line on both sides, and
// the secrets of the exchanges that are over.
func TestForwardSecrecy(t *testing.T) {
	a, b := newPeers(1)
	random := rand.New(rand.NewPCG(5, 6))
	type memory struct {
		*peer
		past map[[32]byte]uint64 // and when it was last held
	}
	sides := [2]memory{{a, map[[32]byte]uint64{}}, {b, map[[32]byte]uint64{}}}
	for range 1500 {
		i := random.IntN(2)
		from, to := sides[i], sides[1-i]
		for range random.IntN(2) {
			from.send()
		}
		l := from.send()
		from.past[l.key] = 0
		to.receive(t, l)
		to.past[l.key] = 0
		for _, side := range sides {
			p := store(side.State)
			stored := bytes.Join(p[:], nil)
			current := secretsOf(side.State)
			for _, s := range current {
				side.past[s] = side.Epoch()
			}
			held := map[[32]byte]bool{}
			for _, s := range current {
				held[s] = true
			}
			for s, epoch := range side.past {
				if !held[s] && bytes.Contains(stored, s[:]) {
					t.Fatalf("epoch %d: a secret last held in epoch %d is still stored", side.Epoch(), epoch)
				}
			}
			if len(side.past) > 400 {
				clear(side.past)
			}
		}
	}
	if a.Epoch() < 5 {
		t.Fatalf("only %d epochs", a.Epoch())
	}
}

// secretsOf are the secrets that a State may hold.
func secretsOf(s State) [][32]byte {
	m := s.machine
	out := [][32]byte{s.chain.nextRoot, m.auth.root, m.auth.mac}
	if traitsOf[m.kind].seed > 0 {
		out = append(out, [32]byte(m.seed[:32]), [32]byte(m.seed[32:]))
	}
	if traitsOf[m.kind].m > 0 {
		out = append(out, m.m)
	}
	for e := s.chain.oldest; e <= s.chain.newest(); e++ {
		if e >= s.chain.sending {
			out = append(out, s.chain.at(e).send.next)
		}
		out = append(out, s.chain.at(e).receive.next)
	}
	return out
}

// WipeExcept leaves the State that goes on whole, whichever way it was made, and nothing in the other one.
func TestWipe(t *testing.T) {
	a, b := newPeers(1)
	for i := range 600 {
		old := b.State
		if i%3 == 0 {
			a.send()
		}
		b.receive(t, a.send())
		stored, machine, skipped := store(b.State), old.machine, old.chain.skipped
		old.WipeExcept(&b.State)
		if !sameParts(store(b.State), stored) {
			t.Fatal("the State that goes on was wiped")
		}
		if machine != b.machine && (machine.auth != authenticator{} || machine.seed != [seedSize]byte{} || machine.m != [randomSize]byte{}) {
			t.Fatal("a machine was not wiped")
		}
		for _, k := range skipped {
			if !skipped.same(b.chain.skipped) && k != (skippedKey{}) {
				t.Fatal("skipped keys were not wiped")
			}
		}
		a.receive(t, b.send())
	}
	chain, machine := b.chain, b.machine
	b.Wipe()
	if b.machine != nil || b.chain.nextRoot != [32]byte{} || b.chain.epochs != (State{}).chain.epochs {
		t.Error("the State was not wiped")
	}
	if machine.auth != (authenticator{}) {
		t.Error("the machine was not wiped")
	}
	for _, k := range chain.skipped {
		if k != (skippedKey{}) {
			t.Error("skipped keys were not wiped")
		}
	}
}

// Send and Receive allocate nothing when no chunk and no skipped key is kept.
func TestNoAllocations(t *testing.T) {
	all := states(t, 2)
	sender, receiver := all[headerSent], all[headerReceived]
	random := newRand(1)
	var buffer [64]byte
	if n := testing.AllocsPerRun(100, func() { sender, _, _ = sender.Send(random, buffer[:0]) }); n != 0 {
		t.Errorf("%v allocations in Send", n)
	}
	h := header{epoch: 2, number: receiver.chain.at(1).receive.ctr, payload: payloadVector}
	if n := testing.AllocsPerRun(100, func() {
		h.number++
		next, _, _, err := receiver.Receive(h.appendTo(buffer[:0]))
		if err != nil {
			t.Fatal(err)
		}
		receiver = next
	}); n != 0 {
		t.Errorf("%v allocations in Receive", n)
	}
}
