package spqr

import (
	"errors"
	"math"
	"testing"

	"coldframe/internal/fault"
)

// number is what Receive makes of a header of epoch e with this key number and no chunk.
func number(s State, epoch uint64, n uint32) (State, [32]byte, error) {
	next, key, _, err := s.Receive((&header{epoch: epoch, number: n}).appendTo(nil))
	return next, key, err
}

// sent returns the first keys that the initiator sends in epoch 0, key i at i.
func sent(n int) [][32]byte {
	c := newChain(rep32(1), A2B)
	keys := make([][32]byte, n+1)
	for i := 1; i <= n; i++ {
		_, keys[i] = c.sendKey(0)
	}
	return keys
}

func TestS07_LongestJump(t *testing.T) {
	s, keys := New(rep32(1), B2A), sent(2*maxJump)
	for _, far := range []uint32{maxJump + 1, math.MaxUint32} {
		if next, _, err := number(s, 1, far); !errors.Is(err, fault.TooLarge) || !unchanged(s, next) {
			t.Errorf("a jump to %d gave %v", far, err)
		}
	}
	for _, n := range []uint32{maxJump, 2 * maxJump} {
		if _, _, err := number(s, 1, n+1); !errors.Is(err, fault.TooLarge) {
			t.Errorf("a jump to %d gave %v", n+1, err)
		}
		next, key, err := number(s, 1, n)
		if err != nil || key != keys[n] {
			t.Fatalf("no key after a jump to %d: %v", n, err)
		}
		s = next
	}
}

// The 2,000 keys before the newest are kept, each for one use.
func TestS06_S07_SkippedKeys(t *testing.T) {
	const newest = 5000
	s, keys := New(rep32(1), B2A), sent(newest+1)
	s, _, err := number(s, 1, newest)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint32{newest - 2000, newest - 1, newest - 1000} {
		next, key, err := number(s, 1, n)
		if err != nil || key != keys[n] {
			t.Errorf("skipped key %d: %v", n, err)
		}
		if _, key, err := number(s, 1, n); err != nil || key != keys[n] {
			t.Errorf("the older State lost key %d: %v", n, err)
		}
		s = next
	}
	for _, n := range []uint32{1, newest - 2001, newest - 2000, newest - 1000, newest - 1, newest} {
		if next, _, err := number(s, 1, n); !errors.Is(err, fault.Replayed) || !unchanged(s, next) {
			t.Errorf("key %d gave %v", n, err)
		}
	}
	if s, _, err = number(s, 1, newest+1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := number(s, 1, newest-1999); err != nil {
		t.Errorf("the oldest key kept: %v", err)
	}
	if len(s.chain.skipped) != 1997 {
		t.Errorf("%d keys kept", len(s.chain.skipped))
	}
	if s, _, err = number(s, 1, newest+2); err != nil || len(s.chain.skipped) != 1996 {
		t.Errorf("%d keys kept, %v: a step alone makes the oldest too old", len(s.chain.skipped), err)
	}
}

// All lines together keep no more than 2,000 keys; the oldest epochs' go first.
func TestS12_SkippedKeysOfAllEpochs(t *testing.T) {
	c := newChain(rep32(1), B2A)
	c.addEpoch(rep32(2))
	c.addEpoch(rep32(3))
	steps := uint32(maxJump)
	for _, step := range []struct {
		epoch         uint64
		number        uint32
		first, second int // keys kept of epochs 0 and 1
	}{{0, 1501, 1500, 0}, {1, 1001, 1000, 1000}, {0, 1601, 1000, 1000}, {1, 9001, 0, 2000}, {0, 1701, 0, 2000}, {2, 9001, 0, 0}} {
		if _, err := c.receiveKey(step.epoch, step.number, &steps); err != nil {
			t.Fatal(err)
		}
		held := map[uint64]int{}
		for i := range c.skipped {
			held[c.skipped[i].epoch]++
			if i > 0 && c.skipped[i-1].compare(c.skipped[i].epoch, c.skipped[i].number) >= 0 {
				t.Fatal("not in order")
			}
		}
		if held[0] != step.first || held[1] != step.second {
			t.Errorf("after key %d of epoch %d: %v", step.number, step.epoch, held)
		}
	}
}

// Keys that fall off a list are erased, for the array that held them lives on.
func TestS12_KeysThatFallOffAreErased(t *testing.T) {
	all := make(skippedKeys, maxSkipped+3)
	for i := range all {
		all[i] = skippedKey{number: uint32(i + 1), key: *rep32(1)}
	}
	kept := all.newest()
	if len(kept) != maxSkipped || kept[0].number != 4 {
		t.Errorf("%d keys from %d on are kept", len(kept), kept[0].number)
	}
	for _, k := range all[:3] {
		if k != (skippedKey{}) {
			t.Error("a key is still there")
		}
	}
}

// Keys of an epoch that was dropped are gone, key 0 of a later epoch than the first never was.
func TestNoSuchKey(t *testing.T) {
	for kind, s := range states(t, 4) {
		if _, _, err := number(s, 1, 500); !errors.Is(err, fault.Replayed) {
			t.Errorf("kind %d: a key of epoch 0 gave %v", kind, err)
		}
		if _, _, err := number(s, 4, 0); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("kind %d: key 0 of epoch 3 gave %v", kind, err)
		}
	}
}

// Sending in an epoch erases the send lines before it and drops the epochs before the last.
func TestSendingForgets(t *testing.T) {
	c := newChain(rep32(1), A2B)
	if _, err := c.receiveKey(0, 10, new(uint32(maxJump))); err != nil {
		t.Fatal(err)
	}
	for e := uint64(1); e < 5; e++ {
		c.addEpoch(rep32(byte(e)))
		c.sendKey(e)
		if c.sending != e || c.oldest != e-1 || c.held != 2 || c.newest() != e {
			t.Fatalf("sending in %d: epochs %d to %d held, send epoch %d", e, c.oldest, c.newest(), c.sending)
		}
		if c.epochs[0].send != (line{}) || c.epochs[0].receive == (line{}) || c.epochs[1].send == (line{}) {
			t.Error("the wrong lines are erased")
		}
		if c.epochs[2] != (epochLines{}) || (len(c.skipped) > 0) != (e == 1) {
			t.Errorf("something of epoch %d is left", e-2)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("sent in an epoch that was left")
		}
	}()
	c.sendKey(3)
}
