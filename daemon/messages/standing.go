package messages

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// Standing is what a peer is to the user.
type Standing int

// The standings. Sessions with strangers, the first two, are bounded, and nothing was ever sent in them.
const (
	StandingNone    Standing = iota // nobody: what is kept of their session makes room for others
	StandingAsks                    // something of theirs waits for consent
	StandingFormer                  // was a contact once, or is blocked: their session is kept, and their word counts for nothing
	StandingContact                 // their word on heads counts
)

func (s Standing) stranger() bool { return s == StandingNone || s == StandingAsks }

const (
	strangerPrefix = "messages/stranger/" // strangers who have a session on this device, and how many messages it opened: time (8) ‖ number (8)

	maxStrangers        = 128      // that have a session
	maxStrangerMessages = 256      // that are opened of one
	maxStrangerParts    = 16       // of the record of one
	maxStrangerPart     = 16 << 10 // bytes of each
	maxDeleted          = 48       // blobs that go in one swap
)

// errStranger is why a message of a stranger is dropped.
var errStranger = fault.New(fault.TooLarge, "more than a stranger may have before somebody consents")

// admitStranger makes room for one more message of a stranger: the session of who asks for nothing and wrote first goes, if there are too
// many. errStranger: this one had enough, or all the others ask.
func (m *Messages) admitStranger(ctx context.Context, peer string) error {
	had, all, err := m.strangers(peer)
	switch {
	case err != nil:
		return err
	case had >= maxStrangerMessages:
		return errStranger
	case had == 0 && len(all) >= maxStrangers:
		if err := m.makeRoom(ctx, all); err != nil {
			return err
		}
	}
	now := uint64(m.config.Now().Unix()) //nolint:gosec // a date
	return m.config.DB.Update(func(tx *kv.Tx) error {
		b, err := tx.Get(strangerPrefix + peer)
		if errors.Is(err, fault.NotFound) || err == nil && len(b) != 16 {
			b, err = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, now), 0), nil
		}
		if err != nil {
			return err
		}
		return tx.Set(strangerPrefix+peer, binary.BigEndian.AppendUint64(b[:8:8], binary.BigEndian.Uint64(b[8:])+1))
	})
}

// strangers returns how many messages of a peer were let in, and since when each stranger has a session.
func (m *Messages) strangers(peer string) (had uint64, since map[string]uint64, err error) {
	since = map[string]uint64{}
	err = m.config.DB.View(func(tx *kv.Tx) error {
		return tx.Scan(strangerPrefix, func(key string, b []byte) error {
			if len(b) != 16 {
				return fault.New(fault.NotAuthentic, "not the record of a stranger")
			}
			other := strings.TrimPrefix(key, strangerPrefix)
			since[other] = binary.BigEndian.Uint64(b)
			if other == peer {
				had = binary.BigEndian.Uint64(b[8:])
			}
			return nil
		})
	})
	return had, since, err
}

// makeRoom gives up the session of the stranger who wrote first of those who ask for nothing. Who is no stranger any more counts no more.
func (m *Messages) makeRoom(ctx context.Context, since map[string]uint64) error {
	oldest := ""
	for peer, t := range since {
		standing, err := m.config.Standing(peer)
		if err != nil {
			return err
		}
		if !standing.stranger() {
			return m.config.DB.Update(func(tx *kv.Tx) error { return tx.Delete(strangerPrefix + peer) })
		}
		if standing == StandingNone && (oldest == "" || t < since[oldest] || t == since[oldest] && peer < oldest) {
			oldest = peer
		}
	}
	if oldest == "" {
		return errStranger
	}
	return m.giveUp(ctx, oldest)
}

// giveUp removes the session with a stranger, and the ids of the messages that came in it. What they send in it cannot be read any more.
func (m *Messages) giveUp(ctx context.Context, peer string) error {
	m.lock()
	defer m.mu.Unlock()
	m.drop(peer)
	base := sessionBase(peer)
	list, err := m.config.Blobs.List(ctx, base+"-")
	if err != nil {
		return err
	}
	var changes []BlobChange
	for i := range list {
		if !list[i].Removed {
			changes = append(changes, removalOf(&list[i]))
		}
	}
	for len(changes) > 0 { // the head goes first: without it there is no record
		n := min(maxDeleted, len(changes))
		if err := m.swap(ctx, changes[:n]); err != nil {
			return err
		}
		changes = changes[n:]
	}
	err = m.config.DB.Update(func(tx *kv.Tx) error { return m.forgetStranger(tx, peer) })
	if err == nil {
		m.config.Event(Event{What: GivenUp, Peer: peer, Code: fault.TooLarge})
	}
	return err
}

// forgetStranger removes what is kept here of somebody's session. Its counters need not outlive it: no message was ever made in it.
func (m *Messages) forgetStranger(tx *kv.Tx, peer string) error {
	base := sessionBase(peer)
	keys := []string{strangerPrefix + peer, markPrefix + base, trailPrefix + base, retirePrefix + base, faultPrefix + base, startPrefix + base, weakPrefix + base}
	if err := tx.Keys(seenPrefix+peer+"/", func(key string) error { keys = append(keys, key); return nil }); err != nil {
		return err
	}
	err := dropCopies(tx, base)
	for _, key := range keys {
		err = errors.Join(err, tx.Delete(key))
	}
	return err
}

// strangersRecord reports whether a record is that of a session with a stranger.
func (m *Messages) strangersRecord(base string) (bool, error) {
	if base == preKeysBase {
		return false, nil
	}
	standing, err := m.config.Standing(peerOf(base))
	return standing.stranger(), err
}

// fitsStranger is errStranger for a step after which the record of a stranger is larger than such a one may be.
func (m *Messages) fitsStranger(r *record, e edit, next *record) error {
	large := len(next.present()) > maxStrangerParts || len(e.head) > maxStrangerPart
	for _, p := range e.put {
		large = large || len(p.Body) > maxStrangerPart
	}
	if !large {
		return nil
	}
	stranger, err := m.strangersRecord(r.base)
	if err == nil && stranger {
		err = errStranger
	}
	return err
}
