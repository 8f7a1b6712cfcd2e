package main

import (
	"bytes"
	"fmt"

	"coldframe/ratchet"
	"coldframe/ratchet/ratchettest"
)

// party is one end with an open session. Its store is ratchettest's: in memory, each part sealed by itself, swapped by the record's counter.
type party struct {
	*ratchettest.Party
	peer    ratchet.Address
	session *ratchet.Session
	store   ratchet.Save

	saves, savedBytes int
}

var plaintext = bytes.Repeat([]byte{0x5a}, 100)

func newParty(name string, peer string) *party {
	p := &party{Party: ratchettest.NewParty(name), peer: ratchet.Address{Name: peer, Device: 1}}
	p.session = ratchet.NewSession(p.Local, p.peer, 0)
	p.store = p.Store.Save(p.peer)
	return p
}

// connected returns two parties with a session that both have heard from.
func connected() (a, b *party, err error) {
	const nameA, nameB = "9d0652a3-dcc3-4d11-975f-74d61598733f", "796abedb-ca4e-4f18-8803-1fde5b921f9f"
	a, b = newParty(nameA, nameB), newParty(nameB, nameA)
	if err := a.session.Start(b.Bundle(ratchet.BundleOptions{}), ratchettest.Day); err != nil {
		return nil, nil, err
	}
	if err := pairs(a, b, 1); err != nil {
		return nil, nil, err
	}
	a.saves, a.savedBytes = 0, 0
	return a, b, nil
}

func (p *party) save(c ratchet.Change) error {
	p.saves++
	for _, part := range c.Put {
		p.savedBytes += len(part.Body)
	}
	return p.store(c)
}

func (p *party) encrypt() (ratchet.Message, error) {
	return p.session.Encrypt(plaintext, ratchettest.Day, p.save)
}

func (p *party) decrypt(m ratchet.Message) error {
	got, err := p.session.Decrypt(m, p.PreKeys, p.save)
	if err == nil && !bytes.Equal(got, plaintext) {
		return fmt.Errorf("decrypted to something else")
	}
	return err
}

// reopen forgets the open session and reads it from the store.
func (p *party) reopen() (err error) {
	p.session, err = p.Store.Session(p.Local, p.peer)
	return err
}
