package messages

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// CancelIn removes an entry in a transaction of the caller's, so that it is never posted from here, and reports whether it may have left:
// a message was made of it, also one that was dropped since, or it is not there. It does not wait for a Send that is under way.
func (m *Messages) CancelIn(tx *kv.Tx, id ID) (left bool, err error) {
	e, err := m.findEntry(tx, id)
	if err != nil || e == nil {
		return true, err
	}
	defer e.wipe()
	return len(e.Ciphertext) > 0 || !bytes.Equal(e.PostID, e.ID), tx.Delete(e.key)
}

// findEntry returns an entry, nil if it is not there.
func (m *Messages) findEntry(tx *kv.Tx, id ID) (*entry, error) {
	found := ""
	find := func(key string) error {
		if strings.HasSuffix(key, "-"+hex.EncodeToString(id[:])) {
			found = key
		}
		return nil
	}
	if err := errors.Join(tx.Keys(outPrefix, find), tx.Keys(lapsedPrefix, find)); err != nil || found == "" {
		return nil, err
	}
	sealed, err := tx.Get(found)
	if err != nil {
		return nil, err
	}
	return m.openEntry(found, sealed)
}

// errCancelled is why an entry is not sent that was there when Send looked.
var errCancelled = fault.New(fault.NotFound, "the message was cancelled meanwhile")

// update changes the store for an entry that Send works on: errCancelled, and no change, if it was cancelled meanwhile.
func (m *Messages) update(e *entry, fn func(tx *kv.Tx) error) error {
	return m.config.DB.Update(func(tx *kv.Tx) error {
		if err := waits(tx, e); err != nil {
			return err
		}
		return fn(tx)
	})
}

func (m *Messages) stillWaits(e *entry) error {
	return m.config.DB.View(func(tx *kv.Tx) error { return waits(tx, e) })
}

func waits(tx *kv.Tx, e *entry) error {
	_, err := tx.Get(e.key)
	if errors.Is(err, fault.NotFound) {
		err = errCancelled
	}
	return err
}

// Hurry lets everything for a receiver be tried at once, as after a person has looked at a changed key. What Send tries just now, and fails,
// is tried once more.
func (m *Messages) Hurry(receiver string) error {
	return m.hurry(receiver+"/", func(*entry) bool { return true })
}

// Reconnected lets everything be tried at once that waits because the coordinator was not there.
func (m *Messages) Reconnected() error {
	return m.hurry("", func(e *entry) bool { return fault.Code(e.Code) == fault.Unavailable })
}

// hurry lets entries that wait be tried at once: of those whose keys begin so, the ones that are meant.
func (m *Messages) hurry(prefix string, meant func(*entry) bool) error {
	m.hurries.Add(1)
	return m.config.DB.Update(func(tx *kv.Tx) error {
		var list []*entry
		err := tx.Scan(outPrefix+prefix, func(key string, sealed []byte) error {
			e, err := m.openEntry(key, sealed)
			if err == nil && e.Next > 0 && meant(e) {
				list = append(list, e)
			}
			return err
		})
		for _, e := range list {
			e.Next = 0
			err = errors.Join(err, m.setEntry(tx, e))
			e.wipe()
		}
		return err
	})
}
