package spqr

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"coldframe/internal/fault"
	"coldframe/ratchet/internal/mlkem768"
)

// states returns the last State of each kind in an epoch, as they come up in two dialogues: one without loss, and one in which the owner
// of the key hears a third of the answers, without which nobody gets into vectorReceived.
func states(t failer, epoch uint64) map[kind]State {
	t.Helper()
	out := map[kind]State{}
	for _, every := range []int{3, 1} {
		a, b := newPeers(1)
		keep := func(p *peer) {
			if p.Epoch() == epoch {
				out[p.machine.kind] = p.State
			}
		}
		keep(a)
		keep(b)
		for i := 0; a.Epoch() <= epoch+1; i++ {
			for _, p := range [2][2]*peer{{a, b}, {b, a}} {
				l := p[0].send()
				keep(p[0])
				if i%every == 0 || p[0].machine.kind.ownsKey() {
					p[1].receive(t, l)
					keep(p[1])
				}
			}
		}
	}
	if len(out) != int(kindEnd) {
		t.Fatalf("only %d kinds of States in epoch %d", len(out), epoch)
	}
	return out
}

func unchanged(a, b State) bool {
	return a.SameMachine(b) && a.SameIntake(b) && a.SameSkipped(b)
}

// The pairs of section 7.7 that do something; every other pair of kind and payload does nothing.
var moves = map[kind]map[payload]bool{
	keysSampled:     {payloadC1: true},
	headerSent:      {payloadC1: true},
	ct1Received:     {payloadC2: true},
	ct2Receiving:    {payloadC2: true},
	noHeader:        {payloadHeader: true},
	ct1Sampled:      {payloadVector: true, payloadVectorAck: true},
	vectorReceived:  {payloadAck: true, payloadVectorAck: true},
	ct1Acknowledged: {payloadVector: true, payloadVectorAck: true},
}

func TestEveryPair(t *testing.T) {
	for _, epoch := range []uint64{1, 2, 3} {
		for kind, s := range states(t, epoch) {
			for p := range payloadEnd {
				next := s
				err := next.consume(&header{epoch: epoch, payload: p, chunk: math.MaxUint16})
				if changed := err != nil || !unchanged(s, next); changed != moves[kind][p] {
					t.Errorf("epoch %d, kind %d, payload %d: changed %v, %v", epoch, kind, p, changed, err)
				}
			}
		}
	}
}

// The payload of each kind is that of section 7.7, in a header of the machine's own epoch.
func TestWhatEachKindSends(t *testing.T) {
	want := map[kind]payload{
		keysUnsampled: payloadHeader, keysSampled: payloadHeader, headerSent: payloadVector, ct1Received: payloadVectorAck,
		ct2Receiving: payloadAck, noHeader: payloadNone, headerReceived: payloadC1, ct1Sampled: payloadC1, vectorReceived: payloadC1,
		ct1Acknowledged: payloadNone, ct2Sampled: payloadC2,
	}
	for kind, s := range states(t, 2) {
		p := peer{State: s, rand: newRand(9)}
		h, err := parseHeader(p.send().header)
		if err != nil || h.payload != want[kind] || h.epoch != 2 {
			t.Errorf("kind %d sends %d in epoch %d, %v", kind, h.payload, h.epoch, err)
		}
	}
}

// Headers of other epochs: earlier ones change nothing, later ones are refused, but for the next epoch in ct2Sampled.
func TestOtherEpochs(t *testing.T) {
	for kind, s := range states(t, 2) {
		next := s
		if err := next.consume(&header{epoch: 1, payload: payloadC1}); err != nil || !unchanged(s, next) {
			t.Errorf("kind %d: an earlier epoch: %v", kind, err)
		}
		for _, epoch := range []uint64{3, 4, math.MaxUint64} {
			for p := range payloadEnd {
				next := s
				err := next.consume(&header{epoch: epoch, payload: p})
				if turns := kind == ct2Sampled && epoch == 3; turns {
					if err != nil || next.machine.kind != keysUnsampled || next.Epoch() != 3 {
						t.Errorf("payload %d of the next epoch led to kind %d, %v", p, next.machine.kind, err)
					}
				} else if !errors.Is(err, fault.NotAuthentic) {
					t.Errorf("kind %d took a header of epoch %d: %v", kind, epoch, err)
				}
			}
		}
	}
}

// A false chunk spoils a stream: it is refused when the stream is whole, and the State before it goes on with true ones.
func TestFalseChunks(t *testing.T) {
	all := states(t, 2)
	for to, from := range map[kind]kind{noHeader: keysSampled, ct1Acknowledged: ct1Received, ct2Receiving: ct2Sampled} {
		s := all[to]
		sender := peer{State: all[from], rand: newRand(9)}
		for i := 0; ; i++ {
			l := sender.send()
			flipped := append([]byte(nil), l.header...)
			flipped[len(flipped)-1] ^= 1
			before := store(s)
			next, _, _, err := s.Receive(flipped)
			if err != nil {
				if !errors.Is(err, fault.NotAuthentic) || !unchanged(next, s) || !sameParts(store(s), before) {
					t.Errorf("kind %d: %v", to, err)
				}
				if next, _, _, err = s.Receive(l.header); err != nil || next.machine.kind == to {
					t.Errorf("kind %d: the true chunk led to kind %d, %v", to, next.machine.kind, err)
				}
				break
			}
			if s, _, _, err = s.Receive(l.header); err != nil || i > 40 {
				t.Fatalf("kind %d: no stream is whole after %d chunks, %v", to, i, err)
			}
		}
	}
}

// The answering side keeps m no longer than it needs it, and nobody keeps the keys of an epoch that is over.
func TestMachineForgets(t *testing.T) {
	for kind, s := range states(t, 2) {
		m, traits := s.machine, traitsOf[kind]
		if (m.m != [randomSize]byte{}) != (traits.m > 0) || (m.seed != [seedSize]byte{}) != (traits.seed > 0) {
			t.Errorf("kind %d holds secrets that are not its own", kind)
		}
		if (m.stream != nil) != (traits.stream > 0) || len(m.c1) != traits.c1 || len(m.c2) != traits.c2 {
			t.Errorf("kind %d holds other streams than it says", kind)
		}
	}
}

// Each MAC and each secret is of the machine's own epoch, and the authenticator is updated where section 7.7 says.
func TestExchange(t *testing.T) {
	for _, epoch := range []uint64{1, 2, 3} {
		all := states(t, epoch)
		m := all[keysSampled].machine
		k := m.key()
		h := k.Header()
		mac := m.auth.macHeader(epoch, h[:])
		if want := append(h[:], mac[:]...); !bytes.Equal(m.stream.Data(), want) || m.auth != all[headerReceived].machine.auth {
			t.Errorf("epoch %d: the header's stream differs", epoch)
		}
		m = all[ct1Sampled].machine
		c1, shared := mlkem768.EncapsulateFirst(&h, &m.m)
		key := epochSecret(epoch, &shared)
		auth := all[keysSampled].machine.auth.update(epoch, &key)
		if m.auth != auth || !bytes.Equal(m.stream.Data(), c1[:]) {
			t.Errorf("epoch %d: the first half differs", epoch)
		}
		vector := k.Vector()
		c2, err := mlkem768.EncapsulateSecond(&h, &m.m, &vector)
		mac = auth.macCiphertext(epoch, c1[:], c2[:])
		if want := append(c2[:], mac[:]...); err != nil || !bytes.Equal(all[ct2Sampled].machine.stream.Data(), want) {
			t.Errorf("epoch %d: the second half differs, %v", epoch, err)
		}
		if next := states(t, epoch+1); next[keysUnsampled].machine.auth != auth || next[noHeader].machine.auth != auth {
			t.Errorf("epoch %d: the authenticator after it differs", epoch)
		}
	}
}

// Chunk numbers wrap after 65535.
func TestChunkNumbersWrap(t *testing.T) {
	s := states(t, 1)[keysSampled]
	s.nextChunk = math.MaxUint16
	p := peer{State: s, rand: newRand(9)}
	for _, want := range []uint16{math.MaxUint16, 0, 1} {
		if h, err := parseHeader(p.send().header); err != nil || h.chunk != want {
			t.Errorf("chunk %d, want %d, %v", h.chunk, want, err)
		}
	}
}

// A peer that only ever says epoch 1 and none is answered for ever (section 7.8).
func TestPeerWithLess(t *testing.T) {
	for _, d := range []Direction{A2B, B2A} {
		s := New(rep32(1), d)
		p, lesser := peer{State: s, rand: newRand(9)}, newChain(rep32(1), 1-d)
		for range 3000 {
			h, err := parseHeader(p.send().header)
			if err != nil || h.epoch != 1 {
				t.Fatalf("epoch %d, %v", h.epoch, err)
			}
			if _, err := lesser.receiveKey(0, h.number, new(uint32(maxJump))); err != nil {
				t.Fatal(err)
			}
			l := &letter{}
			answer := header{epoch: 1}
			answer.number, l.key = lesser.sendKey(0)
			l.header = answer.appendTo(nil)
			p.receive(t, l)
		}
	}
}
