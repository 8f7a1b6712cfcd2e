package main

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

const purpose = "ratchet/session"

// party is one end with an open session, and the store of it: sealed parts by their ids, nothing on a disk.
type party struct {
	local   *ratchet.Local
	remote  ratchet.Address
	session *ratchet.Session
	preKeys *ratchet.PreKeys

	sealer *seal.Sealer
	store  map[ratchet.PartID][]byte

	saves, savedBytes int
}

var plaintext = bytes.Repeat([]byte{0x5a}, 100)

func newParty(name, remote string, registrationID uint32) *party {
	l := &ratchet.Local{Identity: ratchet.NewIdentity(), Address: ratchet.Address{Name: name, Device: 1}, RegistrationID: registrationID}
	p := &party{local: l, remote: ratchet.Address{Name: remote, Device: 1}, store: map[ratchet.PartID][]byte{}}
	p.session = ratchet.NewSession(l, p.remote)
	p.preKeys = ratchet.NewPreKeys(l)
	p.sealer = seal.NewSealer(secret.Random(), seal.RandomKeyID(), purpose)
	return p
}

// connected returns two parties with a session that both have heard from.
func connected() (a, b *party, err error) {
	const nameA, nameB = "9d0652a3-dcc3-4d11-975f-74d61598733f", "796abedb-ca4e-4f18-8803-1fde5b921f9f"
	a, b = newParty(nameA, nameB, 1), newParty(nameB, nameA, 2)
	bundles, err := b.preKeys.Bundles(1, ratchet.BundleOptions{LastResort: true}, time.Now(), func([]byte) error { return nil })
	if err != nil {
		return nil, nil, err
	}
	if err := a.session.Start(&bundles[0], time.Now()); err != nil {
		return nil, nil, err
	}
	if err := pairs(a, b, 1); err != nil {
		return nil, nil, err
	}
	a.saves, a.savedBytes = 0, 0
	return a, b, nil
}

func (p *party) encrypt() (ratchet.Message, error) {
	return p.session.Encrypt(plaintext, time.Now(), p.save)
}

func (p *party) decrypt(m ratchet.Message) error {
	got, err := p.session.Decrypt(m, p.preKeys, p.save)
	if err == nil && !bytes.Equal(got, plaintext) {
		return fmt.Errorf("decrypted to something else")
	}
	return err
}

// save seals each part by itself. The counter is in the head, which holds the parts together.
func (p *party) save(c ratchet.Change) error {
	for _, part := range c.Put {
		sealed := p.sealer.Seal(p.place(part.ID), part.Body)
		p.store[part.ID] = sealed
		p.savedBytes += len(sealed)
	}
	for _, id := range c.Drop {
		delete(p.store, id)
	}
	p.saves++
	return nil
}

func (p *party) place(id ratchet.PartID) seal.Context {
	return seal.Context{Owner: p.local.Address.Name, Type: "session", ID: p.remote.Name, Field: strconv.Itoa(int(id))}
}

// unsealed returns the parts of the record.
func (p *party) unsealed() ([]ratchet.Part, error) {
	var parts []ratchet.Part
	for id, sealed := range p.store {
		body, err := p.sealer.Open(p.place(id), sealed)
		if err != nil {
			return nil, err
		}
		parts = append(parts, ratchet.Part{ID: id, Body: body})
	}
	return parts, nil
}

func (p *party) reopen() error {
	parts, err := p.unsealed()
	if err != nil {
		return err
	}
	p.session, err = ratchet.OpenSession(p.local, p.remote, parts)
	return err
}
