package messages

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// Received is a body on its way into the application.
type Received struct {
	Body
	Sender   string
	Identity [32]byte  // the sender's identity key that the session had which opened it; the pinned one may be another by now
	Time     time.Time // when it was opened, by the clock of the device that did

	removal BlobChange
	taken   bool
}

// Removal returns the change that takes the body away: it belongs into the swap that has the effect of the message. That swap fails with
// fault.Conflict if another device was faster; the body is had then.
func (r *Received) Removal() BlobChange {
	r.taken = true
	return r.removal
}

// wireReceived is what the blob of a received body holds, sealed.
type wireReceived struct {
	_        struct{} `cbor:",toarray"`
	Sender   string
	Identity []byte // of the sender, as the session has it
	Time     int64  // unix seconds
	Body     []byte // as it was decrypted
}

// receivedName names the blob of a body by the message that it came in, so that whoever gets that again finds it.
func receivedName(sender string, message []byte) string {
	h := sha256.New()
	h.Write([]byte("coldframe/v1/messages/received\x00" + sender)) //nolint:errcheck // never fails
	h.Write(message)                                               //nolint:errcheck // never fails
	return receivedPrefix + hex.EncodeToString(h.Sum(nil)[:16])
}

func (m *Messages) receivedContext(name string, counter uint64) seal.Context {
	return seal.Context{Owner: m.user, Type: "received", ID: name, Version: counter}
}

func (m *Messages) sealReceived(ctx context.Context, name string, counter uint64, w wireReceived) ([]byte, error) {
	plaintext, err := signed.Marshal(w)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plaintext)
	sealed, _, err := m.seal(ctx, purposeReceived, m.receivedContext(name, counter), plaintext)
	return sealed, err
}

func (m *Messages) openReceived(ctx context.Context, b *Blob) (*wireReceived, error) {
	plaintext, err := m.open(ctx, purposeReceived, m.receivedContext(b.Name, b.Counter), b.Body)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plaintext)
	w := &wireReceived{}
	if err := signed.Unmarshal(plaintext, w); err != nil {
		return nil, err
	}
	if !validUser(w.Sender) || len(w.Identity) != len(Received{}.Identity) {
		return nil, fault.New(fault.NotAuthentic, "not a received message")
	}
	return w, nil
}

// readReceived returns the blob of a body; nil if it is not there any more.
func (m *Messages) readReceived(ctx context.Context, name string) (*Blob, error) {
	list, err := m.config.Blobs.Read(ctx, []string{name})
	i := slices.IndexFunc(list, func(b Blob) bool { return b.Name == name && len(b.Body) > 0 })
	if err != nil || i < 0 {
		return nil, err
	}
	return &list[i], nil
}

// removalOf returns the change that takes the blob of a body away.
func removalOf(b *Blob) BlobChange {
	c := change(b.Name, b.version(), nil)
	c.Remove = true
	return c
}

func seenKey(sender string, id ID) string {
	return seenPrefix + sender + "/" + hex.EncodeToString(id[:])
}

// seen reports whether a body of a sender reached the application through this device.
func (m *Messages) seen(sender string, id ID) (bool, error) {
	return m.config.DB.Has(seenKey(sender, id))
}

// markSeen writes down, for ever, that the application has a body, and what the sender said of heads.
func (m *Messages) markSeen(r *Received) error {
	now := m.config.Now()
	standing, err := m.config.Standing(r.Sender)
	if err != nil {
		return err
	}
	var found []Fork
	err = m.config.DB.Update(func(tx *kv.Tx) (err error) {
		at := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))
		if err := tx.Set(seenKey(r.Sender, r.ID), at); err != nil {
			return err
		}
		if err := errors.Join(m.notAside(tx, r.removal.Name), tx.Delete(bodyPrefix+r.removal.Name)); err != nil {
			return err
		}
		if standing == StandingContact {
			found, err = m.keepHeads(tx, r.Sender, &r.Body, now)
		}
		return err
	})
	for _, f := range found {
		m.config.Event(Event{What: HeadFault, Peer: f.Peer, Code: fault.Forked})
	}
	return err
}

// maxBatch is how many bodies are read at once.
const maxBatch = 8

// takeStored takes in bodies that an agent opened and did not get to the application: those that are left over, and those that were
// postponed. Where it is interrupted the next one goes on.
func (m *Messages) takeStored(ctx context.Context) (n int, err error) {
	if !m.listed {
		if m.stored, err = m.listStored(ctx); err != nil {
			return 0, err
		}
		m.listed = true
		clear(m.unknown)
	}
	for name := range m.postponed {
		if !slices.Contains(m.stored, name) {
			m.stored = append(m.stored, name)
		}
	}
	for len(m.stored) > 0 && err == nil {
		batch := m.stored[:min(maxBatch, len(m.stored))]
		var taken, looked int
		taken, looked, err = m.takeBatch(ctx, batch)
		m.stored, n = m.stored[looked:], n+taken
	}
	return n, err
}

// listStored returns the names of the bodies that are at the coordinator.
func (m *Messages) listStored(ctx context.Context) (names []string, err error) {
	list, err := m.config.Blobs.List(ctx, receivedPrefix)
	for _, b := range list {
		if !b.Removed {
			names = append(names, b.Name)
		}
	}
	return names, err
}

// takeBatch takes in some bodies, and returns how many it looked at: all, unless there is an error.
func (m *Messages) takeBatch(ctx context.Context, names []string) (taken, looked int, err error) {
	blobs, unread, err := m.readBatch(ctx, names)
	if err != nil {
		return 0, 0, err
	}
	var done []Acknowledgement
	for _, name := range names {
		o, one := acknowledge, false
		if b := named(blobs, name); unread[name] != nil {
			o = later
		} else if len(b.Body) > 0 {
			if o, one, err = m.deliver(ctx, "", &b); err != nil {
				break
			}
		} else if err = m.forgetTaken(ctx, name); err != nil {
			break
		}
		looked++
		if one {
			taken++
		}
		a := m.postponed[name]
		if delete(m.postponed, name); o == later {
			m.postponed[name] = a
		} else if o == acknowledge && a.ID != "" {
			done = append(done, a)
		}
	}
	return taken, looked, errors.Join(err, m.acknowledge(ctx, done))
}

// readBatch reads bodies at once, or each by itself if that does not work: one that is wrong does not hold the others up, and its
// failure is returned beside the list.
func (m *Messages) readBatch(ctx context.Context, names []string) (list []Blob, failed map[string]error, err error) {
	if list, err = m.config.Blobs.Read(ctx, names); err == nil || fault.Transient(err) || ctx.Err() != nil {
		return list, nil, err
	}
	list, failed = nil, map[string]error{}
	for _, name := range names {
		blob, err := m.readReceived(ctx, name)
		switch {
		case err != nil && (fault.Transient(err) || ctx.Err() != nil):
			return nil, nil, err
		case err != nil:
			failed[name] = recordFault{err}
		case blob != nil:
			list = append(list, *blob)
		}
	}
	return list, failed, nil
}
