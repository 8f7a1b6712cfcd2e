package dialogue

import (
	"slices"
	"testing"
)

// A message that comes late opens for as long as its chain is among the five newest, and is refused after that, by both.
func TestInteropLateMessages(t *testing.T) {
	eachPair(t, tried(), func(t *testing.T, initiator, responder string) {
		for turns := range 8 {
			a, b := begin(t, initiator, responder, plain, fields{"one_time": true})
			a.says(t, b, "hello")
			b.says(t, a, "good morning")
			late := [2]message{a.encrypt(t, b, []byte("late"))}
			a.says(t, b, "on time")
			late[1] = b.encrypt(t, a, []byte("late"))
			for range turns {
				b.says(t, a, "turn")
				a.says(t, b, "turn")
			}
			opens := func(p, from *peer, m message, chains int) {
				t.Helper()
				if chains < 5 {
					p.opens(t, from, m)
				} else {
					p.refuses(t, from, m, "not_authentic")
				}
			}
			opens(b, a, late[0], turns)
			opens(a, b, late[1], turns-1)
			b.says(t, a, "and on")
			a.says(t, b, "and on")
		}
	})
}

// As far ahead as a message may be, and one more. It takes 25,000 messages, so a short run asks ourselves alone.
func TestInteropFarAhead(t *testing.T) {
	farAhead := func(t *testing.T, initiator, responder string) {
		a, b := begin(t, initiator, responder, plain, fields{"one_time": true})
		a.says(t, b, "hello")
		b.says(t, a, "good morning")
		a.says(t, b, "and you")
		const furthest = 24_999 // messages left out: with the post-quantum ratchet one less than 25,000
		for range furthest {
			a.encrypt(t, b, nil)
		}
		last := a.encrypt(t, b, []byte("furthest"))
		tooFar := a.encrypt(t, b, []byte("too far"))
		b.refuses(t, a, tooFar, "not_authentic", "too_large")
		b.opens(t, a, last)
		b.opens(t, a, tooFar)
		b.says(t, a, "there you are")
	}
	t.Run(ours, func(t *testing.T) { farAhead(t, ours, ours) })
	if full() {
		eachPair(t, versions[:1], farAhead)
	}
}

// Of the messages passed over in one chain both keep the same 2,000 readable: we read whatever libsignal would read.
func TestInteropSkippedMessages(t *testing.T) {
	const passedOver, kept = 2_100, 2_000
	readable := func(reader string) (first int) {
		a, b := begin(t, versions[0], reader, plain, fields{"one_time": true})
		a.says(t, b, "hello")
		b.says(t, a, "good morning")
		var all []message
		for range passedOver + 1 {
			all = append(all, a.encrypt(t, b, []byte("passed over")))
		}
		b.opens(t, a, all[passedOver])
		first = passedOver
		for i, m := range slices.Backward(all[:passedOver]) {
			if i < passedOver-kept-10 || i > passedOver-kept+10 && i%100 != 0 {
				continue
			}
			if reply := b.decrypt(t, a, m); reply.OK {
				first = i
			} else if i > passedOver-kept+10 {
				t.Errorf("%s refused message %d of %d with %s", reader, i, passedOver, reply.Error)
			}
		}
		b.says(t, a, "thank you")
		return first
	}
	if mine, theirs := readable(ours), readable(versions[0]); mine != theirs || mine == 0 || mine == passedOver {
		t.Errorf("of %d messages passed over we read from number %d on, libsignal from %d on", passedOver, mine, theirs)
	}
}

// A message that comes back to its sender is refused, before and after an answer.
func TestInteropReflected(t *testing.T) {
	eachPair(t, versions[:1], func(t *testing.T, initiator, responder string) {
		a, b := begin(t, initiator, responder, uuids, fields{"one_time": true})
		first := a.says(t, b, "hello")
		a.reflects(t, b, first)
		a.reflects(t, b, b.says(t, a, "good morning"))
		for _, end := range [][2]*peer{{a, b}, {b, a}} {
			end[0].reflects(t, end[1], end[0].says(t, end[1], "and so on"))
			end[0].reflects(t, end[1], end[0].encrypt(t, end[1], []byte("never arrived")))
		}
		a.says(t, b, "still there")
		b.says(t, a, "still there")
	})
}

// reflects brings p a message as if to had sent it.
func (p *peer) reflects(t *testing.T, to *peer, m message) {
	t.Helper()
	if a := p.decrypt(t, to, m); a.OK || a.Error == "internal" {
		t.Errorf("%s was brought its own message, or one that it has read: %v %s %s", p.kind, a.OK, a.Error, a.Detail)
	}
}
