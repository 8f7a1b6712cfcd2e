package state

import (
	"context"
	"errors"
	"strings"
	"time"

	"coldframe/internal/fault"
)

const (
	eraseBatch     = 100              // records that one transaction of an erasure removes
	eraseBatchSize = 8 << 20          // bytes of those
	eraseAgain     = 10 * time.Minute // after this a second round finds what requests wrote that were in work
)

// A record gone/USER stays for ever and says that there was such a user; erase/USER says that its records are still to be removed, and since when.
type erasure struct {
	Time time.Time `cbor:"1,keyasint"`
}

// Delete removes the caller's account and all that is stored for it: blobs, mail, prekeys, device list, sessions. The id is never given to anybody again; the
// address is free. What the user sent to others is theirs. A wrong proof is fault.Forbidden. The account is gone when this returns; whether it is after
// fault.Unavailable or fault.StorageFull, the next login tells, and any other failure leaves it. What is left of the records of one that is gone goes with a
// Sweep.
func (s *State) Delete(ctx context.Context, c Caller, proof []byte) error {
	a, err := s.prove(ctx, c.User, Login{Proof: proof})
	if err != nil {
		return err
	}
	err = s.urgent(ctx, func(t *tx) error {
		now, err := t.unchanged(c.User, a)
		if err != nil {
			return err
		}
		return errors.Join(
			t.endSessions(c.User, allSessions), t.Delete(emailKey(now.Email)), t.Delete(key("account", string(c.User))),
			t.Set(key("gone", string(c.User)), nil), save(t, key("erase", string(c.User)), erasure{t.now}),
		)
	})
	if err != nil {
		return err
	}
	return s.erase(ctx, c.User)
}

// wasDeleted returns fault.Conflict if there was a user with this id.
func (t *tx) wasDeleted(user UserID) error {
	_, err := t.Get(key("gone", string(user)))
	switch {
	case errors.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	}
	return fault.New(fault.Conflict, "the id had an account")
}

// erase removes all records of a user who has no account any more.
func (s *State) erase(ctx context.Context, user UserID) error {
	kinds := []string{"blob", "body", "change", "deleted", "mail", "waiting", "link", "onetime", "fetch", "sent", "sentlog", "event", "session"}
	for _, kind := range kinds {
		if err := s.eraseBelow(ctx, key(kind, string(user), "")); err != nil {
			return err
		}
	}
	return s.urgent(ctx, func(t *tx) error {
		return errors.Join(
			t.Delete(key("prekeys", string(user))), t.Delete(key("senders", string(user))), t.Delete(key("counters", string(user))),
		)
	})
}

// eraseBelow removes all records below a prefix, in transactions of some.
func (s *State) eraseBelow(ctx context.Context, prefix string) error {
	from := ""
	for more := true; more; {
		last := from
		err := s.urgent(ctx, func(t *tx) (err error) {
			last, more, err = t.deleteSome(prefix, from)
			return err
		})
		if err != nil {
			return err
		}
		from = last
	}
	return nil
}

// deleteSome removes records below a prefix, from a key on, and reports where it ended, and whether there are more.
func (t *tx) deleteSome(prefix, from string) (last string, more bool, err error) {
	var keys []string
	size := 0
	more, err = scan(t, prefix, from, eraseBatch, func(k string, v []byte) error {
		if size += len(v); size > eraseBatchSize && len(keys) > 0 {
			return errEnough
		}
		keys = append(keys, k)
		return nil
	})
	for _, k := range keys {
		last, err = k, errors.Join(err, t.Delete(k))
	}
	return last, more, err
}

// eraseDeleted erases, once more, what a crash or requests in work left of users who were deleted a while ago.
func (s *State) eraseDeleted(ctx context.Context) error {
	var due []string
	err := s.view(ctx, func(t *tx) error {
		due = nil
		return t.ScanFrom(key("erase", ""), "", func(k string, v []byte) error {
			var e erasure
			err := decode(v, &e)
			if t.now.Sub(e.Time) >= eraseAgain {
				due = append(due, k)
			}
			return err
		})
	})
	for _, k := range due {
		if err == nil {
			err = s.erase(ctx, UserID(strings.TrimPrefix(k, key("erase", ""))))
		}
		if err == nil {
			err = s.urgent(ctx, func(t *tx) error { return t.Delete(k) })
		}
	}
	return err
}
