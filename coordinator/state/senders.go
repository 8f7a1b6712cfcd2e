package state

import (
	"context"
	"reflect"
	"slices"

	"coldframe/internal/fault"
)

// MaxSenders is how many users each list of Senders names at most.
const MaxSenders = 1_000

const idCost = 40 // bytes of a user's id in a record

// Senders says whose messages a user takes. Those of others are answered as if they were taken, and dropped: nobody learns from an answer that somebody
// does not want to hear from them, but whoever sends more than a share of the mailbox holds is never told that it is full.
type Senders struct {
	Sequence    uint64   `cbor:"1,keyasint"` // one more with each change; 0: none was made
	OnlyAllowed bool     `cbor:"2,keyasint,omitempty"`
	Allowed     []UserID `cbor:"3,keyasint,omitempty"`
	Blocked     []UserID `cbor:"4,keyasint,omitempty"`
}

// SetSenders changes the rules. A sequence that is not one more than that of those before is fault.Conflict, unless it is the last change made again. Whoever writes
// too much gets a WaitError.
func (s *State) SetSenders(ctx context.Context, user UserID, r Senders) error {
	if len(r.Allowed) > MaxSenders || len(r.Blocked) > MaxSenders {
		return fault.New(fault.TooLarge, "a list names at most %d users", MaxSenders)
	}
	if err := s.pace.take(user, swapCost+idCost*int64(len(r.Allowed)+len(r.Blocked))); err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		before, err := t.senders(user)
		if err != nil {
			return err
		}
		switch r.Sequence {
		case before.Sequence + 1:
			return save(t, key("senders", string(user)), r)
		case before.Sequence:
			if reflect.DeepEqual(r.normal(), before.normal()) {
				return nil
			}
		}
		return fault.New(fault.Conflict, "the rules are at %d", before.Sequence)
	})
}

// normal makes an absent list an empty one.
func (r Senders) normal() Senders {
	r.Allowed, r.Blocked = append([]UserID{}, r.Allowed...), append([]UserID{}, r.Blocked...)
	return r
}

// Senders returns the rules of a user.
func (s *State) Senders(ctx context.Context, user UserID) (r Senders, err error) {
	err = s.view(ctx, func(t *tx) error {
		r, err = t.senders(user)
		return err
	})
	return r.normal(), err
}

func (t *tx) senders(user UserID) (Senders, error) {
	r, _, err := loadOr[Senders](t, key("senders", string(user)))
	return r, err
}

// takes reports whether a user takes messages of a sender.
func (t *tx) takes(user, sender UserID) (bool, error) {
	r, err := t.senders(user)
	return err == nil && !slices.Contains(r.Blocked, sender) && (!r.OnlyAllowed || slices.Contains(r.Allowed, sender)), err
}
