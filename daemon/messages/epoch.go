package messages

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

const (
	epochKey     = "messages/epoch"   // of the coordinator, as it was last seen
	retirePrefix = "messages/retire/" // sessions, by the name of the record, that are to be retired before they send
	bodyPrefix   = "messages/body/"   // copies of received bodies that the application has not had

	maxEpoch    = 64
	maxFlagged  = 500 // records in one transaction
	maxRetained = 40  // archived sessions
)

// Epoch notes the name that the coordinator gives its history. Another one than before says that it was restored from an older state: then every
// session is retired before it sends anything, as another device of the user may have used keys that nobody knows of any more, what was posted lately is posted again,
// and the mailbox is read from its beginning. It is called after each new connection, before Send.
func (m *Messages) Epoch(epoch string) (changed bool, err error) {
	if epoch == "" || len(epoch) > maxEpoch {
		return false, fault.New(fault.InvalidRequest, "not the epoch of a coordinator")
	}
	var before []byte
	err = m.config.DB.View(func(tx *kv.Tx) (err error) {
		before, err = tx.Get(epochKey)
		if errors.Is(err, fault.NotFound) {
			err = nil
		}
		return err
	})
	if err != nil || string(before) == epoch {
		return false, err
	}
	if changed = len(before) > 0; changed {
		if err := m.Restored(); err != nil {
			return true, err
		}
	}
	return changed, m.config.DB.Update(func(tx *kv.Tx) error { return tx.Set(epochKey, []byte(epoch)) })
}

// Restored does what is said of Epoch, on the word of a person.
func (m *Messages) Restored() error {
	var bases []string
	err := m.config.DB.View(func(tx *kv.Tx) error {
		return tx.Keys(markPrefix, func(key string) error {
			if base := strings.TrimPrefix(key, markPrefix); base != preKeysBase {
				bases = append(bases, base)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	m.lock()
	defer m.mu.Unlock()
	for some := range slices.Chunk(bases, maxFlagged) {
		err := m.config.DB.Update(func(tx *kv.Tx) (err error) {
			for _, base := range some {
				err = errors.Join(err, tx.Set(retirePrefix+base, []byte{1}))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	m.Rescan()
	again := newID() // another one than before: what was posted again for that one is posted again for this one
	return m.config.DB.Update(func(tx *kv.Tx) error { return tx.Set(repostKey, again[:]) })
}

// retire retires a session if that is to be done before it sends. The caller holds mu.
func (m *Messages) retire(ctx context.Context, peer string, s *session) error {
	flag := retirePrefix + sessionBase(peer)
	asked, err := m.config.DB.Has(flag)
	if err != nil || !asked {
		return err
	}
	if err := s.Retire(maxRetained, m.save(ctx, s, nil, nil)); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	return m.config.DB.Update(func(tx *kv.Tx) error { return tx.Delete(flag) })
}

// keepBodies copies received bodies that a swap stored at the coordinator: one that is restored from before has neither them nor, in a mailbox
// that was read, what they came in.
func (m *Messages) keepBodies(tx *kv.Tx, changes []BlobChange) error {
	for _, c := range changes {
		if !strings.HasPrefix(c.Name, receivedPrefix) || len(c.Body) == 0 {
			continue
		}
		b := binary.BigEndian.AppendUint64(nil, uint64(m.config.Now().Unix()))
		b = binary.BigEndian.AppendUint64(b, c.Counter)
		if err := tx.Set(bodyPrefix+c.Name, append(b, c.Body...)); err != nil {
			return err
		}
	}
	return nil
}

// renewBody puts a body that was sealed anew in the place of its copy, if there is one.
func (m *Messages) renewBody(name string, counter uint64, sealed []byte) error {
	return m.config.DB.Update(func(tx *kv.Tx) error {
		old, err := tx.Get(bodyPrefix + name)
		if errors.Is(err, fault.NotFound) || err == nil && (len(old) < 16 || binary.BigEndian.Uint64(old[8:]) >= counter) {
			return nil
		}
		if err != nil {
			return err
		}
		b := binary.BigEndian.AppendUint64(slices.Clone(old[:8]), counter)
		return tx.Set(bodyPrefix+name, append(b, sealed...))
	})
}

// forgetTaken deletes the copy of a body that is not at the coordinator, if that says that it was taken. One that it knows nothing of it may have lost.
func (m *Messages) forgetTaken(ctx context.Context, name string) error {
	kept, err := m.config.DB.Has(bodyPrefix + name)
	if err != nil || !kept {
		return err
	}
	list, err := m.config.Blobs.List(ctx, name)
	if err != nil || !slices.ContainsFunc(list, func(b Blob) bool { return b.Name == name && b.Removed }) {
		return err
	}
	return m.config.DB.Update(func(tx *kv.Tx) error { return tx.Delete(bodyPrefix + name) })
}

// body is the copy of a received body.
type body struct {
	name    string
	at      time.Time
	counter uint64
	sealed  []byte
}

// bodies returns the copies that there are, and forgets those that are old: whoever had them did something with them.
func (m *Messages) bodies() (list []body, err error) {
	err = m.config.DB.Update(func(tx *kv.Tx) error {
		list = nil
		var old []string
		err := tx.Scan(bodyPrefix, func(key string, b []byte) error {
			if len(b) < 16 {
				return fault.New(fault.NotAuthentic, "the copy of a body is too short")
			}
			c := body{
				name: strings.TrimPrefix(key, bodyPrefix), at: time.Unix(int64(binary.BigEndian.Uint64(b)), 0), //nolint:gosec // we wrote it
				counter: binary.BigEndian.Uint64(b[8:]), sealed: slices.Clone(b[16:]),
			}
			if m.config.Now().Sub(c.at) >= keepPosted {
				old = append(old, key)
			} else {
				list = append(list, c)
			}
			return nil
		})
		for _, key := range old {
			err = errors.Join(err, tx.Delete(key))
		}
		return err
	})
	return list, err
}
