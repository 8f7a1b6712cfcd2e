package ratchettest

import (
	"crypto/sha3"
	"encoding/binary"
	"io"
	"time"

	"coldframe/internal/secret"
	"coldframe/ratchet"
)

// Day is the moment of everything in tests that does not need another one.
var Day = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Party is a user with a store, one open session for each peer, and prekeys.
type Party struct {
	Local   *ratchet.Local
	Store   *Store
	PreKeys *ratchet.PreKeys

	sessions map[ratchet.Address]*ratchet.Session
}

// NewParty returns a party with a random identity, device 1.
func NewParty(name string) *Party {
	return newParty(&ratchet.Local{Identity: ratchet.NewIdentity(), Address: ratchet.Address{Name: name, Device: 1}, RegistrationID: 1})
}

// NewTwin returns a party whose identity and randomness follow from its name alone: two of the same name do the same.
func NewTwin(name string) *Party {
	random := sha3.NewSHAKE256()
	_, _ = random.Write([]byte("coldframe/ratchettest/twin/" + name))
	var scalar [secret.KeySize]byte
	_, _ = random.Read(scalar[:])
	key, err := secret.FromBytes(scalar[:])
	if err != nil {
		panic(err)
	}
	id, err := ratchet.IdentityFromKey(key)
	if err != nil {
		panic(err)
	}
	return newParty(&ratchet.Local{
		Identity: id, Address: ratchet.Address{Name: name, Device: 1}, RegistrationID: uint32(binary.BigEndian.Uint16(scalar[:]) & 0x3fff),
		Random: io.Reader(random),
	})
}

func newParty(l *ratchet.Local) *Party {
	return &Party{Local: l, Store: NewStore(l.Address.Name), PreKeys: ratchet.NewPreKeys(l, 0), sessions: map[ratchet.Address]*ratchet.Session{}}
}

// Address returns the party's address.
func (p *Party) Address() ratchet.Address { return p.Local.Address }

// Again returns a second agent of the same party, on the same store, with nothing in memory.
func (p *Party) Again() *Party {
	c := newParty(p.Local)
	c.Store = p.Store
	c.Reload()
	return c
}

// Reload forgets what is in memory: the next use reads the store.
func (p *Party) Reload() {
	p.sessions = map[ratchet.Address]*ratchet.Session{}
	keys, err := p.Store.PreKeys(p.Local)
	if err != nil {
		panic(err)
	}
	p.PreKeys = keys
}

// Restore goes back to an older copy of the store, which is what nobody must do: tests see to it that it is noticed.
func (p *Party) Restore(copied *Store) {
	p.Store = copied
	p.Reload()
}

// Drop forgets a peer, in memory and in the store.
func (p *Party) Drop(peer ratchet.Address) {
	delete(p.sessions, peer)
	p.Store.Drop(peer)
}

// Bundle returns a new bundle. It panics on an error.
func (p *Party) Bundle(o ratchet.BundleOptions) *ratchet.Bundle {
	list, err := p.PreKeys.Bundles(1, o, Day, p.Store.SavePreKeys)
	if err != nil {
		panic(err)
	}
	return &list[0]
}

// Session returns the open session with a peer, opening it if need be.
func (p *Party) Session(peer ratchet.Address) (*ratchet.Session, error) {
	if s := p.sessions[peer]; s != nil {
		return s, nil
	}
	s, err := p.Store.Session(p.Local, peer)
	if err == nil {
		p.sessions[peer] = s
	}
	return s, err
}

// Start begins a session with the owner of the bundle.
func (p *Party) Start(b *ratchet.Bundle) error {
	s, err := p.Session(b.Address)
	if err != nil {
		return err
	}
	return s.Start(b, Day)
}

// Send encrypts a message to a peer.
func (p *Party) Send(peer ratchet.Address, plaintext string) (ratchet.Message, error) {
	s, err := p.Session(peer)
	if err != nil {
		return ratchet.Message{}, err
	}
	return s.Encrypt([]byte(plaintext), Day, p.Store.Save(peer))
}

// Receive decrypts a message of a peer.
func (p *Party) Receive(peer ratchet.Address, m ratchet.Message) (string, error) {
	s, err := p.Session(peer)
	if err != nil {
		return "", err
	}
	b, err := s.Decrypt(m, p.PreKeys, p.Store.Save(peer))
	return string(b), err
}
