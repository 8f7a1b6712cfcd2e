package ratchet

import (
	"errors"

	"coldframe/internal/fault"
)

// Decrypt opens a message of the peer and returns its body once save has stored the record that goes with it. p is needed for the first
// messages of a new session; it may be nil for others, and with it in use the change holds its new record too. A failure changes nothing.
//
// Errors: fault.NotAuthentic for whatever no session opens; fault.Replayed for what was read before, or lost its key to the limits;
// fault.TooLarge for a jump of more than 25,000 messages; fault.Policy for other versions and for a handshake without its post-quantum
// part; fault.KeyChanged for another identity than the pinned one; fault.Stale for prekeys that are not in p: used, expired, or made by
// another agent since p was opened (open both again and try once more); fault.Locked; fault.NotFound without a session; fault.Conflict
// after an error of save; that error. All but what comes from save may be a forger's doing: also fault.KeyChanged, for whoever makes a message
// may put another identity key into it.
//
// save is called with p locked: it may ask p for Counter and Remaining and nothing else.
func (s *Session) Decrypt(m Message, p *PreKeys, save Save) ([]byte, error) {
	if err := s.in.usable(); err != nil {
		return nil, err
	}
	switch m.Type {
	case TypeMessage:
		return s.in.decryptMessage(m.Body, save)
	case TypePreKey:
		return s.in.decryptPreKey(m.Body, p, save)
	}
	return nil, fault.New(fault.InvalidRequest, "no message has type %d", m.Type)
}

// decryptMessage opens a message with the current session or an archived one, which becomes the current one.
func (in *session) decryptMessage(body []byte, save Save) ([]byte, error) {
	m, err := parseSignalMessage(body)
	if err != nil {
		return nil, err
	}
	if in.current == nil && len(in.archived) == 0 {
		return nil, fault.New(fault.NotFound, "there is no session with this peer")
	}
	current, archived := newEffort(), newEffort()
	return in.search(&m, &current, &archived, save)
}

// search tries the current session, within an effort of its own, then the archived ones, within one that is for all of them. If some know
// the message's ratchet key no other one is tried: that would spend the effort, and a message far ahead in its session would be lost.
func (in *session) search(m *signalMessage, current, archived *effort, save Save) ([]byte, error) {
	var first error
	known := in.known(&m.ratchetKey)
	for i := range len(in.archived) + 1 {
		from, effort := in.candidate(i), archived
		if from == nil || known && !from.knows(&m.ratchetKey) {
			continue
		}
		if from == in.current {
			effort = current
		}
		plaintext, err := in.decryptWith(from, m, effort, save)
		if err == nil || in.broken || errors.Is(err, fault.Replayed) {
			return plaintext, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// known reports whether a message with this ratchet key was read in any of our sessions.
func (in *session) known(ratchetKey *[32]byte) bool {
	for i := range len(in.archived) + 1 {
		if c := in.candidate(i); c != nil && c.knows(ratchetKey) {
			return true
		}
	}
	return false
}

// candidate returns the current state for 0, the archived ones from 1 on.
func (in *session) candidate(i int) *state {
	if i == 0 {
		return in.current
	}
	return in.archived[i-1]
}

// decryptWith opens a message with one of our states and makes it the current one.
func (in *session) decryptWith(from *state, m *signalMessage, e *effort, save Save) ([]byte, error) {
	next := *from
	plaintext, err := next.decrypt(in.local, in.remote, in.local.random(), m, e)
	if err != nil {
		next.wipe(from)
		return nil, err
	}
	archived, promoted := in.archived, from != in.current
	if promoted {
		archived = in.archive(from)
	}
	if err := in.commit(&next, archived, nil, plaintext, save); err != nil {
		return nil, err
	}
	if promoted {
		from.wipe(in.current)
	}
	return plaintext, nil
}

// decryptPreKey opens a message that carries a handshake. One whose handshake was done before needs no prekeys (spec section 9).
func (in *session) decryptPreKey(body []byte, p *PreKeys, save Save) ([]byte, error) {
	m, err := parsePreKeyMessage(body)
	if err != nil {
		return nil, err
	}
	inner, err := parseSignalMessage(m.message)
	if err != nil {
		return nil, err
	}
	if err := in.trust(&m.identityKey); err != nil {
		return nil, err
	}
	for i := range len(in.archived) + 1 {
		if c := in.candidate(i); c != nil && c.baseKey == m.baseKey && c.remoteIdentity == m.identityKey {
			e := newEffort()
			return in.decryptWith(c, &inner, &e, save)
		}
	}
	if p == nil {
		return nil, fault.New(fault.Stale, "the message begins a session, and there are no prekeys")
	}
	return in.answer(&m, &inner, p, save)
}

// answer makes the session that a first message asks for and opens the message with it, and with no other.
func (in *session) answer(m *preKeyMessage, inner *signalMessage, p *PreKeys, save Save) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys, err := p.named(m)
	if err != nil {
		return nil, err
	}
	defer keys.wipe()
	next, err := respond(in.local, m, keys)
	if err != nil {
		return nil, err
	}
	e := newEffort()
	plaintext, err := next.decrypt(in.local, in.remote, in.local.random(), inner, &e)
	if err != nil {
		next.wipe(&state{})
		return nil, err
	}
	archived := limited(in.archive(nil))
	next.slot = freeSlot(archived)
	used := p.use(m)
	p.broken = true // until it is known what is stored, even if save panics
	if err := in.commit(next, archived, used, plaintext, save); err != nil {
		return nil, err
	}
	p.replace(used)
	return plaintext, nil
}
