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
	Ends     time.Time `cbor:"5,keyasint"` // when it goes
}

// waiting is what one sender has in one mailbox.
type waiting struct {
	Mail  int64 `cbor:"1,keyasint"`
	Bytes int64 `cbor:"2,keyasint"`
}

// Send puts a message into a mailbox and returns its number, which is not for the sender: it counts what all of them send. Sent again with the same id, receiver and body, it is not put there again, not even after
// it was acknowledged; with others it is fault.Conflict. An unknown receiver is fault.NotFound, a full mailbox fault.StorageFull, and the sender itself
// fault.InvalidRequest. A message that the receiver does not take is answered as any other, and dropped.
func (s *State) Send(ctx context.Context, from, to UserID, id string, body []byte) (sequence uint64, err error) {
	if len(body) == 0 || len(body) > MaxMessage {
		return 0, fault.New(fault.TooLarge, "a message has 1 to %d bytes", MaxMessage)
	}
	if from == to {
		return 0, fault.New(fault.InvalidRequest, "a message is to somebody else")
	}
	if err := s.pace.take(from, int64(len(body))); err != nil {
		return 0, err
	}
	hash := sha256.Sum256(body)
	err = s.update(ctx, func(t *tx) error {
		before, there, err := loadOr[sentMessage](t, key("sent", string(from), id))
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
		if sequence, err = t.deliver(to, Message{ID: id, Sender: from, Time: t.now, Body: body, Ends: t.now.Add(s.o.Limits.MailTTL)}); err != nil {
			return err
		}
		return t.remember(from, id, sentMessage{Receiver: to, Sequence: sequence, Hash: hash[:]})
	})
	return sequence, err
}

func (t *tx) deliver(to UserID, m Message) (uint64, error) {
	c, q, err := t.quota(to)
	if err != nil {
		return 0, err
	}
	own := key("waiting", string(to), string(m.Sender))
	w, _, err := loadOr[waiting](t, own)
	if err != nil {
		return 0, err
	}
	size := int64(len(m.Body))
	mail, bytes := t.s.o.Limits.share(q)
	if c.Mail >= q.Mail || c.MailBytes+size > q.MailBytes || w.Mail >= mail || w.Bytes+size > bytes {
		return 0, full(MailboxResource, "the receiver's mailbox is full")
	}
	c.MailLast++
	if taken, err := t.takes(to, m.Sender); err != nil || !taken {
		return c.MailLast, err
	}
	c.Mail++
	c.MailBytes += size
	record := mailKey(to, c.MailLast)
	return c.MailLast, errors.Join(
		save(t, own, waiting{w.Mail + 1, w.Bytes + size}), save(t, record, m), t.expire(m.Ends, record),
		t.emit(to, Event{Type: MessageEvent, Number: c.MailLast}),
	)
}

// share is what one sender may have in a mailbox: a tenth of it, but room for a few messages, and no more than the limits.
func (l Limits) share(q Quota) (mail, bytes int64) {
	return min(int64(l.MailPerSender), max(q.Mail/10, 16)), min(l.BytesPerSender, max(q.MailBytes/10, MaxMessage))
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

// Acknowledge removes messages and returns how many were there. Whatever a list names, the transaction that writes reads only messages that it removes: each of
// those was paid for by its sender.
func (s *State) Acknowledge(ctx context.Context, user UserID, list []Acknowledgement) (removed int, err error) {
	var there []Acknowledgement
	err = s.view(ctx, func(t *tx) error {
		there, err = t.thereOf(user, list)
		return err
	})
	if err != nil || len(there) == 0 {
		return 0, err
	}
	err = s.urgent(ctx, func(t *tx) error {
		removed = 0
		for _, a := range there {
			ok, err := t.removeMail(user, mailKey(user, a.Sequence), a.ID)
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

// thereOf returns those of a list that name a message which is there, each once. It reads a message once, however often the list names it.
func (t *tx) thereOf(user UserID, list []Acknowledgement) (there []Acknowledgement, err error) {
	ids := map[uint64]string{} // of the messages that were read; "" for none
	for _, a := range list {
		id, read := ids[a.Sequence]
		if !read {
			m, _, err := loadOr[Message](t, mailKey(user, a.Sequence))
			if err != nil {
				return nil, err
			}
			id = m.ID
		}
		if id != "" && id == a.ID {
			there = append(there, a)
			id = ""
		}
		ids[a.Sequence] = id
	}
	return there, nil
}

func mailKey(user UserID, sequence uint64) string { return key("mail", string(user), number(sequence)) }

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
	size := int64(len(m.Body))
	c.Mail--
	c.MailBytes -= size
	own := key("waiting", string(user), string(m.Sender))
	w, _, err := loadOr[waiting](t, own)
	if err != nil {
		return false, err
	}
	if w.Mail > 1 {
		err = save(t, own, waiting{w.Mail - 1, w.Bytes - size})
	} else {
		err = t.Delete(own)
	}
	return true, errors.Join(err, t.unexpire(m.Ends, record), t.Delete(record))
}
