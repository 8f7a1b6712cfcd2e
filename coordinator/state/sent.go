package state

import (
	"errors"
	"time"
)

type (
	// sentMessage remembers that a sender used an id.
	sentMessage struct {
		Receiver UserID `cbor:"1,keyasint"`
		Sequence uint64 `cbor:"2,keyasint"`
		Hash     []byte `cbor:"3,keyasint"`
	}
	// sentID is an entry of a sender's log, by which the oldest of their messages are forgotten.
	sentID struct {
		ID   string    `cbor:"1,keyasint"`
		Ends time.Time `cbor:"2,keyasint"`
	}
)

// remember notes that a sender used an id. Of more than Limits.Sent the oldest is forgotten; the log has one expiry, that of its oldest entry.
func (t *tx) remember(from UserID, id string, m sentMessage) error {
	c, err := t.of(from)
	if err != nil {
		return err
	}
	entry := sentID{id, t.now.Add(t.s.o.Limits.MailTTL)}
	if c.Sent >= int64(t.s.o.Limits.Sent) {
		if err := t.forgetSent(from, 1, func(sentID) bool { return true }); err != nil {
			return err
		}
	} else if c.Sent == 0 {
		if err := t.expire(entry.Ends, key("sentlog", string(from))); err != nil {
			return err
		}
	}
	c.Sent++
	c.SentLast++
	return errors.Join(save(t, key("sent", string(from), id), m), save(t, key("sentlog", string(from), number(c.SentLast)), entry))
}

// sweepSent forgets what a user sent too long ago, and gives the log the time of what is the oldest then.
func (t *tx) sweepSent(user UserID) error {
	err := t.forgetSent(user, sweepBatch, func(e sentID) bool { return e.Ends.Unix() < t.now.Unix() })
	if err != nil {
		return err
	}
	oldest, there, err := t.oldestSent(user, 1)
	if err != nil || !there {
		return err
	}
	return t.expire(oldest[0].entry.Ends, key("sentlog", string(user)))
}

type loggedSent struct {
	key   string
	entry sentID
}

// oldestSent begins where the oldest entry is, by their count: before it is what was removed, which a scan would pass over one by one.
func (t *tx) oldestSent(user UserID, n int) (list []loggedSent, there bool, err error) {
	c, err := t.of(user)
	if err != nil || c.Sent <= 0 {
		return nil, false, err
	}
	first := key("sentlog", string(user), number(c.SentLast-uint64(c.Sent)+1))
	_, err = scan(t, key("sentlog", string(user), ""), first, n, func(k string, v []byte) error {
		list = append(list, loggedSent{key: k})
		return decode(v, &list[len(list)-1].entry)
	})
	return list, len(list) > 0, err
}

// forgetSent removes up to n of the oldest entries of a log, as long as they are to go.
func (t *tx) forgetSent(user UserID, n int, gone func(sentID) bool) error {
	list, there, err := t.oldestSent(user, n)
	if err != nil || !there {
		return err
	}
	c, err := t.of(user)
	if err != nil {
		return err
	}
	for _, l := range list {
		if !gone(l.entry) {
			return nil
		}
		c.Sent--
		if err := errors.Join(t.Delete(l.key), t.Delete(key("sent", string(user), l.entry.ID))); err != nil {
			return err
		}
	}
	return nil
}
