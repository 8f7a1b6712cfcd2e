package spqr

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
)

// failer is what testing.T, testing.B and rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// letter is a message as it travels, with the key that only its sender knows.
type letter struct {
	header  []byte
	key     [32]byte
	arrived bool
}

// peer is one end of a dialogue.
type peer struct {
	State
	rand *rand.ChaCha8
}

func newPeers(seed byte) (a, b *peer) {
	pqkey := rep32(seed)
	return &peer{New(pqkey, A2B), newRand(seed + 1)}, &peer{New(pqkey, B2A), newRand(seed + 2)}
}

func newRand(seed byte) *rand.ChaCha8 { return rand.NewChaCha8(*rep32(seed)) }

func (p *peer) send() *letter {
	l := &letter{}
	p.State, l.header, l.key = p.Send(p.rand, nil)
	return l
}

// receive takes a letter in. Exactly those that came before, that are too old or whose epoch is over are refused, as Replayed.
func (p *peer) receive(t failer, l *letter) {
	t.Helper()
	expect := !l.arrived && p.keeps(t, l)
	next, key, hasKey, err := p.Receive(l.header)
	if !expect {
		if !errors.Is(err, fault.Replayed) {
			t.Fatalf("a message whose key is gone gave %v", err)
		}
		return
	}
	if err != nil || !hasKey || key != l.key {
		t.Fatalf("kind %d, epoch %d: key %v, %v", p.machine.kind, p.Epoch(), hasKey, err)
	}
	p.State, l.arrived = next, true
}

// keeps reports whether the key of a letter that has not arrived can still be there.
func (p *peer) keeps(t failer, l *letter) bool {
	h, err := parseHeader(l.header)
	if err != nil {
		t.Fatalf("own header: %v", err)
	}
	c := &p.chain
	if h.epoch-1 < c.oldest {
		return false
	}
	return h.epoch-1 > c.newest() || uint64(h.number)+maxSkipped >= uint64(c.at(h.epoch-1).receive.ctr)
}

// parts are the stored form of a State.
type parts [4][]byte

func store(s State) parts {
	return parts{s.AppendLines(nil), s.AppendMachine(nil), s.AppendIntake(nil), s.AppendSkipped(nil)}
}

func (p parts) parse() (State, error) { return Parse(p[0], p[1], p[2], p[3]) }

func sameParts(a, b parts) bool { return reflect.DeepEqual(a, b) }

// reload stores the State and goes on with what was stored.
func (p *peer) reload(t failer) {
	t.Helper()
	stored := store(p.State)
	if len(stored[0]) > MaxLines || len(stored[1]) > MaxMachine || len(stored[2]) > MaxIntake || len(stored[3]) > MaxSkipped {
		t.Fatalf("a part is too long: %d, %d, %d, %d bytes", len(stored[0]), len(stored[1]), len(stored[2]), len(stored[3]))
	}
	s, err := stored.parse()
	if err != nil {
		t.Fatalf("kind %d, epoch %d: %v", p.machine.kind, p.Epoch(), err)
	}
	if !sameParts(store(s), stored) {
		t.Fatalf("kind %d: stored again as other bytes", p.machine.kind)
	}
	if !equal(s, p.State) {
		t.Fatalf("kind %d: read back as another State", p.machine.kind)
	}
	p.State = s
}

// equal compares all but the vector that is kept at hand, which a State that was stored has not.
func equal(a, b State) bool {
	x, y := *a.machine, *b.machine
	x.vector, y.vector = nil, nil
	a.machine, b.machine = &x, &y
	return reflect.DeepEqual(a, b)
}

// Without loss the two sides complete epochs at a steady rate and agree on every key.
func TestDialogue(t *testing.T) {
	a, b := newPeers(1)
	for range 5000 {
		b.receive(t, a.send())
		a.receive(t, b.send())
	}
	if a.Epoch() < 100 || b.Epoch() < 100 {
		t.Errorf("10,000 messages led to epochs %d and %d", a.Epoch(), b.Epoch())
	}
}

// Whatever is lost, doubled or overtaken, the keys of what arrives are equal, and the exchange goes on.
func TestS06_S07_DialogueOverBadNetwork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		network := network{
			rand:    rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)),
			loss:    rapid.Float64Range(0, 0.5).Draw(t, "loss"),
			double:  rapid.Float64Range(0, 0.3).Draw(t, "double"),
			reload:  rapid.Float64Range(0, 0.3).Draw(t, "reload"),
			burst:   rapid.IntRange(1, 60).Draw(t, "burst"),
			backlog: rapid.IntRange(0, 200).Draw(t, "backlog"),
		}
		a, b := newPeers(byte(network.rand.Uint32()))
		network.run(t, a, b, 400)
		before := a.Epoch()
		for range 150 {
			b.receive(t, a.send())
			a.receive(t, b.send())
		}
		if a.Epoch() < before+2 {
			t.Fatalf("300 messages led from epoch %d to %d", before, a.Epoch())
		}
	})
}

// One long dialogue over a network that is bad in each way.
func TestLongDialogue(t *testing.T) {
	a, b := newPeers(1)
	n := network{rand: rand.New(rand.NewPCG(1, 2)), loss: 0.1, double: 0.1, reload: 0.02, burst: 20, backlog: 50}
	n.run(t, a, b, 20_000)
	if a.Epoch() < 50 || b.Epoch() < 50 {
		t.Errorf("20,000 messages led to epochs %d and %d", a.Epoch(), b.Epoch())
	}
}

type network struct {
	rand                 *rand.Rand
	loss, double, reload float64
	burst, backlog       int
}

// run sends bursts of messages from random sides. Up to backlog messages of each side are under way at a time, and any of them may be the
// next to arrive.
func (n *network) run(t failer, a, b *peer, messages int) {
	var toA, toB []*letter
	for messages > 0 {
		from, to, queue := a, b, &toB
		if n.rand.IntN(2) == 0 {
			from, to, queue = b, a, &toA
		}
		for range 1 + n.rand.IntN(n.burst) {
			*queue = append(*queue, from.send())
			n.maybeReload(t, from)
			messages--
		}
		for len(*queue) > n.backlog {
			n.deliver(t, to, queue)
			n.maybeReload(t, to)
		}
	}
}

func (n *network) deliver(t failer, to *peer, queue *[]*letter) {
	q := *queue
	i := n.rand.IntN(len(q))
	if n.rand.Float64() >= n.loss {
		to.receive(t, q[i])
	}
	if n.rand.Float64() >= n.double {
		q[i] = q[len(q)-1]
		*queue = q[:len(q)-1]
	}
}

func (n *network) maybeReload(t failer, p *peer) {
	if n.rand.Float64() < n.reload {
		p.reload(t)
	}
}
