package messages

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/signed"
)

// What the coordinator took is kept for a while, as it was posted: a coordinator that is restored from an older state lost what came since, and
// gets it once more, under the same ids. It is in no outbox any more, and takes nothing of its room.
const (
	postedPrefix = "messages/posted/"
	repostKey    = "messages/repost" // there while what is kept is to be posted again: a random value, another one with each restore

	keepPosted     = 48 * time.Hour
	sweepEvery     = time.Hour
	maxPosted      = 4096
	maxPostedBytes = 32 << 20
	maxForgotten   = 64 // in one transaction
)

// posted is a message that the coordinator took, as it is stored, sealed.
type posted struct {
	_          struct{} `cbor:",toarray"`
	Receiver   string
	PostID     []byte
	Ciphertext []byte
}

// postedKey has what is asked of those that are kept without opening them: when, in nanoseconds, and how many bytes.
func postedKey(place int64, size int, id ID) string {
	return fmt.Sprintf("%s%016x-%06x-%x", postedPrefix, place, size, id[:])
}

func parsePostedKey(key string) (at time.Time, size int) {
	fields := strings.Split(strings.TrimPrefix(key, postedPrefix), "-")
	if len(fields) != 3 {
		return at, 0
	}
	nanos, _ := strconv.ParseInt(fields[0], 16, 64) //nolint:errcheck // 0: it is old, and goes
	n, _ := strconv.ParseInt(fields[1], 16, 32)     //nolint:errcheck // the same
	return time.Unix(0, nanos), int(n)
}

// keepPosted puts the message of an entry, which the coordinator took, in the place of the entry. The caller holds sending.
func (m *Messages) keepPosted(e *entry) error {
	if err := m.loadPosted(); err != nil {
		return err
	}
	b, err := signed.Marshal(posted{Receiver: e.Receiver, PostID: e.PostID, Ciphertext: e.Ciphertext})
	if err != nil {
		return err
	}
	key := postedKey(m.place(), len(b), ID(e.PostID))
	sealed, err := m.sealLocal(key, b)
	if err != nil {
		return err
	}
	old := m.tooOld(len(b))
	err = m.config.DB.Update(func(tx *kv.Tx) error {
		for _, k := range old {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		return errors.Join(tx.Set(key, sealed), tx.Delete(e.key))
	})
	if err == nil {
		m.posted = append(m.posted[len(old):], key)
	}
	return err
}

// loadPosted reads the keys of what is kept, once.
func (m *Messages) loadPosted() error {
	if m.posted != nil {
		return nil
	}
	list := []string{}
	err := m.config.DB.View(func(tx *kv.Tx) error {
		return tx.Keys(postedPrefix, func(key string) error { list = append(list, key); return nil })
	})
	if err == nil {
		m.posted = list
	}
	return err
}

// tooOld returns what is to go, oldest first, before so many bytes are kept as well; not all of it at once.
func (m *Messages) tooOld(size int) (old []string) {
	for _, key := range m.posted {
		_, n := parsePostedKey(key)
		size += n
	}
	for i, key := range m.posted[:min(len(m.posted), maxForgotten)] {
		at, n := parsePostedKey(key)
		if m.config.Now().Sub(at) < keepPosted && len(m.posted)-i < maxPosted && size <= maxPostedBytes {
			break
		}
		old, size = append(old, key), size-n
	}
	return old
}

// forgetOld forgets, once an hour, what was posted or received longer ago than it is kept, also where nothing new comes. The caller holds sending.
func (m *Messages) forgetOld() error {
	now := m.config.Now()
	if age := now.Sub(m.swept); age >= 0 && age < sweepEvery {
		return nil
	}
	if err := m.loadPosted(); err != nil {
		return err
	}
	for old := m.tooOld(0); len(old) > 0; old = m.tooOld(0) {
		err := m.config.DB.Update(func(tx *kv.Tx) (err error) {
			for _, key := range old {
				err = errors.Join(err, tx.Delete(key))
			}
			return err
		})
		if err != nil {
			return err
		}
		m.posted = m.posted[len(old):]
	}
	_, err := m.bodies()
	if err == nil {
		m.swept = now
	}
	return err
}

// Repost is the part of Send that posts again what the coordinator took lately, if that was asked for. It needs no session.
func (m *Messages) Repost(ctx context.Context) error {
	return m.until(ctx, func(ctx context.Context) error {
		m.sending.Lock()
		defer m.sending.Unlock()
		_, err := m.repost(ctx)
		return err
	})
}

// repost posts what is kept once more, if that was asked for (Epoch, Restored): those that the coordinator knows change nothing there. It goes on where it
// was interrupted; left says that something waits for the next call, without holding others up: its receiver's mailbox is full, or a person has to look at
// the receiver first. The caller holds sending.
func (m *Messages) repost(ctx context.Context) (left bool, err error) {
	asked, err := m.asked()
	if err != nil || asked == "" {
		return false, err
	}
	if err := m.loadPosted(); err != nil {
		return false, err
	}
	if asked != m.repostFor {
		m.repostFor = asked
		clear(m.reposted)
	}
	waits := map[string]bool{}
	for _, key := range m.posted {
		if at, _ := parsePostedKey(key); m.reposted[key] || m.config.Now().Sub(at) >= keepPosted {
			continue
		}
		receiver, err := m.postAgain(ctx, key, waits)
		switch {
		case errors.Is(err, errReceiverWaits):
			waits[receiver] = true
		case err != nil:
			return false, err
		default:
			m.reposted[key] = true
		}
	}
	if len(waits) > 0 {
		return true, nil
	}
	return false, m.config.DB.Update(func(tx *kv.Tx) error {
		if now, err := tx.Get(repostKey); err != nil || string(now) != asked { // it was restored once more meanwhile
			return err
		}
		return tx.Delete(repostKey)
	})
}

// asked returns for which restore what is kept is to be posted again; "" for none.
func (m *Messages) asked() (which string, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		b, err := tx.Get(repostKey)
		if which = string(b); errors.Is(err, fault.NotFound) {
			err = nil
		}
		return err
	})
	return which, err
}

var errReceiverWaits = errors.New("what is for this receiver waits")

// postAgain posts one message once more, if what is for its receiver is not known to wait. A refusal is one of this message; errReceiverWaits is one of
// its receiver's, other failures are those of all. One that cannot be read any more, or whose receiver is none any more, is left out.
func (m *Messages) postAgain(ctx context.Context, key string, waits map[string]bool) (receiver string, err error) {
	p, err := m.readPosted(key)
	switch {
	case errors.Is(err, fault.NotAuthentic):
		return "", nil
	case err != nil:
		return "", err
	case waits[p.Receiver]:
		return p.Receiver, errReceiverWaits
	}
	switch err := m.config.MaySend(ctx, p.Receiver); {
	case errors.Is(err, fault.Forbidden), errors.Is(err, fault.NotFound): // consent has ended
		return p.Receiver, nil
	case errors.Is(err, fault.KeyChanged), errors.Is(err, fault.Forked): // a person has to look
		return p.Receiver, errReceiverWaits
	case err != nil:
		return p.Receiver, err
	}
	m.step("repost")
	err = m.config.Mailbox.Post(ctx, p.Receiver, ID(p.PostID).String(), p.Ciphertext)
	switch {
	case errors.Is(err, fault.StorageFull):
		return p.Receiver, errReceiverWaits
	case err != nil && (ctx.Err() != nil || fault.Transient(err) && !errors.Is(err, fault.Conflict)):
		return p.Receiver, err
	}
	return p.Receiver, nil
}

func (m *Messages) readPosted(key string) (p posted, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) error {
		sealed, err := tx.Get(key)
		if err != nil {
			return err
		}
		b, err := m.openLocal(key, sealed)
		if err != nil {
			return err
		}
		return signed.Unmarshal(b, &p)
	})
	if err == nil && len(p.PostID) != len(ID{}) {
		err = fault.New(fault.NotAuthentic, "not a message that was posted")
	}
	return p, err
}
