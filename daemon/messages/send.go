package messages

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
)

// Send posts what is ready, in order for each receiver, and returns when the next try is due, zero if nothing waits. What fails waits, and
// with it only what is for the same receiver. An error is one that concerns everything: no answer from the coordinator, no key.
func (m *Messages) Send(ctx context.Context) (next time.Time, err error) {
	err = m.until(ctx, func(ctx context.Context) error {
		next, err = m.sendAll(ctx)
		return err
	})
	return next, err
}

func (m *Messages) sendAll(ctx context.Context) (next time.Time, err error) {
	m.sending.Lock()
	defer m.sending.Unlock()
	if err := m.forgetOld(); err != nil {
		return next, err
	}
	left, err := m.repost(ctx)
	if err != nil {
		return next, err
	}
	if left {
		next = m.config.Now().Add(backoff(20, retryLimit))
	}
	from := outPrefix
	for {
		e, err := m.firstEntry(outPrefix, from)
		if err != nil || e == nil {
			return next, err
		}
		due, err := m.sendTo(ctx, e)
		if !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
		if err != nil {
			return next, err
		}
		from = outPrefix + e.Receiver + afterSlash
	}
}

const afterSlash = "0" // is the next byte

// firstEntry returns the first entry under a prefix, from a key on; nil: none.
func (m *Messages) firstEntry(prefix, from string) (e *entry, err error) {
	stop := errors.New("found")
	err = m.config.DB.View(func(tx *kv.Tx) error {
		return tx.ScanFrom(prefix, from, func(key string, sealed []byte) error {
			if e, err = m.openEntry(key, sealed); err != nil {
				return err
			}
			return stop
		})
	})
	if errors.Is(err, stop) {
		err = nil
	}
	return e, err
}

// sendTo posts the entries for one receiver, from e on, until one has to wait.
func (m *Messages) sendTo(ctx context.Context, e *entry) (due time.Time, err error) {
	receiver := e.Receiver
	for e != nil && e.Receiver == receiver {
		now, due := m.config.Now(), time.UnixMilli(e.Next)
		if due.After(now) && due.Before(now.Add(personLimit)) { // not later: the clock was wrong
			e.wipe()
			return due, nil
		}
		hurries := m.hurries.Load()
		err := m.sendOne(ctx, e)
		if err != nil && !errors.Is(err, errCancelled) {
			defer e.wipe()
			return m.wait(ctx, e, err, hurries)
		}
		e.wipe()
		if e, err = m.firstEntry(outPrefix, outPrefix+receiver+"/"); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, nil
}

// sendOne makes the message, stores it, posts it and removes the entry.
func (m *Messages) sendOne(ctx context.Context, e *entry) error {
	if _, err := m.config.Contacts.Identity(ctx, e.Receiver); err != nil {
		return err
	}
	if err := m.config.MaySend(ctx, e.Receiver); err != nil {
		return err
	}
	if err := m.dropOld(ctx, e); err != nil {
		return err
	}
	if len(e.Ciphertext) == 0 {
		if err := m.makeMessage(ctx, e); err != nil {
			return err
		}
		if err := m.config.MaySend(ctx, e.Receiver); err != nil { // a person may have decided meanwhile
			return err
		}
	}
	if err := m.stillWaits(e); err != nil {
		return err
	}
	m.step("post")
	err := m.config.Mailbox.Post(ctx, e.Receiver, ID(e.PostID).String(), e.Ciphertext)
	m.step("posted")
	if err != nil && !errors.Is(err, fault.Conflict) { // the id is ours alone: a message was posted under it, by us before a restore
		return err
	}
	err = m.keepPosted(e)
	m.step("sent")
	return err
}

// dropOld drops the message of an entry if its session was given up, or the peer has another identity key since: the peer could not open
// it. The next one has the same body and is posted under another id; who opens both drops one.
func (m *Messages) dropOld(ctx context.Context, e *entry) error {
	if len(e.Ciphertext) == 0 {
		return nil
	}
	now, err := m.originOf(ctx, e.Receiver)
	if err == nil && now != (origin{[32]byte(e.Identity), e.Begun}) {
		id := newID()
		e.Ciphertext, e.PostID = []byte{}, id[:]
	}
	return err
}

func (m *Messages) makeMessage(ctx context.Context, e *entry) error {
	b := Body{ID: ID(e.ID), Kind: e.Kind, Payload: e.Payload}
	var err error
	if m.config.Heads != nil {
		heads, err := m.config.Heads(ctx, e.Receiver)
		if err != nil {
			return err
		}
		b.Heads = m.someHeads(e.Receiver, heads)
	}
	if b.Echoes, err = m.echoes(e.Receiver); err != nil {
		return err
	}
	var random [randomSize]byte
	rand.Read(random[:]) //nolint:errcheck // ends the process instead of failing
	plaintext, err := b.encode(random)
	if err != nil {
		return err
	}
	defer secret.Wipe(plaintext)
	msg, from, err := m.encrypt(ctx, e.Receiver, plaintext)
	if err != nil {
		return err
	}
	m.step("encrypted")
	e.Identity, e.Begun = from.identity[:], from.begun
	e.Ciphertext = append([]byte{byte(msg.Type)}, msg.Body...)
	err = m.update(e, func(tx *kv.Tx) error { return errors.Join(m.setEntry(tx, e), m.announced(tx, b.Heads)) })
	m.step("entered")
	return err
}

// lapses reports whether an entry that fails is given up.
func (m *Messages) lapses(e *entry, code fault.Code) bool {
	age := m.config.Now().Sub(time.Unix(e.Queued, 0))
	return code == fault.NotFound && age >= lapseAfter || e.Kind == KindHeads && age >= lapseHeadsAfter && code != fault.Unavailable
}

// lapse gives an entry up: what is left of it says so. Of heads alone nothing is left.
func (m *Messages) lapse(e *entry, code fault.Code) error {
	return m.update(e, func(tx *kv.Tx) error {
		if err := tx.Delete(e.key); err != nil || e.Kind == KindHeads {
			return err
		}
		e.key = lapsedPrefix + strings.TrimPrefix(e.key, outPrefix)
		e.Code, e.Payload, e.Ciphertext = string(code), []byte{}, []byte{}
		return m.setEntry(tx, e)
	})
}

// wait writes down why an entry did not go, and when it is tried again: at once, if somebody hurried since that many had. It returns the
// failures that concern all entries.
func (m *Messages) wait(ctx context.Context, e *entry, cause error, hurries uint64) (time.Time, error) {
	code := fault.CodeOf(cause)
	if ctx.Err() != nil || code == fault.Locked || code == fault.Unauthorized {
		return time.Time{}, cause
	}
	if m.lapses(e, code) {
		return m.config.Now(), unlessCancelled(m.lapse(e, code))
	}
	limit := retryLimit
	if !fault.Transient(cause) && code != fault.Incomplete {
		limit = personLimit
	}
	due := m.config.Now().Add(backoff(e.Tries, limit))
	if m.hurries.Load() != hurries {
		due = m.config.Now()
	}
	e.Tries, e.Code, e.Next = e.Tries+1, string(code), due.UnixMilli()
	if err := unlessCancelled(m.update(e, func(tx *kv.Tx) error { return m.setEntry(tx, e) })); err != nil {
		return due, err
	}
	if code == fault.Unavailable {
		return due, cause
	}
	return due, nil
}

// unlessCancelled is nil for an entry that was cancelled: there is nothing to be done for it.
func unlessCancelled(err error) error {
	if errors.Is(err, errCancelled) {
		return nil
	}
	return err
}
