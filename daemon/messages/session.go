package messages

import (
	"context"
	"errors"
	"slices"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

const (
	maxTries    = 3  // of a swap that others were faster with
	maxSessions = 64 // that stay open
)

// session is an open session and its record.
type session struct {
	*ratchet.Session
	record *record
}

// preKeys are the open prekeys and their record.
type preKeys struct {
	*ratchet.PreKeys
	record *record
}

func (m *Messages) drop(peer string) {
	if s := m.sessions[peer]; s != nil {
		s.Wipe()
		delete(m.sessions, peer)
	}
}

func (m *Messages) dropPreKeys() {
	if m.preKeys != nil {
		m.preKeys.Wipe()
		m.preKeys = nil
	}
}

// session returns the session with a peer: the open one, or with remote the one that the coordinator has.
func (m *Messages) session(ctx context.Context, peer string, remote bool) (*session, error) {
	pin, err := m.config.Contacts.Identity(ctx, peer)
	if err != nil {
		return nil, recordFault{err}
	}
	if s := m.sessions[peer]; s != nil && !remote && (s.Info().RemoteIdentity == pin || pin == [32]byte{}) {
		return s, nil
	}
	m.drop(peer)
	r, c, err := m.load(ctx, sessionBase(peer), remote)
	if err != nil {
		return nil, err
	}
	defer c.wipe()
	s, err := m.openSession(peer, r, c, pin)
	if err != nil {
		return nil, recordFault{err}
	}
	err = m.config.DB.Update(func(tx *kv.Tx) error { return setWeak(tx, r.base, s.Info().Weak) }) // another device may have begun it, or heard the answer
	if err != nil {
		s.Wipe()
		return nil, err
	}
	if len(m.sessions) >= maxSessions {
		for other := range m.sessions {
			m.drop(other)
		}
	}
	m.sessions[peer] = s
	return s, nil
}

// Weak reports whether the session with a peer began without a one-time prekey of theirs and they have not answered yet, when this device last used it: who gets
// at their identity and prekeys later, while they still have these, can read what was sent before the answer (THREATS S08).
func (m *Messages) Weak(peer string) (bool, error) {
	return m.config.DB.Has(weakPrefix + sessionBase(peer))
}

// openSession opens what was loaded. A record of another identity than the one that the peer is pinned to is given up: a person has
// looked at the new key.
func (m *Messages) openSession(peer string, r *record, c *contents, pin [32]byte) (*session, error) {
	address := ratchet.Address{Name: peer, Device: 1}
	s := ratchet.NewSession(m.config.Local, address, r.counter)
	if parts := c.all(); parts != nil {
		stored, err := ratchet.OpenSession(m.config.Local, address, parts, r.counter)
		if err != nil {
			return nil, err
		}
		if known := stored.Info().RemoteIdentity; pin == [32]byte{} || known == [32]byte{} || known == pin {
			s = stored
		} else {
			stored.Wipe()
		}
	}
	if pin != [32]byte{} {
		if err := s.Pin(pin); err != nil {
			s.Wipe()
			return nil, err
		}
	}
	return &session{s, r}, nil
}

// openPreKeys returns the prekeys: the open ones, or with remote those that the coordinator has.
func (m *Messages) openPreKeys(ctx context.Context, remote bool) (*preKeys, error) {
	if m.preKeys != nil && !remote {
		return m.preKeys, nil
	}
	m.dropPreKeys()
	r, c, err := m.load(ctx, preKeysBase, remote)
	if err != nil {
		return nil, err
	}
	defer c.wipe()
	p := ratchet.NewPreKeys(m.config.Local, r.counter)
	if len(c.head) > 0 {
		if p, err = ratchet.OpenPreKeys(m.config.Local, c.head, r.counter); err != nil {
			return nil, recordFault{err}
		}
	}
	m.preKeys = &preKeys{p, r}
	return m.preKeys, nil
}

// save returns what stores the changes of a session, and of p with it; further are made in the same swap, from the body if one was opened.
func (m *Messages) save(ctx context.Context, s *session, p *preKeys, further furtherFunc) ratchet.Save {
	return func(c ratchet.Change) error { return inSave(m.store(ctx, s, p, c, further)) }
}

// furtherFunc makes the changes that go into the swap that consumes a message's key. The identity is the one that the session has.
type furtherFunc func(body []byte, identity [32]byte) ([]BlobChange, error)

// saveFault is a failure after which nobody knows what is stored.
type saveFault struct{ error }

func (f saveFault) Unwrap() error { return f.error }

func inSave(err error) error {
	if err != nil {
		err = saveFault{err}
	}
	return err
}

func (m *Messages) store(
	ctx context.Context, s *session, p *preKeys, c ratchet.Change, further furtherFunc,
) error {
	step := edit{counter: c.Counter, begins: c.Begins, head: c.Put[0].Body, put: c.Put[1:], drop: c.Drop}
	next, err := m.plan(ctx, s.record, step)
	if err == nil {
		err = m.fitsStranger(s.record, step, next.next)
	}
	if err != nil {
		return err
	}
	next.weak = &c.Weak
	plans := []*plan{next}
	if c.PreKeys != nil {
		keys, err := m.plan(ctx, p.record, edit{counter: c.PreKeysCounter, head: c.PreKeys})
		if err != nil {
			return err
		}
		plans = append(plans, keys)
	}
	var list []BlobChange
	if further != nil {
		if list, err = further(c.Body, c.Identity); err != nil {
			return err
		}
	}
	if err := m.apply(ctx, plans, list...); err != nil {
		return err
	}
	s.record = next.next
	if len(plans) > 1 {
		p.record = plans[1].next
	}
	return nil
}

// origin names the session that a message was made in: whose, and since when. After another origin the peer may not open it.
type origin struct {
	identity [32]byte
	begun    uint64
}

func (s *session) origin() origin { return origin{s.Info().RemoteIdentity, s.record.begun} }

// originOf returns the origin of the next message to a peer, as far as this device knows; zeroes if a session is to begin first.
func (m *Messages) originOf(ctx context.Context, peer string) (o origin, err error) {
	m.lock()
	defer m.mu.Unlock()
	s, err := m.session(ctx, peer, false)
	if err != nil {
		return o, err
	}
	return s.origin(), nil
}

// encrypt makes a message of a body, beginning a session if there is none that the peer answers in.
func (m *Messages) encrypt(ctx context.Context, peer string, body []byte) (msg ratchet.Message, o origin, err error) {
	m.lock()
	defer m.mu.Unlock()
	var bundle *ratchet.Bundle
	for try := range maxTries {
		if msg, err = m.tryEncrypt(ctx, peer, body, try > 0, &bundle); err == nil {
			return msg, m.sessions[peer].origin(), nil
		}
		m.drop(peer)
		if !errors.Is(err, fault.Conflict) {
			return msg, o, err
		}
	}
	return msg, o, err
}

func (m *Messages) tryEncrypt(
	ctx context.Context, peer string, body []byte, remote bool, bundle **ratchet.Bundle,
) (ratchet.Message, error) {
	s, err := m.session(ctx, peer, remote)
	if err == nil {
		err = m.retire(ctx, peer, s)
	}
	if err != nil {
		return ratchet.Message{}, err
	}
	now := m.config.Now()
	msg, err := s.Encrypt(body, now, m.save(ctx, s, nil, nil))
	if errors.As(err, new(saveFault)) || !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Stale) {
		return msg, err
	}
	if *bundle == nil {
		if *bundle, err = m.config.Bundles.Bundle(ctx, peer); err != nil {
			return ratchet.Message{}, err
		}
	}
	if err := s.Start(*bundle, now); err != nil {
		return ratchet.Message{}, err
	}
	return s.Encrypt(body, now, m.save(ctx, s, nil, nil))
}

// decrypt opens a message of a peer. further makes the changes that go with it, of the body.
func (m *Messages) decrypt(ctx context.Context, peer string, msg ratchet.Message, further furtherFunc) (err error) {
	m.lock()
	defer m.mu.Unlock()
	for try := range maxTries {
		if err = m.tryDecrypt(ctx, peer, msg, try > 0, further); err == nil {
			return nil
		}
		m.drop(peer)
		if errors.As(err, new(recordFault)) || errors.As(err, new(saveFault)) || msg.Type == ratchet.TypePreKey {
			m.dropPreKeys()
		}
		if !mayBeOld(err) || try > 0 && !errors.Is(err, fault.Conflict) {
			return err
		}
	}
	return err
}

// mayBeOld reports whether a message may open with the record that the coordinator has, after it did not with ours.
func mayBeOld(err error) bool {
	if errors.As(err, new(recordFault)) {
		return false
	}
	code := fault.CodeOf(err)
	return slices.Contains([]fault.Code{fault.Conflict, fault.Stale, fault.NotFound, fault.NotAuthentic, fault.TooLarge}, code)
}

// tryDecrypt opens the prekeys before the session: others change both (docs/ratchet.md, rule 4).
func (m *Messages) tryDecrypt(ctx context.Context, peer string, msg ratchet.Message, remote bool, further furtherFunc) (err error) {
	var p *preKeys
	var keys *ratchet.PreKeys
	if msg.Type == ratchet.TypePreKey {
		if p, err = m.openPreKeys(ctx, remote); err != nil {
			return err
		}
		keys = p.PreKeys
	}
	s, err := m.session(ctx, peer, remote)
	if err != nil {
		return err
	}
	body, err := s.Decrypt(msg, keys, m.save(ctx, s, p, further))
	secret.Wipe(body) // it was sealed in the swap
	return err
}

// NewBundles makes n bundles to offer, and returns them once the prekeys are stored.
func (m *Messages) NewBundles(ctx context.Context, n int, o ratchet.BundleOptions) (list []ratchet.Bundle, err error) {
	err = m.withPreKeys(ctx, func(p *ratchet.PreKeys, save func([]byte) error) error {
		list, err = p.Bundles(n, o, m.config.Now(), save)
		return err
	})
	return list, err
}

// Rotate replaces signed and last-resort prekeys that are due, and reports whether any was: then new bundles are to be offered. It is
// called once a day.
func (m *Messages) Rotate(ctx context.Context) (rotated bool, err error) {
	err = m.withPreKeys(ctx, func(p *ratchet.PreKeys, save func([]byte) error) error {
		rotated, err = p.Rotate(m.config.Now(), save)
		return err
	})
	return rotated, err
}

// withPreKeys calls fn with the prekeys and what stores them; again with those of the coordinator if another agent was faster.
func (m *Messages) withPreKeys(ctx context.Context, fn func(p *ratchet.PreKeys, save func([]byte) error) error) error {
	return m.until(ctx, func(ctx context.Context) error { return m.tryPreKeys(ctx, fn) })
}

func (m *Messages) tryPreKeys(ctx context.Context, fn func(p *ratchet.PreKeys, save func([]byte) error) error) (err error) {
	m.lock()
	defer m.mu.Unlock()
	for try := range maxTries {
		var p *preKeys
		if p, err = m.openPreKeys(ctx, try > 0); err != nil {
			return err
		}
		err = fn(p.PreKeys, func(record []byte) error { return m.savePreKeys(ctx, p, record) })
		if err == nil {
			return nil
		}
		m.dropPreKeys()
		if !errors.Is(err, fault.Conflict) {
			return err
		}
	}
	return err
}

func (m *Messages) savePreKeys(ctx context.Context, p *preKeys, record []byte) error {
	counter, err := ratchet.PreKeysCounter(record)
	if err != nil {
		return err
	}
	next, err := m.plan(ctx, p.record, edit{counter: counter, begins: p.record.fresh, head: record})
	if err != nil {
		return err
	}
	if err := m.apply(ctx, []*plan{next}); err != nil {
		return err
	}
	p.record = next.next
	return nil
}
