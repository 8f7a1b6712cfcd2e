package dialogue

import (
	"testing"
)

// few is how many messages follow in a test of one situation.
const few = 300

// begin starts two peers and a session of the first with the second.
func begin(t *testing.T, initiator, responder string, names [2]string, options fields) (a, b *peer) {
	t.Helper()
	a, b = start(t, initiator, names[0]), start(t, responder, names[1])
	a.starts(t, b, options)
	return a, b
}

// says sends a message and has it read.
func (p *peer) says(t *testing.T, to *peer, text string) message {
	t.Helper()
	m := p.encrypt(t, to, []byte(text))
	to.opens(t, p, m)
	return m
}

// Names that are phone-number ids, and a device name that is no service id on one end alone.
func TestInteropNames(t *testing.T) {
	eachPair(t, tried(), func(t *testing.T, initiator, responder string) {
		for _, names := range [][2]string{phones, uuids, plain, {uuids[0], plain[1]}, {plain[0], uuids[1]}} {
			a, b := begin(t, initiator, responder, names, fields{"one_time": true})
			m := a.says(t, b, "hello")
			_, err := field(m.inner()[1:len(m.inner())-8], fieldAddresses)
			if bound := err == nil; bound != (names == phones || names == uuids) {
				t.Errorf("%s to %s: addresses in the message: %v", names[0], names[1], bound)
			}
			b.says(t, a, "good morning")
			a.says(t, b, "and you")
		}
	})
}

// A message that is bound to its addresses is refused by whoever knows the two ends by other names.
func TestInteropAddressesBind(t *testing.T) {
	eachPair(t, tried(), func(t *testing.T, initiator, responder string) {
		a, b := begin(t, initiator, responder, uuids, fields{"one_time": true})
		m := a.encrypt(t, b, []byte("hello"))
		honest := a.name
		a.name = "00000000-0000-4000-8000-000000000000" // who brings it says it came from another account
		b.refuses(t, a, m, "not_authentic")
		a.name = honest
		b.opens(t, a, m)
	})
}

// Both ends begin before either has read anything: each then holds two sessions, and they settle on one.
func TestInteropSimultaneous(t *testing.T) {
	eachPair(t, tried(), func(t *testing.T, initiator, responder string) {
		a, b := begin(t, initiator, responder, uuids, fields{"one_time": true})
		b.starts(t, a, fields{"one_time": true})
		k := newTalk(t, seedOf(t), a, b)
		k.answered = true
		k.send(0, 7)
		k.send(1, 7)
		k.deliver(0)
		k.deliver(1)
		for i, p := range k.ends {
			if s := p.must(t, "session", fields{"remote": k.ends[1-i].address()}); s.Archived != 1 {
				t.Errorf("%s has %d archived sessions, not 1", p.kind, s.Archived)
			}
		}
		k.run(few)
		k.log()
	})
}

// A second, and then a third bundle in the middle of a dialogue: messages of the sessions before still open, and the newest is used.
func TestInteropArchived(t *testing.T) {
	eachPair(t, tried(), func(t *testing.T, initiator, responder string) {
		a, b := begin(t, initiator, responder, uuids, fields{"one_time": true})
		k := newTalk(t, seedOf(t), a, b)
		k.run(few)
		for turn := range 4 {
			k.send(0, 3)
			k.send(1, 3)
			old := [2]message{a.encrypt(t, b, []byte("before")), b.encrypt(t, a, []byte("before"))}
			k.ends[turn%2].starts(t, k.ends[1-turn%2], fields{"one_time": turn < 2, "kyber_last_resort": turn >= 2})
			k.send(0, 3)
			k.send(1, 3)
			k.deliver(0)
			k.deliver(1)
			a.opens(t, b, old[1])
			b.opens(t, a, old[0])
			k.run(few / 4)
		}
		for i, p := range k.ends {
			if s := p.must(t, "session", fields{"remote": k.ends[1-i].address()}); s.Archived != 4 {
				t.Errorf("%s has %d archived sessions, not 4", p.kind, s.Archived)
			}
		}
		k.log()
	})
}

// Either end begins anew at any time, also both at once, with messages of several sessions on their way.
func TestInteropUnruly(t *testing.T) {
	eachPair(t, tried(), func(t *testing.T, initiator, responder string) {
		a, b := begin(t, initiator, responder, uuids, fields{"one_time": true})
		k := newTalk(t, seedOf(t), a, b)
		k.restarts = 30
		k.run(length() / 4)
		k.log()
		t.Logf("%d times a new session was begun", 30-k.restarts)
	})
}

// A first message is read once: not again at once, not after the answer, not as if it came from somebody else, whatever its KEM prekey.
func TestInteropReplayedFirstMessage(t *testing.T) {
	eachPair(t, tried(), func(t *testing.T, initiator, responder string) {
		for _, options := range []fields{{"one_time": true}, {"one_time": false}, {"kyber_last_resort": true}} {
			a, b := begin(t, initiator, responder, plain, options)
			first := a.says(t, b, "hello")
			b.refuses(t, a, first, "replayed")
			b.says(t, a, "good morning")
			a.says(t, b, "and you")
			b.refuses(t, a, first, "replayed")
			other := &peer{kind: a.kind, name: "mallory"}
			b.refuses(t, other, first, "replayed", "stale", "not_authentic")
			newTalk(t, seedOf(t), a, b).run(few / 3)
			b.refuses(t, a, first, "replayed", "not_authentic")
			b.says(t, a, "still there")
		}
	})
}

// The last-resort KEM prekey serves several initiators.
func TestInteropLastResort(t *testing.T) {
	eachPair(t, tried(), func(t *testing.T, initiator, responder string) {
		b := start(t, responder, plain[1])
		for i, name := range []string{"ada", "eve", "zoe"} {
			a := start(t, initiator, name)
			a.starts(t, b, fields{"kyber_last_resort": true})
			k := newTalk(t, seedOf(t)+uint64(i), a, b)
			k.run(few / 3)
			k.log()
		}
	})
}

// A first message with any one bit turned is refused, and afterwards the message itself is read. Two parts of it are not authenticated by
// anything: the low half of the version byte, and the sender's registration id, which libsignal takes as it comes.
func TestInteropTamperedFirstMessage(t *testing.T) {
	step := 23
	if full() {
		step = 1
	}
	eachPair(t, versions[:1], func(t *testing.T, initiator, responder string) {
		a, b := begin(t, initiator, responder, uuids, fields{"one_time": true})
		k := newTalk(t, seedOf(t), a, b)
		m := a.encrypt(t, b, []byte("hello"))
		before := b.must(t, "dump", nil).State
		tried, taken := 0, 0
		for i := 0; i < len(m.body); i += step {
			bit := byte(1) << k.random.IntN(8)
			m.body[i] ^= bit
			tried++
			if a := b.decrypt(t, a, m); a.OK {
				if !m.unauthenticated(i) || a.Plaintext != m.plaintext {
					t.Errorf("%s took a first message with byte %d of %d changed by %02x", b.kind, i, len(m.body), bit)
				}
				taken++
				b.must(t, "load", fields{"state": before})
			} else if a.Error == "internal" {
				t.Errorf("byte %d changed by %02x: %s", i, bit, a.Detail)
			}
			m.body[i] ^= bit
		}
		b.opens(t, a, m)
		k.answered = true
		k.run(few)
		t.Logf("%d first messages with one bit turned, %d of them taken as what is not authenticated", tried, taken)
	})
}
