package messages

import (
	"errors"
	"slices"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

// claimPrefix begins the records of peers who echoed another version of our own object than the one that we have, by object and peer.
const claimPrefix = "messages/claim/"

// Finding is what the echoes of one peer say of an object of our own.
type Finding struct {
	Type, ID string
	Code     fault.Code // fault.Forked, fault.RolledBack or fault.Stale
	Peer     string     // whose echo it was; "" for fault.Stale
	Sequence uint64     // that was echoed
	Hash     [32]byte   // of that version, for fault.Forked
}

// CheckOwn holds objects of our own, as they are here now, against what contacts echoed of them (THREATS R5): rolled_back, if somebody was
// told a higher version; forked, if another one was told under a number that is known here; stale, if we told of an object more than 24
// hours ago and nobody echoed any version of it since, however often we told of it again. An object that other devices change is brought up
// to date before it is called rolled_back.
//
// An echo is one contact's claim: each finding names whose it is. A fork stays until a person says ClearFork, or the peer is no contact any
// more; an echo that agrees does not end it, as it may come from another device of theirs, which was told something else.
func (m *Messages) CheckOwn(own []Head) (found []Finding, err error) {
	others, err := m.noContacts(own)
	if err != nil {
		return nil, err
	}
	err = m.config.DB.Update(func(tx *kv.Tx) error {
		found = nil
		for _, h := range own {
			f, err := m.checkOne(tx, h, others)
			if err != nil {
				return err
			}
			found = append(found, f...)
		}
		return nil
	})
	return found, err
}

// noContacts returns the peers of whom there are echoes of these objects and who are no contacts, or not any more.
func (m *Messages) noContacts(own []Head) (others map[string]bool, err error) {
	others = map[string]bool{}
	err = m.config.DB.View(func(tx *kv.Tx) error {
		for _, h := range own {
			for _, prefix := range []string{objectKey(echoPrefix, h), objectKey(claimPrefix, h)} {
				if err := tx.Keys(prefix, func(key string) error { others[lastOf(key)] = true; return nil }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for peer := range others {
		standing, also := m.config.Standing(peer)
		if err = errors.Join(err, also); standing == StandingContact {
			delete(others, peer)
		}
	}
	return others, err
}

// lastOf returns the last element of a key.
func lastOf(key string) string { return key[strings.LastIndex(key, "/")+1:] }

func (m *Messages) checkOne(tx *kv.Tx, own Head, others map[string]bool) (found []Finding, err error) {
	known, err := m.told(tx, own)
	if err != nil {
		return nil, err
	}
	for peer := range others {
		if err := m.forgetWord(tx, own, peer); err != nil {
			return nil, err
		}
	}
	prefix := objectKey(echoPrefix, own)
	var claims []Fork
	err = tx.Scan(prefix, func(key string, b []byte) error {
		list, err := readHeard(b)
		f, claim := judgeEchoes(own, known, key[len(prefix):], list)
		found = append(found, f...)
		if claim != nil {
			claim.Time = m.config.Now()
			claims = append(claims, *claim)
		}
		return err
	})
	for _, claim := range claims {
		err = errors.Join(err, setClaim(tx, claim))
	}
	forks, also := claimsOf(tx, own)
	if err = errors.Join(err, also); err != nil {
		return nil, err
	}
	stale, err := m.findStale(tx, own)
	return slices.Concat(found, forks, stale), err
}

// judgeEchoes returns what one peer's echoes show of an object, and the version that contradicts one that is known here, nil if none does.
func judgeEchoes(own Head, known map[uint64][hashSize]byte, peer string, list []heard) (found []Finding, claim *Fork) {
	highest := uint64(0)
	for _, e := range list {
		if hash, there := known[e.Sequence]; there && hash != [hashSize]byte(e.Hash) {
			if claim == nil {
				claim = &Fork{Type: own.Type, ID: own.ID, Sequence: e.Sequence, One: hash, Other: [hashSize]byte(e.Hash), Peer: peer}
			}
		} else if e.Sequence > own.Sequence {
			highest = max(highest, e.Sequence)
		}
	}
	if highest > 0 {
		found = append(found, Finding{Type: own.Type, ID: own.ID, Code: fault.RolledBack, Peer: peer, Sequence: highest})
	}
	return found, claim
}

func (m *Messages) findStale(tx *kv.Tx, own Head) ([]Finding, error) {
	since, err := unanswered(tx, own)
	if err != nil || since.IsZero() || m.config.Now().Sub(since) <= staleAfter {
		return nil, err
	}
	return []Finding{{Type: own.Type, ID: own.ID, Code: fault.Stale, Sequence: own.Sequence}}, nil
}

// setClaim writes down the first version of a peer's that contradicts one of ours.
func setClaim(tx *kv.Tx, f Fork) error {
	key := objectKey(claimPrefix, Head{Type: f.Type, ID: f.ID}) + f.Peer
	if _, err := tx.Get(key); !errors.Is(err, fault.NotFound) {
		return err
	}
	b, err := f.encode()
	return errors.Join(err, tx.Set(key, b))
}

func claimsOf(tx *kv.Tx, own Head) (found []Finding, err error) {
	err = tx.Scan(objectKey(claimPrefix, own), func(_ string, b []byte) error {
		f, err := parseFork(b)
		if err == nil {
			found = append(found, Finding{own.Type, own.ID, fault.Forked, f.Peer, f.Sequence, f.Other})
		}
		return err
	})
	return found, err
}

func (f *Fork) encode() ([]byte, error) {
	return signed.Marshal(wireFork{
		Type: f.Type, ID: f.ID, Sequence: f.Sequence, One: f.One[:], Other: f.Other[:], Peer: f.Peer, Before: f.Before, Time: f.Time.Unix(),
	})
}

// ClearFork forgets that an object is forked, and what a peer said of it, on the word of a person who has looked; a peer of "" stands for
// everybody. What is still told of is found again. fault.NotFound: there is nothing to forget.
func (m *Messages) ClearFork(typ, id, peer string) error {
	h := Head{Type: typ, ID: id}
	return m.config.DB.Update(func(tx *kv.Tx) error {
		fork, err := readFork(tx, h)
		if err != nil {
			return err
		}
		n, err := m.clearWords(tx, h, peer)
		if fork != nil && (peer == "" || fork.Peer == peer || fork.Before == peer) {
			n++
			err = errors.Join(err, tx.Delete(objectKey(forkPrefix, h)))
		}
		if err == nil && n == 0 {
			err = fault.New(fault.NotFound, "nobody said anything of this that is not so")
		}
		return err
	})
}

// clearWords forgets what a peer said of an object, or everybody, and returns of how many records that was.
func (m *Messages) clearWords(tx *kv.Tx, h Head, peer string) (n int, err error) {
	peers := map[string]bool{}
	for _, prefix := range []string{headPrefix, echoPrefix, claimPrefix} {
		if err := tx.Keys(objectKey(prefix, h), func(key string) error {
			if last := lastOf(key); peer == "" || last == peer {
				peers[last] = true
				n++
			}
			return nil
		}); err != nil {
			return n, err
		}
	}
	for p := range peers {
		if err := m.forgetWord(tx, h, p); err != nil {
			return n, err
		}
	}
	return n, nil
}

// forgetWord forgets what a peer said and echoed of an object, which counts among the objects of theirs no more.
func (m *Messages) forgetWord(tx *kv.Tx, h Head, peer string) error {
	for _, prefix := range []string{headPrefix, echoPrefix} {
		key := objectKey(prefix, h) + peer
		if _, err := tx.Get(key); errors.Is(err, fault.NotFound) {
			continue
		} else if err != nil {
			return err
		}
		if _, err := count(tx, objPrefix+peer, -1); err != nil {
			return err
		}
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	return tx.Delete(objectKey(claimPrefix, h) + peer)
}

// Faults returns what was found wrong with records, by peer, "" for the prekeys. Each stays until a person gives the record up (Restart).
func (m *Messages) Faults() (list map[string]fault.Code, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		list = map[string]fault.Code{}
		return tx.Scan(faultPrefix, func(key string, code []byte) error {
			base := strings.TrimPrefix(key, faultPrefix)
			_, err := tx.Get(startPrefix + base)
			if errors.Is(err, fault.NotFound) {
				list[peerOf(base)], err = fault.Code(code), nil
			}
			return err
		})
	})
	return list, err
}
