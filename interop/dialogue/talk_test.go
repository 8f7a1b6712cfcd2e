package dialogue

import (
	"math/rand/v2"
	"testing"
)

// What a dialogue is made of.
const (
	largestBlock  = 200
	usualBlock    = 12
	loss          = 0.05 // of the messages never arrive
	hold          = 0.10 // of them arrive with the sender's next block only
	again         = 0.01 // of them are delivered twice
	forge         = 0.01 // of them are first delivered with one bit turned
	reload        = 0.05 // of the blocks come after an end was stored and read again
	epochsAtLeast = 50   // post-quantum epochs that a full dialogue completes
)

// figures of a dialogue.
type figures struct {
	sent, delivered, lost, repeated, forged, failures int
	blocks                                            int
	epoch                                             int // the newest that a message told
}

// talk is a dialogue under way.
type talk struct {
	t        testing.TB
	random   *rand.Rand
	ends     [2]*peer // the initiator first
	flying   [2][]message
	answered bool                                          // the responder has a session
	around   func(to int, block []message, deliver func()) // is told of each delivery, and has to make it
	longest  int                                           // plaintext, in bytes
	restarts int                                           // how often an end may begin a new session; libsignal archives 40
	figures
}

func newTalk(t testing.TB, seed uint64, initiator, responder *peer) *talk {
	t.Helper()
	return &talk{t: t, random: rand.New(rand.NewPCG(seed, 0)), ends: [2]*peer{initiator, responder}, longest: 300}
}

// run has both ends send blocks until n messages were sent in all, then delivers what is still on its way.
func (k *talk) run(n int) {
	k.t.Helper()
	goal := k.sent + n
	for k.sent < goal {
		from := k.blocks % 2
		if k.random.Float64() < reload {
			k.ends[from].reload(k.t)
		}
		if k.restarts > 0 && k.random.IntN(25) == 0 {
			k.restarts--
			k.ends[from].starts(k.t, k.ends[1-from], fields{"one_time": k.random.IntN(2) == 0, "kyber_last_resort": k.random.IntN(2) == 0})
			k.answered = k.answered || from == 1
		}
		k.send(from, min(k.block(), goal-k.sent))
		if k.random.IntN(3) == 0 { // both write before either reads
			k.send(1-from, min(k.block(), goal-k.sent))
		}
		k.deliver(1 - from)
		k.deliver(from)
		k.blocks++
	}
	for range 2 { // the second time for what was held
		k.deliver(0)
		k.deliver(1)
	}
}

// block chooses how many messages to send in a row. Most are short, as people write: a post-quantum epoch needs some forty turns.
func (k *talk) block() int {
	if k.random.IntN(15) == 0 {
		return 1 + k.random.IntN(largestBlock)
	}
	return 1 + k.random.IntN(usualBlock)
}

func (k *talk) send(from, count int) {
	if from == 1 && !k.answered {
		return
	}
	for range count {
		plaintext := make([]byte, k.random.IntN(k.longest))
		for i := range plaintext {
			plaintext[i] = byte(k.random.Uint32())
		}
		m := k.ends[from].encrypt(k.t, k.ends[1-from], plaintext)
		k.flying[from] = append(k.flying[from], m)
		k.sent++
		k.epoch = max(k.epoch, m.epoch())
	}
}

// deliver brings what is on its way to one end, in random order. Some is lost, and some is held back until the next delivery: no more than
// once, so that it stays within the five receiving chains and the two post-quantum epochs that libsignal keeps.
func (k *talk) deliver(to int) {
	k.t.Helper()
	from := 1 - to
	var now, later []message
	for _, m := range k.flying[from] {
		switch u := k.random.Float64(); {
		case !m.held && u < loss:
			k.lost++
		case !m.held && u < loss+hold:
			m.held = true
			later = append(later, m)
		default:
			now = append(now, m)
		}
	}
	k.flying[from] = later
	k.random.Shuffle(len(now), func(i, j int) { now[i], now[j] = now[j], now[i] })
	deliver := func() {
		for _, m := range now {
			k.deliverOne(to, m)
		}
	}
	if k.around != nil && len(now) > 0 {
		k.around(to, now, deliver)
	} else {
		deliver()
	}
}

func (k *talk) deliverOne(to int, m message) {
	k.t.Helper()
	reader, writer := k.ends[to], k.ends[1-to]
	if k.random.Float64() < forge {
		reader.refuses(k.t, writer, k.forgery(m), "not_authentic", "policy", "too_large", "replayed")
		k.forged++
	}
	a := reader.decrypt(k.t, writer, m)
	if !a.OK || a.Plaintext != m.plaintext {
		k.failures++
		k.t.Errorf("%s could not read message type %d, epoch %d, of %s: %s: %s", reader.kind, m.kind, m.epoch(), writer.kind, a.Error, a.Detail)
		if k.failures > 20 {
			k.t.FailNow()
		}
		return
	}
	k.delivered++
	k.answered = true
	if k.random.Float64() < again {
		reader.refuses(k.t, writer, m, "replayed")
		k.repeated++
	}
}

// forgery returns m with one bit of its authenticated part turned.
func (k *talk) forgery(m message) message {
	m.body = append([]byte(nil), m.body...)
	part := m.inner()
	part[k.random.IntN(len(part))] ^= 1 << k.random.IntN(8)
	return m
}

func (k *talk) log() {
	k.t.Helper()
	k.t.Logf("%s to %s: %d messages sent in %d blocks, %d delivered, %d lost, %d repeats and %d forgeries refused, %d failures, "+
		"%d post-quantum epochs completed",
		k.ends[0].kind, k.ends[1].kind, k.sent, k.blocks, k.delivered, k.lost, k.repeated, k.forged, k.failures, k.epoch-1)
}
