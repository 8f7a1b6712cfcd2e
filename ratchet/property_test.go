package ratchet_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// A parcel is a message on its way, with what its sender knows of it.
type parcel struct {
	message ratchet.Message
	text    string
	session [32]byte // base key of the handshake
	key     ratchet.KeyName
	epoch   uint64 // of the sender's post-quantum ratchet
	read    bool
}

// An end is one of the two parties of a model, and what the limits of the spec are reckoned from.
type end struct {
	*ratchettest.Party
	inbox  []*parcel               // sent by the peer; stays, so that any of it can come again
	heard  map[[32]byte][][32]byte // for each session the peer's ratchet keys in the order they came
	spoken map[[32]byte]uint64     // for each session the highest epoch that was sent in
	backup *ratchettest.Store
	high   uint64 // counter of the record, as somebody outside remembers it
}

// world is the model of two parties and everything between them.
type world struct {
	ends     [2]*end
	sent     map[ratchet.KeyName]bool
	sessions int
	stats    *tally
}

type tally struct{ sent, read, replays, lost, restarts, rollbacks int }

func newWorld(t *rapid.T, stats *tally) *world {
	w := &world{sent: map[ratchet.KeyName]bool{}, stats: stats}
	for i, name := range []string{aliceID, bobID} {
		w.ends[i] = &end{Party: ratchettest.NewParty(name), heard: map[[32]byte][][32]byte{}, spoken: map[[32]byte]uint64{}}
		w.ends[i].Bundle(oneTime) // so that there are prekeys to be stored
	}
	w.start(t, 0, oneTime)
	return w
}

func (w *world) start(t *rapid.T, n int, o ratchet.BundleOptions) {
	from, to := w.ends[n], w.ends[1-n]
	if w.sessions == 12 { // 40 are kept: what those beyond lose is not this test's matter
		return
	}
	w.sessions++
	w.stats.restarts++
	start(t, from.Party, to.Party, o)
	w.send(t, n)
}

// send has one end send a message, if it has a session.
func (w *world) send(t *rapid.T, n int) {
	from, to := w.ends[n], w.ends[1-n]
	s := session(t, from.Party, to.Party)
	if !s.Info().Exists {
		return
	}
	p := &parcel{text: fmt.Sprint(w.stats.sent), session: s.BaseKey()}
	w.stats.sent++
	p.message = send(t, from.Party, to.Party, p.text)
	p.key, p.epoch = ratchet.KeyOf(p.message), ratchet.EpochOf(p.message)
	if w.sent[p.key] {
		t.Fatalf("the key of message %s was handed out before", p.text)
	}
	w.sent[p.key] = true
	from.spoken[p.session] = max(from.spoken[p.session], p.epoch)
	to.inbox = append(to.inbox, p)
	from.saved(t, to)
}

// saved notes the counter and wants what is stored to be what is in memory.
func (e *end) saved(t *rapid.T, peer *end) {
	s := session(t, e.Party, peer.Party)
	if n := s.Info().Counter; n != e.high+1 {
		t.Fatalf("the counter went from %d to %d", e.high, n)
	}
	e.high++
	if e.high%16 == 0 {
		sameParts(t, "the record in memory", s.Record(), stored(t, e.Party, peer.Party))
	}
}

// deliver gives an end a message of its inbox, for the first time or again.
func (w *world) deliver(t *rapid.T, n int, p *parcel) {
	to, from := w.ends[n], w.ends[1-n]
	before := to.Store.Copy()
	got, err := to.Receive(from.Address(), p.message)
	if err == nil {
		if p.read || got != p.text {
			t.Fatalf("message %s says %q; read before: %v", p.text, got, p.read)
		}
		p.read = true
		w.stats.read++
		if !slices.Contains(to.heard[p.session], p.key.RatchetKey) {
			to.heard[p.session] = append(to.heard[p.session], p.key.RatchetKey)
		}
		if s := session(t, to.Party, from.Party); s.BaseKey() != p.session {
			t.Fatalf("message %s did not make its session the current one", p.text)
		}
		to.saved(t, from)
		return
	}
	if !to.Store.Same(before) {
		t.Fatalf("message %s was refused and changed the store", p.text)
	}
	unchanged(t, to.Party, from.Party, stored(t, to.Party, from.Party), to.PreKeys.Record())
	switch late := to.tooLate(p); {
	case errors.Is(err, fault.Replayed) && p.read:
		w.stats.replays++
	case late && (errors.Is(err, fault.NotAuthentic) || errors.Is(err, fault.Replayed)):
		if !p.read {
			w.stats.lost++
		}
	default:
		t.Fatalf("message %s, read before: %v, too late: %v: %v", p.text, p.read, late, err)
	}
}

// tooLate reports whether the limits of section 10 lose a message: it comes after five newer ratchet keys of its sender, or its
// post-quantum epoch was dropped, which is when the receiver sends in the epoch two after that of its key.
func (e *end) tooLate(p *parcel) bool {
	heard := e.heard[p.session]
	newer := len(heard) - 1 - slices.Index(heard, p.key.RatchetKey)
	return newer < len(heard) && newer >= mostChains || e.spoken[p.session] > p.epoch+1
}

// rollBack puts an old copy of a store back. The counter tells; nothing made of it can be saved over the newer record, which goes on.
func (w *world) rollBack(t *rapid.T, n int) {
	e, peer := w.ends[n], w.ends[1-n]
	if e.backup == nil {
		return
	}
	live := e.Store
	old, err := e.backup.Parts(peer.Address())
	if err != nil || old == nil {
		return
	}
	counter, err := ratchet.HeadCounter(old[0].Body)
	if err != nil || counter > e.high {
		t.Fatalf("an old record has the counter %d, %v", counter, err)
	}
	if counter == e.high {
		return
	}
	w.stats.rollbacks++
	s, err := ratchet.OpenSession(e.Local, peer.Address(), old, 0)
	if err != nil {
		t.Fatal(err)
	}
	before := stored(t, e.Party, peer.Party)
	m, err := s.Encrypt([]byte("again"), ratchettest.Day, live.Save(peer.Address()))
	if m.Body != nil || !errors.Is(err, fault.Conflict) {
		t.Fatalf("%d bytes were made of an old record, %v", len(m.Body), err)
	}
	sameParts(t, "the store", stored(t, e.Party, peer.Party), before)
	e.Reload()
}

// settle has both ends talk until they use one session, with nothing lost.
func (w *world) settle(t *rapid.T) {
	for i := range 12 {
		n := i % 2
		w.send(t, n)
		if in := w.ends[1-n].inbox; len(in) > 0 && !in[len(in)-1].read {
			w.deliver(t, 1-n, in[len(in)-1])
		}
	}
	a, b := session(t, w.ends[0].Party, w.ends[1].Party), session(t, w.ends[1].Party, w.ends[0].Party)
	if a.BaseKey() != b.BaseKey() || a.Info().Unacknowledged || b.Info().Unacknowledged {
		t.Fatalf("the two did not settle: %+v, %+v", a.Info(), b.Info())
	}
}

// checks sets how many cases rapid draws, unless the command line says more, and returns what takes that back.
func checks(t *testing.T, n int) func() {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	old := f.Value.String()
	if old == f.DefValue {
		_ = f.Value.Set(fmt.Sprint(n))
	}
	return func() { _ = f.Value.Set(old) }
}

// Whatever comes between the two, each message is read once, as it was sent, unless the limits lose it; no key is handed out twice; and
// what fails changes nothing.
func TestAnyInterleaving(t *testing.T) {
	var stats tally
	defer checks(t, 15)()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, &stats)
		who := rapid.IntRange(0, 1)
		any := func(list []*parcel) *parcel { return list[rapid.IntRange(0, len(list)-1).Draw(t, "parcel")] }
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				n := who.Draw(t, "who")
				for range rapid.IntRange(1, 6).Draw(t, "messages") {
					w.send(t, n)
				}
			},
			"deliver": func(t *rapid.T) { // any of those that are on their way, or came already
				n := who.Draw(t, "who")
				for range min(len(w.ends[n].inbox), 5) {
					w.deliver(t, n, any(w.ends[n].inbox))
				}
			},
			"deliver the newest": func(t *rapid.T) {
				n := who.Draw(t, "who")
				if in := w.ends[n].inbox; len(in) > 0 {
					w.deliver(t, n, in[len(in)-1])
				}
			},
			"deliver all in some order": func(t *rapid.T) {
				n := who.Draw(t, "who")
				for _, p := range rapid.Permutation(w.ends[n].inbox).Draw(t, "order") {
					if !p.read {
						w.deliver(t, n, p)
					}
				}
			},
			"lose all": func(t *rapid.T) { w.ends[who.Draw(t, "who")].inbox = nil },
			"talk": func(t *rapid.T) {
				for range rapid.IntRange(1, 6).Draw(t, "rounds") {
					w.settle(t)
				}
			},
			"start anew": func(t *rapid.T) {
				w.start(t, who.Draw(t, "who"), rapid.SampledFrom([]ratchet.BundleOptions{oneTime, lastResort, {}}).Draw(t, "bundle"))
			},
			"reload": func(t *rapid.T) { w.ends[who.Draw(t, "who")].Reload() },
			"copy the store": func(t *rapid.T) {
				e := w.ends[who.Draw(t, "who")]
				e.backup = e.Store.Copy()
			},
			"roll back": func(t *rapid.T) { w.rollBack(t, who.Draw(t, "who")) },
		})
		w.settle(t)
	})
	t.Logf("%+v", stats)
	if stats.read == 0 || stats.replays == 0 || stats.rollbacks == 0 {
		t.Errorf("something never came up: %+v", stats)
	}
}
