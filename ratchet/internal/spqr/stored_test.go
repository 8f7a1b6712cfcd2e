package spqr

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"coldframe/internal/fault"
	"coldframe/ratchet/internal/erasure"
)

func TestStoreEveryKind(t *testing.T) {
	for _, epoch := range []uint64{1, 2, 5} {
		for _, s := range states(t, epoch) {
			p := peer{State: s}
			p.reload(t)
			p.jump(t, 2000)
			p.reload(t)
		}
	}
}

// jump takes in a message so far ahead.
func (p *peer) jump(t failer, ahead uint32) {
	t.Helper()
	next, _, err := number(p.State, p.Epoch(), p.chain.at(p.Epoch()-1).receive.ctr+ahead)
	if err != nil {
		t.Fatalf("jump: %v", err)
	}
	p.State = next
}

// Every cut, every longer part and every part of another kind is refused.
func TestS03_StoredPartsCutOrExchanged(t *testing.T) {
	all := states(t, 3)
	for kind, s := range all {
		good := store(s)
		for part := range good {
			for n := range good[part] {
				bad := good
				if bad[part] = good[part][:n]; part == 3 && n%storedSkipped == 0 {
					continue // fewer keys are a State as well
				}
				wantRefused(t, bad)
			}
			bad := good
			bad[part] = append(bytes.Clone(good[part]), 0)
			wantRefused(t, bad)
		}
		for other, o := range all {
			if kind != other {
				bad := good
				bad[1], bad[2] = o.AppendMachine(nil), o.AppendIntake(nil)
				if _, err := bad.parse(); !errors.Is(err, fault.NotAuthentic) {
					t.Errorf("parts of kind %d taken for kind %d: %v", other, kind, err)
				}
			}
		}
	}
}

func wantRefused(t *testing.T, p parts) {
	t.Helper()
	if _, err := p.parse(); !errors.Is(err, fault.NotAuthentic) {
		t.Fatalf("malformed State: %v", err)
	}
}

// Bytes of the first part that say what cannot be.
func TestS03_ImpossibleLines(t *testing.T) {
	for kind, s := range states(t, 3) {
		good := store(s)
		for at, values := range map[int][]byte{
			0:  {byte(kindEnd), 255},
			1:  {0x40, 0xff},
			8:  {0, 2, 4, 5},
			9:  {1 - good[0][9], 2},
			10: {0, 3, 255},
		} {
			for _, v := range values {
				bad := good
				bad[0] = bytes.Clone(good[0])
				bad[0][at] = v
				wantRefused(t, bad)
			}
		}
		if traitsOf[kind].stream == 0 {
			bad := good
			bad[0] = bytes.Clone(good[0])
			bad[0][12] = 1
			wantRefused(t, bad)
		}
	}
}

// An epoch so high that sums with it would run over, in both parts that say it.
func TestS03_ImpossibleEpoch(t *testing.T) {
	s := states(t, 3)[noHeader]
	m := *s.machine
	s.machine = &m
	for epoch, ok := range map[uint64]bool{maxStoredEpoch - 1: true, maxStoredEpoch + 1: false, math.MaxUint64: false} {
		s.chain.sending += epoch - m.epoch
		s.chain.oldest += epoch - m.epoch
		m.epoch = epoch
		if _, err := store(s).parse(); (err == nil) != ok {
			t.Errorf("epoch %d: %v", epoch, err)
		}
	}
}

// Send epochs that do not go with the kind: nobody is in keysUnsampled of a later epoch who has sent in it, nor in keysSampled who has not.
func TestS03_ImpossibleSendEpoch(t *testing.T) {
	all := states(t, 3)
	s := all[noHeader]
	m := *s.machine
	s.machine = &m
	if _, err := store(s).parse(); err != nil || m.epoch-s.chain.sending != 1 {
		t.Fatal("not the State that this test is about", err)
	}
	m.kind, s.chain.direction, s.intake = keysUnsampled, 1-s.chain.direction, erasure.Decoder{}
	wantRefused(t, store(s))

	s = all[keysUnsampled]
	m = *s.machine
	s.machine = &m
	if _, err := store(s).parse(); err != nil || m.epoch-s.chain.sending != 2 {
		t.Fatal("not the State that this test is about", err)
	}
	m.kind, m.stream = keysSampled, erasure.NewEncoder(rep(1, headerStream))
	wantRefused(t, store(s))
}

// A decoder that has its stream, or is for another one.
func TestS03_ImpossibleIntake(t *testing.T) {
	good := store(states(t, 3)[noHeader])
	for what, d := range map[string]erasure.Decoder{
		"whole":          erasure.NewDecoder(headerStream).Add(0, rep32(1)).Add(1, rep32(2)).Add(2, rep32(3)),
		"of another one": erasure.NewDecoder(c2Stream).Add(0, rep32(1)),
	} {
		bad := good
		if bad[2] = d.AppendTo(nil); bad[2] == nil {
			t.Fatal("no decoder")
		}
		if _, err := bad.parse(); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// entry is a skipped key as it is stored.
func entry(epoch byte, number uint32) []byte {
	return append([]byte{epoch, byte(number >> 24), byte(number >> 16), byte(number >> 8), byte(number)}, rep(7, 32)...)
}

// Two lines may together keep as many keys as one.
func TestS12_TooManyStoredKeys(t *testing.T) {
	s := states(t, 3)[noHeader]
	for i := range s.chain.held {
		s.chain.epochs[i].receive.ctr = 5000
	}
	p := store(s)
	p[3] = nil
	for n := range uint32(maxSkipped) {
		p[3] = append(p[3], entry(byte(s.chain.oldest), 3000+n)...)
	}
	if _, err := p.parse(); err != nil {
		t.Error(err)
	}
	p[3] = append(p[3], entry(byte(s.chain.newest()), 4999)...)
	wantRefused(t, p)
}

func TestS03_ImpossibleSkippedKeys(t *testing.T) {
	p := peer{State: New(rep32(1), B2A)}
	p.jump(t, 5)
	early := store(p.State)
	early[3] = entry(0, 0)
	wantRefused(t, early)
	p.jump(t, 4995)
	s := p.State
	for what, keys := range map[string][][]byte{
		"twice":          {entry(0, 4000), entry(0, 4000)},
		"in no order":    {entry(0, 4001), entry(0, 4000)},
		"too old":        {entry(0, 2999)},
		"still to come":  {entry(0, 5000)},
		"of no epoch":    {entry(1, 4000)},
		"of epoch 255":   {entry(255, 4000)},
		"too many":       {s.AppendSkipped(nil), entry(0, 4999)},
		"one and a half": {entry(0, 4000), entry(0, 4001)[:20]},
	} {
		bad := store(s)
		bad[3] = bytes.Join(keys, nil)
		if _, err := bad.parse(); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s: %v", what, err)
		}
	}
	good := store(s)
	good[3] = bytes.Join([][]byte{entry(0, 3000), entry(0, 4999)}, nil)
	if _, err := good.parse(); err != nil {
		t.Error(err)
	}
}

// What Same says is the same has the same bytes, and at most messages the big parts are the same.
func TestSameParts(t *testing.T) {
	a, b := newPeers(1)
	machines, intakes := 0, 0
	const messages = 4000
	check := func(before, after State) {
		x, y := store(before), store(after)
		for part, same := range []bool{false, after.SameMachine(before), after.SameIntake(before), after.SameSkipped(before)} {
			if same && !bytes.Equal(x[part], y[part]) {
				t.Fatalf("part %d changed", part)
			}
		}
		if !after.SameMachine(before) {
			machines++
		}
		if !after.SameIntake(before) {
			intakes++
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range messages {
		from, to := a, b
		if random.IntN(2) == 0 {
			from, to = b, a
		}
		before := from.State
		l := from.send()
		check(before, from.State)
		before = to.State
		if random.IntN(10) > 0 {
			to.receive(t, l)
		}
		check(before, to.State)
	}
	if epochs := int(a.Epoch()); machines > 14*epochs || intakes > 90*epochs || epochs < 20 {
		t.Errorf("%d machine parts and %d intake parts in %d epochs", machines, intakes, epochs)
	}
}

func FuzzState(f *testing.F) {
	for _, epoch := range []uint64{1, 2} {
		for _, s := range states(f, epoch) {
			p := peer{State: s}
			p.jump(f, 3)
			stored := store(p.State)
			f.Add(stored[0], stored[1], stored[2], stored[3])
		}
	}
	f.Fuzz(func(t *testing.T, lines, machine, intake, skipped []byte) {
		s, err := Parse(lines, machine, intake, skipped)
		if err != nil {
			return
		}
		stored := store(s)
		for i, p := range [][]byte{lines, machine, intake, skipped} {
			if !bytes.Equal(p, stored[i]) {
				t.Fatalf("part %d is stored as other bytes", i)
			}
		}
		use(t, s)
		if !sameParts(store(s), stored) {
			t.Fatal("using a State changed it")
		}
	})
}

// use sends with a State that may be nonsense, and receives every payload with it.
func use(t *testing.T, s State) {
	if s.chain.at(s.Epoch()-1).send.ctr < math.MaxUint32 {
		p := peer{State: s, rand: newRand(1)}
		if _, err := parseHeader(p.send().header); err != nil {
			t.Fatal(err)
		}
	}
	for p := range payloadEnd {
		h := header{epoch: s.Epoch(), number: 7, payload: p, chunk: 5}
		next, _, _, err := s.Receive(h.appendTo(nil))
		if err == nil {
			stored := store(next)
			if again, err := stored.parse(); err != nil || !sameParts(store(again), stored) {
				t.Fatalf("the next State is not stored well: %v", err)
			}
		}
	}
}
