package driver

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

// peer is one party: its keys and its sessions, with the records that package ratchet asked to be saved.
type peer struct {
	local        *ratchet.Local
	preKeys      *ratchet.PreKeys
	preKeyRecord []byte // nil: nothing was saved yet
	sessions     map[ratchet.Address]*entry
}

// entry is a session and its record.
type entry struct {
	session *ratchet.Session
	counter uint64
	parts   map[ratchet.PartID][]byte
	started *bundleJSON // that of a session begun since the last save: it has no record before its first message
}

func newPeer(r initRequest) (*peer, error) {
	device := uint8(1)
	if r.Device != nil {
		device = *r.Device
	}
	address, err := addressOf(r.Name, device)
	if err != nil {
		return nil, err
	}
	identity, err := identityOf(r.IdentityPrivate)
	if err != nil {
		return nil, err
	}
	l := &ratchet.Local{Identity: identity, Address: address, RegistrationID: newRegistrationID()}
	if r.RegistrationID != nil {
		l.RegistrationID = *r.RegistrationID
	}
	return &peer{local: l, preKeys: ratchet.NewPreKeys(l, 0), sessions: map[ratchet.Address]*entry{}}, nil
}

// newRegistrationID returns one that fits 14 bits and is not 0.
func newRegistrationID() uint32 {
	const largest = 0x3ffc
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return 1 + binary.BigEndian.Uint32(b[:])%largest
}

func identityOf(private []byte) (ratchet.Identity, error) {
	if len(private) == 0 {
		return ratchet.NewIdentity(), nil
	}
	k, err := secret.FromBytes(private)
	if err != nil {
		return ratchet.Identity{}, invalid("an identity's private key has 32 bytes")
	}
	defer k.Wipe()
	return ratchet.IdentityFromKey(k)
}

// about is what init and load answer.
func (p *peer) about() fields {
	l := p.local
	return fields{
		"name": l.Address.Name, "device": l.Address.Device, "registration_id": l.RegistrationID, "identity_key": publicKey(l.Identity.Public()),
	}
}

// entry returns what there is of a session, or a new one that is not kept before something is saved.
func (p *peer) entry(remote ratchet.Address) *entry {
	if e, ok := p.sessions[remote]; ok {
		return e
	}
	return &entry{session: ratchet.NewSession(p.local, remote, 0), parts: map[ratchet.PartID][]byte{}}
}

// saver returns the function that stores a session's changes, in memory.
func (p *peer) saver(remote ratchet.Address, e *entry) ratchet.Save {
	return func(c ratchet.Change) error {
		if c.Counter != e.counter+1 {
			return fault.New(fault.Conflict, "change %d of a record at %d", c.Counter, e.counter)
		}
		if c.PreKeys != nil && c.PreKeysCounter != p.preKeys.Counter()+1 {
			return fault.New(fault.Conflict, "change %d of prekeys at %d", c.PreKeysCounter, p.preKeys.Counter())
		}
		e.counter, e.started = c.Counter, nil
		for _, part := range c.Put {
			e.parts[part.ID] = bytes.Clone(part.Body)
		}
		for _, id := range c.Drop {
			delete(e.parts, id)
		}
		if c.PreKeys != nil {
			p.preKeyRecord = bytes.Clone(c.PreKeys)
		}
		p.sessions[remote] = e
		return nil
	}
}

// dumped is a peer as dump writes it.
type dumped struct {
	Name            string          `json:"name"`
	Device          uint8           `json:"device"`
	RegistrationID  uint32          `json:"registration_id"`
	IdentityPrivate hexBytes        `json:"identity_private"`
	PreKeys         hexBytes        `json:"prekeys,omitempty"`
	Sessions        []dumpedSession `json:"sessions"`
}

type dumpedSession struct {
	Name    string                      `json:"name"`
	Device  uint8                       `json:"device"`
	Counter uint64                      `json:"counter"`
	Parts   map[ratchet.PartID]hexBytes `json:"parts"`
	Started *bundleJSON                 `json:"started,omitempty"`
}

func (p *peer) dump() ([]byte, error) {
	l := p.local
	k := l.Identity.Key()
	defer k.Wipe()
	d := dumped{
		Name: l.Address.Name, Device: l.Address.Device, RegistrationID: l.RegistrationID, IdentityPrivate: k.Bytes(), PreKeys: p.preKeyRecord,
		Sessions: []dumpedSession{},
	}
	for _, remote := range slices.SortedFunc(maps.Keys(p.sessions), compareAddresses) {
		e := p.sessions[remote]
		s := dumpedSession{Name: remote.Name, Device: remote.Device, Counter: e.counter, Parts: map[ratchet.PartID]hexBytes{}, Started: e.started}
		for id, body := range e.parts {
			s.Parts[id] = body
		}
		d.Sessions = append(d.Sessions, s)
	}
	return json.Marshal(d)
}

func compareAddresses(a, b ratchet.Address) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Device, b.Device))
}

// loadPeer returns the peer that dump wrote. Everything in it is opened, so that a state which is none is refused at once.
func loadPeer(b []byte) (*peer, error) {
	var d dumped
	if err := decode(b, &d); err != nil {
		return nil, err
	}
	p, err := newPeer(initRequest{Name: d.Name, Device: &d.Device, RegistrationID: &d.RegistrationID, IdentityPrivate: d.IdentityPrivate})
	if err != nil {
		return nil, err
	}
	if d.PreKeys != nil {
		p.preKeyRecord = d.PreKeys
		if p.preKeys, err = ratchet.OpenPreKeys(p.local, d.PreKeys, 0); err != nil {
			return nil, err
		}
	}
	for _, s := range d.Sessions {
		if err := p.loadSession(&s); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *peer) loadSession(s *dumpedSession) error {
	remote, err := addressOf(s.Name, s.Device)
	if err != nil {
		return err
	}
	e := p.entry(remote)
	e.counter = s.Counter
	var parts []ratchet.Part
	for id, body := range s.Parts {
		e.parts[id] = body
		parts = append(parts, ratchet.Part{ID: id, Body: body})
	}
	if len(parts) > 0 {
		if e.session, err = ratchet.OpenSession(p.local, remote, parts, 0); err != nil {
			return err
		}
	}
	p.sessions[remote] = e
	return p.restart(e, s.Started)
}

// restart begins again a session that was begun but had no record yet. Nothing was sent with it, so another base key is as good.
func (p *peer) restart(e *entry, started *bundleJSON) error {
	if started == nil {
		return nil
	}
	b, err := started.bundle()
	if err != nil {
		return err
	}
	e.started = started
	return e.session.Start(b, time.Now())
}
