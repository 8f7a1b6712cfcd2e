package messages

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

// wireSaid is what a peer said last of an object, as it is stored.
type wireSaid struct {
	_    struct{} `cbor:",toarray"`
	Head wireHead
	Time int64
}

// keepSaid keeps the newest of each object, those that were heard of last.
func keepSaid(tx *kv.Tx, peer string, heads []Head, now time.Time) error {
	if len(heads) == 0 {
		return nil
	}
	list, err := readSaid(tx, peer)
	if err != nil {
		return err
	}
	for _, h := range heads {
		i := slices.IndexFunc(list, func(s Said) bool { return s.Type == h.Type && s.ID == h.ID })
		if i >= 0 {
			if list[i].Sequence > h.Sequence { // messages may overtake one another
				h = list[i].Head
			}
			list = slices.Delete(list, i, i+1)
		}
		list = slices.Insert(list, 0, Said{h, now})
	}
	wire := []wireSaid{}
	for _, s := range list[:min(len(list), MaxHeads)] {
		wire = append(wire, wireSaid{Head: wireHeads([]Head{s.Head})[0], Time: s.Time.Unix()})
	}
	b, err := signed.Marshal(wire)
	return errors.Join(err, tx.Set(saidPrefix+peer, b))
}

func readSaid(tx *kv.Tx, peer string) (list []Said, err error) {
	b, err := tx.Get(saidPrefix + peer)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var wire []wireSaid
	if err := signed.Unmarshal(b, &wire); err != nil {
		return nil, err
	}
	for _, w := range wire {
		h, ok := headsOf([]wireHead{w.Head})
		if !ok {
			return nil, fault.New(fault.NotAuthentic, "not a list of heads")
		}
		list = append(list, Said{h[0], time.Unix(w.Time, 0).UTC()})
	}
	return list, nil
}

// echoes returns what is echoed to a peer: what it said itself. Of an object that is forked it is both versions, so that whichever device
// of the peer gets the message sees the one that it has not.
func (m *Messages) echoes(peer string) (list []Head, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		said, err := readSaid(tx, peer)
		list = nil
		for _, s := range said {
			fork, also := readFork(tx, s.Head)
			if err = errors.Join(err, also); err == nil && fork != nil {
				list = append(list, Head{s.Type, s.ID, fork.Sequence, fork.One}, Head{s.Type, s.ID, fork.Sequence, fork.Other})
			}
			list = append(list, s.Head)
		}
		list = list[:min(len(list), MaxHeads)]
		return err
	})
	return list, err
}

// someHeads returns the heads that the next message for a peer tells: all, or as many as fit, in turn.
func (m *Messages) someHeads(peer string, all []Head) []Head {
	if len(all) <= MaxHeads {
		return all
	}
	from, there := m.turns[peer]
	if !there { // nobody is left out by an agent that is restarted again and again
		from = rand.IntN(len(all)) //nolint:gosec // no secret
	}
	m.turns[peer] = from + MaxHeads
	some := make([]Head, MaxHeads)
	for i := range some {
		some[i] = all[(from+i)%len(all)]
	}
	return some
}

// announced writes down what a message tells of our own heads.
func (m *Messages) announced(tx *kv.Tx, heads []Head) error {
	for _, h := range heads {
		if err := remember(tx, objectKey(toldPrefix, h), h, m.config.Now()); err != nil {
			return err
		}
		since, err := unanswered(tx, h)
		if now := m.config.Now(); err == nil && (since.IsZero() || since.After(now)) { // later than now: the clock was wrong
			err = tx.Set(objectKey(unansweredPrefix, h), binary.BigEndian.AppendUint64(nil, uint64(now.Unix())))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unanswered returns when an object of our own was first told of since anybody echoed it, zero if nothing was.
func unanswered(tx *kv.Tx, h Head) (time.Time, error) {
	b, err := tx.Get(objectKey(unansweredPrefix, h))
	if errors.Is(err, fault.NotFound) || err == nil && len(b) != 8 {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0), nil
}

// told returns the versions of an object of our own that are known here.
func (m *Messages) told(tx *kv.Tx, own Head) (known map[uint64][hashSize]byte, err error) {
	known = map[uint64][hashSize]byte{}
	b, err := tx.Get(objectKey(toldPrefix, own))
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	if err == nil {
		list, err := readHeard(b)
		if err != nil {
			return nil, err
		}
		for _, h := range list {
			known[h.Sequence] = [hashSize]byte(h.Hash)
		}
	}
	known[own.Sequence] = own.Hash
	return known, nil
}
