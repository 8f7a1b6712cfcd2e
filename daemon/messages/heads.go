package messages

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

const (
	headPrefix = "messages/head/" // what peers said, by object and peer
	echoPrefix = "messages/echo/" // what peers echoed of our own
	toldPrefix = "messages/told/" // what we told
	forkPrefix = "messages/fork/"

	unansweredPrefix = "messages/unanswered/" // when we first told of an object that nobody has echoed since

	saidPrefix = "messages/said/"    // the newest that each peer said: what is echoed to them
	objPrefix  = "messages/objects/" // how many objects a peer spoke of

	maxHistory = 64   // versions of an object that are remembered, of each peer
	maxObjects = 1024 // that one peer may speak of
	staleAfter = 24 * time.Hour
)

// heard is a version of an object and when it was heard of, as it is stored.
type heard struct {
	_        struct{} `cbor:",toarray"`
	Sequence uint64
	Hash     []byte
	Time     int64 // unix seconds
}

// Fork is two versions of one object under one number. It stays one.
type Fork struct {
	Type, ID string
	Sequence uint64
	One      [hashSize]byte
	Other    [hashSize]byte
	Peer     string // who told of the other one
	Before   string // who told of the one; "": we did, or know it
	Time     time.Time
}

// wireFork is a fork as it is stored.
type wireFork struct {
	_        struct{} `cbor:",toarray"`
	Type, ID string
	Sequence uint64
	One      []byte
	Other    []byte
	Peer     string
	Before   string
	Time     int64
}

// Said is the newest that a peer said of an object.
type Said struct {
	Head
	Time time.Time // when it came
}

func objectKey(prefix string, h Head) string {
	return prefix + escaped(h.Type) + "/" + escaped(h.ID) + "/"
}

// escaped makes a name one element of a key.
func escaped(s string) string { return strings.ReplaceAll(s, "/", "_") }

// keepHeads writes down what a contact said and echoed, and returns the forks that this shows.
func (m *Messages) keepHeads(tx *kv.Tx, peer string, b *Body, now time.Time) (found []Fork, err error) {
	heads := slices.DeleteFunc(slices.Clone(b.Heads), func(h Head) bool { return !m.config.MaySpeak(peer, h.Type, h.ID) })
	for _, h := range heads {
		f, err := m.hear(tx, objectKey(headPrefix, h), peer, h, now)
		if err != nil {
			return nil, err
		}
		found = append(found, f...)
	}
	for _, h := range b.Echoes {
		if err := rememberOf(tx, peer, objectKey(echoPrefix, h)+peer, h, now); err != nil {
			return nil, err
		}
		if err := tx.Delete(objectKey(unansweredPrefix, h)); err != nil {
			return nil, err
		}
	}
	return found, keepSaid(tx, peer, heads, now)
}

// hear keeps one head of a peer and holds it against what all peers said of that object.
func (m *Messages) hear(tx *kv.Tx, object, peer string, h Head, now time.Time) (found []Fork, err error) {
	err = tx.Scan(object, func(key string, b []byte) error {
		list, err := readHeard(b)
		for _, o := range list {
			if o.Sequence == h.Sequence && [hashSize]byte(o.Hash) != h.Hash {
				found = append(found, Fork{h.Type, h.ID, h.Sequence, [hashSize]byte(o.Hash), h.Hash, peer, key[len(object):], now})
				break
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, f := range found[:min(1, len(found))] {
		if err := setFork(tx, f); err != nil {
			return nil, err
		}
	}
	return found[:min(1, len(found))], rememberOf(tx, peer, object+peer, h, now)
}

// rememberOf is remember for what a peer said, of so many objects and no more.
func rememberOf(tx *kv.Tx, peer, key string, h Head, now time.Time) error {
	if _, err := tx.Get(key); errors.Is(err, fault.NotFound) {
		if n, err := count(tx, objPrefix+peer, 0); err != nil || n >= maxObjects {
			return err
		}
		if _, err := count(tx, objPrefix+peer, 1); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return remember(tx, key, h, now)
}

// remember adds a version to a history, which is ascending and keeps the newest. Heard again it has the later time.
func remember(tx *kv.Tx, key string, h Head, now time.Time) error {
	var list []heard
	b, err := tx.Get(key)
	if err == nil {
		list, err = readHeard(b)
	}
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	same := func(o heard) bool { return o.Sequence == h.Sequence && [hashSize]byte(o.Hash) == h.Hash }
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i].Time = max(list[i].Time, now.Unix())
	} else {
		i, _ := slices.BinarySearchFunc(list, h.Sequence, func(o heard, n uint64) int { return cmp.Compare(o.Sequence, n) })
		list = slices.Insert(list, i, heard{Sequence: h.Sequence, Hash: h.Hash[:], Time: now.Unix()})
	}
	list = list[max(0, len(list)-maxHistory):]
	out, err := signed.Marshal(list)
	if err != nil {
		return err
	}
	return tx.Set(key, out)
}

func readHeard(b []byte) (list []heard, err error) {
	if err := signed.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	for _, h := range list {
		if len(h.Hash) != hashSize {
			return nil, fault.New(fault.NotAuthentic, "not a history of heads")
		}
	}
	return list, nil
}

func setFork(tx *kv.Tx, f Fork) error {
	key := objectKey(forkPrefix, Head{Type: f.Type, ID: f.ID})
	if _, err := tx.Get(key); !errors.Is(err, fault.NotFound) {
		return err // the first one stays
	}
	b, err := f.encode()
	return errors.Join(err, tx.Set(key, b))
}

// Forks returns all objects of which two versions had one number.
func (m *Messages) Forks() (list []Fork, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		list = nil
		return tx.Scan(forkPrefix, func(_ string, b []byte) error {
			f, err := parseFork(b)
			if err == nil {
				list = append(list, *f)
			}
			return err
		})
	})
	return list, err
}

// readFork returns the fork of an object; nil: it has none.
func readFork(tx *kv.Tx, h Head) (*Fork, error) {
	b, err := tx.Get(objectKey(forkPrefix, h))
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseFork(b)
}

func parseFork(b []byte) (*Fork, error) {
	var w wireFork
	if err := signed.Unmarshal(b, &w); err != nil {
		return nil, err
	}
	if len(w.One) != hashSize || len(w.Other) != hashSize {
		return nil, fault.New(fault.NotAuthentic, "not the record of a fork")
	}
	return &Fork{w.Type, w.ID, w.Sequence, [hashSize]byte(w.One), [hashSize]byte(w.Other), w.Peer, w.Before, time.Unix(w.Time, 0).UTC()}, nil
}
