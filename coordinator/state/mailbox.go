package state

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"time"

	"coldframe/internal/fault"
)

// Message is one in a mailbox. Sequence numbers of a mailbox only rise.
type Message struct {
	Sequence uint64    `cbor:"-"`
	ID       string    `cbor:"1,keyasint"` // chosen by the sender, and unique only with it
	Sender   UserID    `cbor:"2,keyasint"`
	Time     time.Time `cbor:"3,keyasint"` // of the coordinator's clock
	Body     []byte    `cbor:"4,keyasint"`
}

// sentMessage remembers that a sender used an id.
type sentMessage struct {
	Receiver UserID `cbor:"1,keyasint"`
	Sequence uint64 `cbor:"2,keyasint"`
	Hash     []byte `cbor:"3,keyasint"`
}

// Send puts a message into a mailbox and returns its number. Sent again with the same id, receiver and body, it is not put there again, not even after
// it was acknowledged; with others it is fault.Conflict. An unknown receiver is fault.NotFound, a full mailbox fault.StorageFull.
func (s *State) Send(ctx context.Context, from, to UserID, id string, body []byte) (sequence uint64, err error) {
	if len(body) == 0 || len(body) > MaxMessage {
		return 0, fault.New(fault.TooLarge, "a message has 1 to %d bytes", MaxMessage)
	}
	hash := sha256.Sum256(body)
	err = s.update(ctx, func(t *tx) error {
		own := key("sent", string(from), id)
		before, there, err := loadOr[sentMessage](t, own)
		if err != nil {
			return err
		}
		if there {
			sequence = before.Sequence
			if before.Receiver != to || subtle.ConstantTimeCompare(before.Hash, hash[:]) != 1 {
				return fault.New(fault.Conflict, "the id was used for another message")
			}
			return nil
		}
		if sequence, err = t.deliver(to, Message{ID: id, Sender: from, Time: t.now, Body: body}); err != nil {
			return err
		}
		return errors.Join(save(t, own, sentMessage{to, sequence, hash[:]}), t.expire(t.now.Add(s.o.Limits.MailTTL), own))
	})
	return sequence, err
}

func (t *tx) deliver(to UserID, m Message) (uint64, error) {
	c, q, err := t.quota(to)
	if err != nil {
		return 0, err
	}
	waiting := key("waiting", string(to), string(m.Sender))
	n, _, err := loadOr[int](t, waiting)
	if err != nil {
		return 0, err
	}
	if c.Mail >= q.Mail || c.MailBytes+int64(len(m.Body)) > q.MailBytes || n >= t.s.o.Limits.MailPerSender {
		return 0, fault.New(fault.StorageFull, "the receiver's mailbox is full")
	}
	c.Mail++
	c.MailBytes += int64(len(m.Body))
	c.MailLast++
	own := key("mail", string(to), number(c.MailLast))
	return c.MailLast, errors.Join(
		save(t, waiting, n+1), save(t, own, m), t.expire(t.now.Add(t.s.o.Limits.MailTTL), own),
		t.emit(to, Event{Type: MessageEvent, Number: c.MailLast}),
	)
}

// Inbox returns the messages of a mailbox in order, after a number; at most limit and about MaxMailbox bytes.
func (s *State) Inbox(ctx context.Context, user UserID, after uint64, limit int) (list []Message, more bool, err error) {
	err = s.view(ctx, func(t *tx) error {
		size := 0
		list = nil
		more, err = scan(t, key("mail", string(user), ""), key("mail", string(user), number(after)+"\x00"), limit, func(k string, v []byte) error {
			if size += len(v); size > MaxMailbox && len(list) > 0 {
				return errEnough
			}
			list = append(list, Message{Sequence: sequenceOf(k)})
			return decode(v, &list[len(list)-1])
		})
		return err
	})
	return list, more, err
}

// Acknowledgement names a message that its receiver has committed. The id keeps one that was meant for a mailbox from before a restore from
// removing another message.
type Acknowledgement struct {
	Sequence uint64
	ID       string
}

// Acknowledge removes messages and returns how many were there.
func (s *State) Acknowledge(ctx context.Context, user UserID, list []Acknowledgement) (removed int, err error) {
	err = s.update(ctx, func(t *tx) error {
		removed = 0
		for _, a := range list {
			ok, err := t.removeMail(user, key("mail", string(user), number(a.Sequence)), a.ID)
			if err != nil {
				return err
			}
			if ok {
				removed++
			}
		}
		return nil
	})
	return removed, err
}

// removeMail removes one message if it is there and, with an id, if it is that one.
func (t *tx) removeMail(user UserID, record, id string) (bool, error) {
	m, there, err := loadOr[Message](t, record)
	if err != nil || !there || id != "" && m.ID != id {
		return false, err
	}
	c, err := t.of(user)
	if err != nil {
		return false, err
	}
	c.Mail--
	c.MailBytes -= int64(len(m.Body))
	waiting := key("waiting", string(user), string(m.Sender))
	n, _, err := loadOr[int](t, waiting)
	if err != nil {
		return false, err
	}
	if n > 1 {
		err = save(t, waiting, n-1)
	} else {
		err = t.Delete(waiting)
	}
	return true, errors.Join(err, t.Delete(record))
}
