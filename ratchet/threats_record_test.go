package ratchet_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// altered calls fn with b changed in one place, in every way that S03 names: a flipped bit in each byte, each shorter length, and a few
// bytes more at the end.
func altered(b []byte, fn func(what string, altered []byte)) {
	for i := range b {
		c := slices.Clone(b)
		c[i] ^= 1 << (i % 8)
		fn(fmt.Sprintf("bit %d of byte %d flipped", i%8, i), c)
	}
	for n := range b {
		fn(fmt.Sprintf("cut to %d bytes", n), b[:n:n])
	}
	for _, n := range []int{1, 16, 1000} {
		fn(fmt.Sprintf("%d bytes more", n), append(slices.Clone(b), make([]byte, n)...))
	}
}

// sealVersion is where a sealed value has the version of its format (docs/seal.md). Another one is policy.
const sealVersion = 4

func TestS03_SealedRecord(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	send(t, alice, bob, "hello")
	opened := func(s *ratchettest.Store, what string, at bool) {
		_, err := s.Session(alice.Local, bob.Address())
		if !errors.Is(err, fault.NotAuthentic) && (!at || !errors.Is(err, fault.Policy)) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	var parts, size int
	alice.Store.Each(bob.Address(), func(id ratchet.PartID, body []byte) []byte {
		parts, size = parts+1, size+len(body)
		return body
	})
	for _, part := range stored(t, alice, bob) {
		var whole []byte
		alice.Store.Each(bob.Address(), func(id ratchet.PartID, body []byte) []byte {
			if id == part.ID {
				whole = body
			}
			return body
		})
		altered(whole, func(what string, changed []byte) {
			s := alice.Store.Copy()
			s.Each(bob.Address(), func(id ratchet.PartID, body []byte) []byte {
				if id == part.ID {
					return changed
				}
				return body
			})
			atVersion := len(changed) == len(whole) && changed[sealVersion] != whole[sealVersion]
			opened(s, fmt.Sprintf("part %d, %s", part.ID, what), atVersion)
		})
	}
	t.Logf("%d parts, %d bytes", parts, size)
}

func TestS03_SealedPreKeys(t *testing.T) {
	bob := ratchettest.NewParty("bob")
	bob.Bundle(oneTime)
	var whole []byte
	bob.Store.EachPreKeys(func(b []byte) []byte { whole = b; return b })
	altered(whole, func(what string, changed []byte) {
		s := bob.Store.Copy()
		s.EachPreKeys(func([]byte) []byte { return changed })
		_, err := s.PreKeys(bob.Local)
		atVersion := len(changed) == len(whole) && changed[sealVersion] != whole[sealVersion]
		if !errors.Is(err, fault.NotAuthentic) && (!atVersion || !errors.Is(err, fault.Policy)) {
			t.Fatalf("%s: %v", what, err)
		}
	})
	t.Logf("%d bytes", len(whole))
}

// Under the seal, where only a bug or the owner of the vault gets, no part but the head can be changed without the head's hashes telling,
// and nothing makes the code panic.
func TestS03_PartsUnderTheSeal(t *testing.T) {
	alice, bob := ratchettest.NewParty("alice"), ratchettest.NewParty("bob")
	start(t, alice, bob, oneTime)
	say(t, alice, bob, "hello")
	gap := []ratchet.Message{send(t, alice, bob, "late"), send(t, alice, bob, "in time")}
	read(t, alice, bob, gap[1], "in time")
	parts := stored(t, bob, alice)
	for i := range parts {
		altered(parts[i].Body, func(what string, changed []byte) {
			other := slices.Clone(parts)
			other[i].Body = changed
			s, err := ratchet.OpenSession(bob.Local, alice.Address(), other, 0)
			if parts[i].ID != ratchet.HeadPart && !errors.Is(err, fault.NotAuthentic) {
				t.Fatalf("part %d, %s: %v", parts[i].ID, what, err)
			}
			if err == nil { // only keys or counters differ: they open nothing, or what they opened before
				keep := func(ratchet.Change) error { return nil }
				_, _ = s.Decrypt(gap[0], bob.PreKeys, keep)
				_, _ = s.Encrypt(nil, ratchettest.Day, keep)
			} else if c := fault.CodeOf(err); c != fault.NotAuthentic && c != fault.Policy && c != fault.Incomplete {
				t.Fatalf("part %d, %s: %v", parts[i].ID, what, err)
			}
		})
	}
}

// A copy of the store that is put back: the head's counter tells, the store of the coordinator refuses what is made from it, and a session
// begun anew repeats nothing.
func TestS04_RestoredStore(t *testing.T) {
	alice, bob := meet(t)
	type used struct {
		session [32]byte
		key     ratchet.KeyName
	}
	seen := map[used]bool{}
	five := func() {
		t.Helper()
		for range 5 {
			m := send(t, alice, bob, "text")
			name := used{session(t, alice, bob).BaseKey(), ratchet.KeyOf(m)}
			if seen[name] {
				t.Fatal("a message key was used twice")
			}
			seen[name] = true
			read(t, alice, bob, m, "text")
		}
	}
	five()
	live, backup, old := alice.Store, alice.Store.Copy(), stored(t, alice, bob)
	five()
	highest, err := ratchet.HeadCounter(stored(t, alice, bob)[0].Body)
	if err != nil {
		t.Fatal(err)
	}

	alice.Restore(backup)
	if n, err := ratchet.HeadCounter(stored(t, alice, bob)[0].Body); err != nil || n != highest-5 {
		t.Fatalf("the restored record is at %d, %v; the newest was at %d", n, err, highest)
	}
	// With the newer record still in its place, no save of the older one succeeds, so nothing made from it gets out.
	s, err := ratchet.OpenSession(alice.Local, bob.Address(), old, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Encrypt([]byte("again"), ratchettest.Day, live.Save(bob.Address()))
	if !errors.Is(err, fault.Conflict) || m.Body != nil {
		t.Fatalf("a message was made from an old record: %v", err)
	}
	// The newer record goes on where it was.
	alice.Restore(live)
	five()
	// Where it is lost, the session is.
	alice.Restore(backup)
	alice.Drop(bob.Address())
	start(t, alice, bob, oneTime)
	five()
	say(t, bob, alice, "I see, a new one")
	five()
	if len(seen) != 25 {
		t.Errorf("%d keys, want 25", len(seen))
	}
}

// agent is one of several that share a party's record.
type agent struct{ *ratchettest.Party }

// maxRetries is how often the loser of a compare-and-swap tries again.
const maxRetries = 3

// again does something with a session; who lost reloads and retries.
func (a agent) again(do func() error) error {
	for range maxRetries {
		if err := do(); !errors.Is(err, fault.Conflict) {
			return err
		}
		a.Reload()
	}
	return do()
}

// ledger is what agents handed out, by key.
type ledger struct {
	mu   sync.Mutex
	sent map[ratchet.KeyName]bool
	open []ratchet.Message // not delivered yet
	lost int               // compare-and-swaps
}

func newLedger() *ledger { return &ledger{sent: map[ratchet.KeyName]bool{}} }

// add takes a message that was handed out and reports whether its key is new.
func (l *ledger) add(m ratchet.Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := ratchet.KeyOf(m)
	if l.sent[k] {
		return false
	}
	l.sent[k] = true
	l.open = append(l.open, m)
	return true
}

// deliver has the peer read everything once, and refuse it the second time.
func (l *ledger) deliver(t tester, from, to *ratchettest.Party) {
	t.Helper()
	for _, m := range l.open {
		read(t, from, to, m, "text")
		if _, err := to.Receive(from.Address(), m); !errors.Is(err, fault.Replayed) {
			t.Fatalf("read twice: %v", err)
		}
	}
	l.open = nil
}

// 2,000 times two agents use one record at once: both send, or one sends while the other reads.
func TestS05_TwoAgentsAtOnce(t *testing.T) {
	const interleavings = 2_000
	alice, bob := meet(t)
	agents := [2]agent{{alice}, {alice.Again()}}
	l, random := newLedger(), rand.New(rand.NewPCG(5, 5))
	for i := range interleavings {
		var reply *ratchet.Message
		if random.IntN(4) == 0 {
			m := send(t, bob, alice, "reply")
			reply = &m
		}
		reader := random.IntN(2)
		var wg sync.WaitGroup
		gate := make(chan struct{})
		errs := [2]error{}
		for n, a := range agents {
			wg.Go(func() {
				<-gate
				if reply != nil && n == reader {
					errs[n] = a.again(func() error {
						_, err := a.Receive(bob.Address(), *reply)
						return l.count(err)
					})
					return
				}
				errs[n] = a.again(func() error {
					m, err := a.Send(bob.Address(), "text")
					if err == nil && !l.add(m) {
						return errors.New("a message key was used twice")
					}
					return l.count(err)
				})
			})
		}
		close(gate)
		wg.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatalf("interleaving %d: %v", i, err)
		}
		if random.IntN(3) == 0 {
			l.deliver(t, alice, bob)
		}
	}
	l.deliver(t, alice, bob)
	t.Logf("%d interleavings, %d compare-and-swaps lost, %d message keys, none twice", interleavings, l.lost, len(l.sent))
	if l.lost < interleavings/4 {
		t.Errorf("only %d compare-and-swaps were lost: the agents hardly met", l.lost)
	}
}

func (l *ledger) count(err error) error {
	if errors.Is(err, fault.Conflict) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lost++
	}
	return err
}

// The same with schedules that are drawn: agents load and use the record in any order, and one may do all it likes while the other is about
// to save.
func TestS05_DrawnSchedules(t *testing.T) {
	defer checks(t, 30)()
	keys := 0
	rapid.Check(t, func(rt *rapid.T) {
		alice, bob := meet(t)
		agents := [2]*ratchettest.Party{alice, alice.Again()}
		l := newLedger()
		send := func(n int, meanwhile func()) {
			s, err := agents[n].Session(bob.Address())
			if err != nil {
				rt.Fatal(err)
			}
			m, err := s.Encrypt([]byte("text"), ratchettest.Day, func(c ratchet.Change) error {
				meanwhile()
				return agents[n].Store.Save(bob.Address())(c)
			})
			if err == nil && !l.add(m) {
				rt.Fatal("a message key was used twice")
			}
			if err != nil && (!errors.Is(err, fault.Conflict) || m.Body != nil) {
				rt.Fatalf("%d bytes, %v", len(m.Body), err)
			}
		}
		nothing := func() {}
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			n := rapid.IntRange(0, 1).Draw(rt, "agent")
			switch rapid.SampledFrom([]string{"load", "send", "send", "between", "overtaken", "reply", "deliver"}).Draw(rt, "step") {
			case "load":
				agents[n].Reload()
			case "send":
				send(n, nothing)
			case "between": // the other one is done before this one saves
				agents[1-n].Reload()
				send(n, func() { send(1-n, nothing) })
			case "overtaken": // and reads it all again before that
				send(n, func() {
					agents[1-n].Reload()
					send(1-n, nothing)
				})
			case "reply":
				m, err := bob.Send(alice.Address(), "reply")
				if err != nil {
					rt.Fatal(err)
				}
				agents[n].Reload()
				read(rt, bob, agents[n], m, "reply")
			case "deliver":
				l.deliver(rt, alice, bob)
			}
		}
		l.deliver(rt, alice, bob)
		keys += len(l.sent)
	})
	t.Logf("%d message keys, none twice", keys)
}
