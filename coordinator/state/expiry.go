package state

import (
	"context"
	"errors"
	"strings"
	"time"
)

// sweepBatch is how many records one transaction of a sweep removes.
const sweepBatch = 50

// expire notes that a record goes at a time.
func (t *tx) expire(at time.Time, record string) error { return t.Set(expiryKey(at, record), nil) }

// unexpire takes that back.
func (t *tx) unexpire(at time.Time, record string) error {
	if at.IsZero() {
		return nil
	}
	return t.Delete(expiryKey(at, record))
}

func expiryKey(at time.Time, record string) string {
	return key("expiry", number(uint64(max(0, at.Unix()))), record)
}

// Sweep removes what has expired, by the clock that does not follow a machine's clock that jumps, and what is left of users who were deleted. It
// returns how many records it looked at.
func (s *State) Sweep(ctx context.Context) (int, error) {
	n := 0
	if err := errors.Join(s.saveClock(ctx), s.eraseDeleted(ctx)); err != nil {
		return n, err
	}
	for from := ""; ; {
		due, err := s.due(ctx, from)
		switch {
		case err != nil || len(due) == 0 && from == "":
			return n, err
		case len(due) == 0: // once more from the beginning: a record that was swept may have another end, which is over, too
			from = ""
			continue
		}
		if err := s.urgent(ctx, func(t *tx) error { return t.sweep(due) }); err != nil {
			return n, err
		}
		n, from = n+len(due), due[len(due)-1]
	}
}

// due returns expiries that are over, from a key on: before it is what was swept, which a scan would pass over one by one.
func (s *State) due(ctx context.Context, from string) (due []string, err error) {
	err = s.view(ctx, func(t *tx) error {
		end := key("expiry", number(uint64(max(0, t.now.Unix()))))
		_, err := scan(t, key("expiry", ""), from, sweepBatch, func(k string, _ []byte) error {
			if k >= end {
				return errEnough
			}
			due = append(due, k)
			return nil
		})
		return err
	})
	return due, err
}

func (t *tx) sweep(due []string) error {
	for _, k := range due {
		if err := t.Delete(k); err != nil { // first: the record may be given another time
			return err
		}
		if err := t.sweepRecord(strings.SplitN(k, "/", 3)[2]); err != nil {
			return err
		}
	}
	return nil
}

// sweepRecord removes one record, unless it was given more time since.
func (t *tx) sweepRecord(record string) error {
	switch kind, rest, _ := strings.Cut(record, "/"); kind {
	case "session":
		r, there, err := loadOr[deviceRecord](t, record)
		if err != nil || !there || r.Ends.Unix() >= t.now.Unix() {
			return err
		}
	case "sentlog":
		return t.sweepSent(UserID(rest))
	case "mail":
		user, _, _ := strings.Cut(rest, "/")
		_, err := t.removeMail(UserID(user), record, "")
		return err
	}
	return t.Delete(record)
}
