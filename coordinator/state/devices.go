package state

import (
	"bytes"
	"context"
	"errors"

	"coldframe/internal/fault"
)

// Link is one link of a user's signed device list. What it says is for those who can check the signature.
type Link struct {
	Sequence uint64
	Body     []byte
}

// AddLink appends to the caller's device list. Only the sequence is checked: one more than that of the last link. The same link again changes nothing;
// any other under a number that is taken, or after a gap, is fault.Conflict.
func (s *State) AddLink(ctx context.Context, user UserID, l Link) error {
	if len(l.Body) == 0 || len(l.Body) > MaxDeviceLink {
		return fault.New(fault.TooLarge, "a link has 1 to %d bytes", MaxDeviceLink)
	}
	if err := s.pace.take(user, int64(len(l.Body))); err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		c, q, err := t.quota(user)
		if err != nil {
			return err
		}
		own := key("link", string(user), number(l.Sequence))
		there, err := t.Get(own)
		switch {
		case err == nil && bytes.Equal(there, l.Body):
			return nil
		case err != nil && !errors.Is(err, fault.NotFound):
			return err
		case l.Sequence != c.Links+1:
			return fault.New(fault.Conflict, "the device list is at %d", c.Links)
		case l.Sequence > MaxLinks:
			return full(QuotaResource, "a device list has at most %d links", MaxLinks)
		}
		before := *c
		c.Links++
		c.Bytes += int64(len(l.Body))
		if err := c.checkStored(before, q); err != nil {
			return err
		}
		return errors.Join(t.Set(own, l.Body), t.emit(user, Event{Type: DevicesEvent, Number: l.Sequence}))
	})
}

// Links returns links of a user's device list after a number; at most limit and about MaxMailbox bytes. An unknown user is fault.NotFound.
func (s *State) Links(ctx context.Context, user UserID, after uint64, limit int) (list []Link, more bool, err error) {
	err = s.view(ctx, func(t *tx) error {
		if _, err := t.account(user); err != nil {
			return err
		}
		size := 0
		list = nil
		more, err = scan(t, key("link", string(user), ""), key("link", string(user), number(after)+"\x00"), limit, func(k string, v []byte) error {
			if size += len(v); size > MaxMailbox && len(list) > 0 {
				return errEnough
			}
			list = append(list, Link{sequenceOf(k), v})
			return nil
		})
		return err
	})
	return list, more, err
}
