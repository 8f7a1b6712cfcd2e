package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"coldframe/internal/fault"
)

// fetchTTL is how long the answer to a fetch of prekeys is kept for the same request.
const fetchTTL = time.Hour

// Upload is what a user offers to those who begin a session.
type Upload struct {
	Sequence uint64   // rises with each upload
	Replace  bool     // the one-time prekeys that are there go
	Bundle   []byte   // identity, signed prekey, last-resort KEM prekey; opaque
	OneTime  [][]byte // each good for one session; opaque
}

// preKeys is what is there of a user. One-time prekeys are numbered, and go out in the order of their numbers.
type preKeys struct {
	Sequence uint64 `cbor:"1,keyasint"`
	Hash     []byte `cbor:"2,keyasint"` // of the last upload
	Bundle   []byte `cbor:"3,keyasint"`
	Last     uint64 `cbor:"4,keyasint"` // number of the newest one-time prekey
	First    uint64 `cbor:"6,keyasint"` // that of the oldest; Last + 1 if none is there
	Epoch    string `cbor:"7,keyasint"` // in which they were uploaded: a restore leaves them out
}

// left is how many one-time prekeys there are.
func (p *preKeys) left(epoch string) int {
	if p.Epoch != epoch || p.First > p.Last {
		return 0
	}
	return int(min(p.Last-p.First+1, MaxOneTimes))
}

func oneTimeKey(user UserID, n uint64) string { return key("onetime", string(user), number(n)) }

// recordCost is what a small record takes beside its bytes.
const recordCost = 256

// hash tells uploads apart.
func (u Upload) hash() []byte {
	h := sha256.New()
	for _, part := range append([][]byte{{boolByte(u.Replace)}, u.Bundle}, u.OneTime...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return h.Sum(nil)
}

// size is what an upload writes, in bytes.
func (u Upload) size() int64 {
	n := len(u.Bundle) + recordCost*(1+len(u.OneTime))
	for _, k := range u.OneTime {
		n += len(k)
	}
	return int64(n)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (u Upload) check() error {
	if len(u.Bundle) == 0 || len(u.Bundle) > MaxBundle || len(u.OneTime) > MaxOneTimes {
		return fault.New(fault.TooLarge, "a bundle has 1 to %d bytes, and comes with at most %d one-time prekeys", MaxBundle, MaxOneTimes)
	}
	for _, k := range u.OneTime {
		if len(k) == 0 || len(k) > MaxOneTime {
			return fault.New(fault.TooLarge, "a one-time prekey has 1 to %d bytes", MaxOneTime)
		}
	}
	return nil
}

// PutPreKeys offers prekeys and returns how many one-time ones are there. The upload of the present sequence made again changes nothing; any other whose
// sequence is not higher is fault.Conflict.
func (s *State) PutPreKeys(ctx context.Context, user UserID, u Upload) (count int, err error) {
	if err := u.check(); err != nil {
		return 0, err
	}
	if err := s.pace.take(user, u.size()); err != nil {
		return 0, err
	}
	hash := u.hash()
	err = s.update(ctx, func(t *tx) error {
		own := key("prekeys", string(user))
		p, there, err := loadOr[preKeys](t, own)
		if err != nil {
			return err
		}
		count = p.left(s.epoch)
		if there && p.Sequence == u.Sequence && bytes.Equal(p.Hash, hash) {
			return nil
		}
		if u.Sequence <= p.Sequence {
			return fault.New(fault.Conflict, "the prekeys are at %d", p.Sequence)
		}
		if err := t.addOneTime(user, &p, u); err != nil {
			return err
		}
		p.Sequence, p.Hash, p.Bundle, count = u.Sequence, hash, u.Bundle, p.left(s.epoch)
		return save(t, own, p)
	})
	return count, err
}

// addOneTime adds the one-time prekeys of an upload to those that are there, or puts them in their place.
func (t *tx) addOneTime(user UserID, p *preKeys, u Upload) error {
	if u.Replace {
		if err := t.dropOneTime(user, p); err != nil {
			return err
		}
	}
	there := p.left(t.s.epoch)
	if there == 0 {
		p.First, p.Epoch = p.Last+1, t.s.epoch
	}
	if there+len(u.OneTime) > MaxOneTimes {
		return full(QuotaResource, "at most %d one-time prekeys are kept", MaxOneTimes)
	}
	for _, k := range u.OneTime {
		p.Last++
		if err := t.Set(oneTimeKey(user, p.Last), k); err != nil {
			return err
		}
	}
	return nil
}

// dropOneTime removes the one-time prekeys that are there.
func (t *tx) dropOneTime(user UserID, p *preKeys) error {
	for range p.left(t.s.epoch) {
		if err := t.Delete(oneTimeKey(user, p.First)); err != nil {
			return err
		}
		p.First++
	}
	return nil
}

// WithdrawPreKeys removes all that the caller's account offers, whatever somebody with a stolen token uploaded and under whatever sequence: the next upload may
// have any. A wrong proof is fault.Forbidden.
func (s *State) WithdrawPreKeys(ctx context.Context, c Caller, proof []byte) error {
	a, err := s.prove(ctx, c.User, Login{Proof: proof})
	if err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		if _, err := t.unchanged(c.User, a); err != nil {
			return err
		}
		own := key("prekeys", string(c.User))
		p, there, err := loadOr[preKeys](t, own)
		if err != nil || !there {
			return err
		}
		return errors.Join(t.dropOneTime(c.User, &p), t.Delete(own))
	})
}

// PreKeys is what somebody gets who begins a session.
type PreKeys struct {
	Sequence uint64 `cbor:"1,keyasint"`
	Bundle   []byte `cbor:"2,keyasint"`
	OneTime  []byte `cbor:"3,keyasint,omitempty"` // empty: all are used up
}

// fetch remembers the answer to a request.
type fetch struct {
	Target UserID  `cbor:"1,keyasint"`
	Answer PreKeys `cbor:"2,keyasint"`
}

// FetchPreKeys returns a user's bundle and takes away one one-time prekey. The same caller's same request gets the same answer for an hour; with another
// target it is fault.Conflict. A user without prekeys is fault.NotFound.
func (s *State) FetchPreKeys(ctx context.Context, caller, target UserID, request string) (p PreKeys, err error) {
	err = s.update(ctx, func(t *tx) error {
		own := key("fetch", string(caller), request)
		f, there, err := loadOr[fetch](t, own)
		if err != nil {
			return err
		}
		if there {
			if p = f.Answer; f.Target != target {
				return fault.New(fault.Conflict, "the request's id was used for another user")
			}
			return nil
		}
		if p, err = t.popPreKeys(caller, target); err != nil {
			return err
		}
		return errors.Join(save(t, own, fetch{target, p}), t.expire(t.now.Add(fetchTTL), own))
	})
	if errors.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "there is no such user, or it has no prekeys")
	}
	return p, err
}

func (t *tx) popPreKeys(caller, user UserID) (PreKeys, error) {
	if _, err := t.account(user); err != nil {
		return PreKeys{}, err
	}
	p, err := load[preKeys](t, key("prekeys", string(user)))
	if err != nil {
		return PreKeys{}, err
	}
	answer := PreKeys{Sequence: p.Sequence, Bundle: p.Bundle}
	if taken, err := t.takes(user, caller); err != nil || !taken {
		return answer, err
	}
	left := p.left(t.s.epoch)
	if left == 0 {
		return answer, nil
	}
	k := oneTimeKey(user, p.First)
	if answer.OneTime, err = t.Get(k); err != nil {
		return answer, err
	}
	p.First++
	if left--; left == LowOneTimes-1 || left == 0 {
		if err := t.emit(user, Event{Type: PreKeysEvent, Number: uint64(left)}); err != nil {
			return answer, err
		}
	}
	return answer, errors.Join(t.Delete(k), save(t, key("prekeys", string(user)), p))
}

// PreKeyStatus is what there is of a user's prekeys.
type PreKeyStatus struct {
	Sequence   uint64 // of the last upload; 0 if there was none
	OneTime    int    // one-time prekeys that are left
	BundleHash []byte // SHA-256; empty if there is none
}

// PreKeyStatus returns what a user's agents compare with what they offered.
func (s *State) PreKeyStatus(ctx context.Context, user UserID) (st PreKeyStatus, err error) {
	err = s.view(ctx, func(t *tx) error {
		p, there, err := loadOr[preKeys](t, key("prekeys", string(user)))
		if err != nil {
			return err
		}
		st = PreKeyStatus{Sequence: p.Sequence, OneTime: p.left(s.epoch)}
		if there {
			h := sha256.Sum256(p.Bundle)
			st.BundleHash = h[:]
		}
		return nil
	})
	return st, err
}
