package messages

import (
	"context"
	"errors"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// What tests look at.

// Sending is where an entry of the outbox stands.
type Sending string

// The states of an entry. One that is posted is no more.
const (
	Queued    Sending = "queued"    // no message was made of it yet
	Encrypted Sending = "encrypted" // its message is stored, and waits to be posted
	Lapsed    Sending = "lapsed"    // there is no such receiver: it will not be posted, and stays to be seen until it is cancelled
)

// Outgoing is an entry of the outbox.
type Outgoing struct {
	ID       ID
	Receiver string
	Kind     string
	Queued   time.Time
	State    Sending
	Code     fault.Code // why it has not gone; "" before the first try
	Tries    int
	Next     time.Time // of the next try
}

func (e *entry) outgoing() Outgoing {
	o := Outgoing{
		ID: ID(e.ID), Receiver: e.Receiver, Kind: e.Kind, Queued: time.Unix(e.Queued, 0).UTC(), State: Queued,
		Code: fault.Code(e.Code), Tries: e.Tries, Next: time.UnixMilli(e.Next).UTC(),
	}
	switch {
	case strings.HasPrefix(e.key, lapsedPrefix):
		o.State = Lapsed
	case len(e.Ciphertext) > 0:
		o.State = Encrypted
	}
	return o
}

// eachEntry calls fn with all entries, the lapsed ones last.
func (m *Messages) eachEntry(tx *kv.Tx, fn func(e *entry)) error {
	each := func(key string, sealed []byte) error {
		e, err := m.openEntry(key, sealed)
		if err == nil {
			fn(e)
			e.wipe()
		}
		return err
	}
	return errors.Join(tx.Scan(outPrefix, each), tx.Scan(lapsedPrefix, each))
}

// Outbox returns what waits, by receiver, in order, and what lapsed.
func (m *Messages) Outbox() (list []Outgoing, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		list = nil
		return m.eachEntry(tx, func(e *entry) { list = append(list, e.outgoing()) })
	})
	return list, err
}

// HeadsOf returns what a peer said last of each object, the latest heard of first; at most MaxHeads.
func (m *Messages) HeadsOf(peer string) (list []Said, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		list, err = readSaid(tx, peer)
		return err
	})
	return list, err
}

// Identity returns the identity key that the session with a peer has, zeroes if there is none yet: what a stranger is to be pinned to.
func (m *Messages) Identity(ctx context.Context, peer string) (key [32]byte, err error) {
	err = m.until(ctx, func(ctx context.Context) error {
		o, err := m.originOf(ctx, peer)
		key = o.identity
		return err
	})
	return key, err
}

// bodyAside returns the body of one that was set aside.
func (m *Messages) bodyAside(number uint64) (body []byte, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		key := asideKey(asideBodies, number)
		sealed, err := tx.Get(key)
		if err != nil {
			return err
		}
		body, err = m.openLocal(key, sealed)
		return err
	})
	return body, err
}

// Waits reports whether an entry is there.
func (m *Messages) Waits(id ID) (bool, error) {
	ids, err := m.Waiting()
	return ids[id], err
}

// Cancel is CancelIn in a transaction of its own.
func (m *Messages) Cancel(id ID) (left bool, err error) {
	err = m.config.DB.Update(func(tx *kv.Tx) error {
		left, err = m.CancelIn(tx, id)
		return err
	})
	return left, err
}
