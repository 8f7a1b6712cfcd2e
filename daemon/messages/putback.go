package messages

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

const (
	trailPrefix = "messages/trail/" // the last versions of a record that were seen, oldest first: version (8) ‖ hash of the head's blob (32)
	maxTrail    = 32

	// The upper half of a record's version counts how often it was put back after the coordinator was restored, so that it is higher than any
	// version that another device has seen.
	oneRestore = 1 << 32

	maxPutBack      = 60      // parts in one swap, the head aside
	maxPutBackBytes = 3 << 20 // of them
)

// setMark sets the mark of a record, and adds to the trail that leads there, if it does not end there yet: the same version may be read often.
func setMark(tx *kv.Tx, r *record) error {
	trail, err := tx.Get(trailPrefix + r.base)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	if now := append(binary.BigEndian.AppendUint64(nil, r.version), r.head.hash[:]...); !bytes.HasSuffix(trail, now) {
		trail = append(slices.Clone(trail), now...)
	}
	if extra := len(trail) - maxTrail*(8+hashSize); extra > 0 {
		trail = trail[extra:]
	}
	return errors.Join(tx.Set(trailPrefix+r.base, trail), tx.Set(markPrefix+r.base, r.mark().encode()))
}

// wasOther reports whether another record of this version was seen than this one: then it is no earlier one of ours.
func wasOther(trail []byte, r *record) bool {
	for ; len(trail) >= 8+hashSize; trail = trail[8+hashSize:] {
		if binary.BigEndian.Uint64(trail) == r.version && !bytes.Equal(trail[8:8+hashSize], r.head.hash[:]) {
			return true
		}
	}
	return false
}

// Restored is what PutBack did.
type Restored struct {
	Records int                   // that the coordinator had lost, or had an older version of
	Bodies  int                   // received bodies that it had lost
	Wrong   map[string]fault.Code // records that stay as they are there, by peer, "" for the prekeys; and why
}

// PutBack gives a coordinator that was restored from an older state what this device knows to be newer: the records of sessions and prekeys, each in its newest
// state, and received bodies that the application has not had. What it has is not an earlier version of ours stays (fault.Forked), as does what this
// device has no copy of (fault.RolledBack). All sessions begin anew with the next message that is sent, also those that were not lost: other devices may have used
// their keys. What was posted lately is posted again with the next Send. It may be called again, and on other devices.
func (m *Messages) PutBack(ctx context.Context) (done Restored, err error) {
	err = m.until(ctx, func(ctx context.Context) error {
		if err := m.Restored(); err != nil {
			return err
		}
		if done, err = m.putBackRecords(ctx); err != nil {
			return err
		}
		done.Bodies, err = m.putBackBodies(ctx)
		return err
	})
	m.Rescan()
	return done, err
}

func (m *Messages) putBackRecords(ctx context.Context) (done Restored, err error) {
	var bases []string
	err = m.config.DB.View(func(tx *kv.Tx) error {
		return tx.Keys(markPrefix, func(key string) error {
			bases = append(bases, strings.TrimPrefix(key, markPrefix))
			return nil
		})
	})
	if err != nil {
		return done, err
	}
	done.Wrong = map[string]fault.Code{}
	m.lock()
	defer m.mu.Unlock()
	m.forget()
	for _, base := range bases {
		back, err := m.putBack(ctx, base)
		switch {
		case err == nil && back:
			done.Records++
		case err != nil && (fault.Transient(err) || ctx.Err() != nil):
			return done, err
		case err != nil:
			done.Wrong[peerOf(base)] = fault.CodeOf(err)
		}
	}
	return done, nil
}

// known is what this device knows of a record.
type known struct {
	at        mark
	trail     []byte
	wrong     fault.Code
	abandoned bool
	record    *record // the copy; nil: there is none
	contents  *contents
}

func (m *Messages) known(ctx context.Context, base string) (k known, err error) {
	err = m.config.DB.View(func(tx *kv.Tx) (err error) {
		if k.at, err = readMark(tx, base); err != nil {
			return err
		}
		if k.abandoned, k.wrong, err = readFault(tx, base); err != nil {
			return err
		}
		if k.trail, err = tx.Get(trailPrefix + base); err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		k.trail = slices.Clone(k.trail)
		k.record, k.contents, err = m.loadCopy(ctx, tx, base, k.at)
		return err
	})
	return k, err
}

// putBack puts back one record, if the coordinator's is an older one. The caller holds mu.
func (m *Messages) putBack(ctx context.Context, base string) (back bool, err error) {
	mine, err := m.known(ctx, base)
	defer mine.contents.wipe()
	if err != nil || mine.abandoned {
		return false, err
	}
	there, c, blobs, unread := m.assembleRemote(ctx, base, nil, 0)
	if unread != nil {
		if there, err = m.unreadable(ctx, base, mine, unread); err != nil {
			return false, err
		}
	}
	c.wipe()
	if there == nil {
		there = &record{base: base}
	}
	version, newer, err := mine.compare(there)
	switch {
	case unread != nil && !newer:
		return false, unread
	case err != nil:
		return false, m.condemn(base, fault.CodeOf(err), "the coordinator's record is none that this device's came of")
	case newer:
		return true, m.putVersion(ctx, mine, version)
	case there.begun > mine.at.version:
		return false, m.config.DB.Update(func(tx *kv.Tx) error {
			return errors.Join(tx.Delete(faultPrefix+base), m.keepCopies(tx, there, blobs))
		})
	case mine.wrong != "":
		return false, fault.New(mine.wrong, "this record was found to be wrong; it can be begun anew")
	}
	return false, nil
}

// unreadable returns what can be told of a record at the coordinator that does not open, if that is because the state key that it was sealed under was erased since, as
// no backup knows: one from before Reseal made ours. Where no key opens the head, it is the version that it says it has. Otherwise it is the failure.
func (m *Messages) unreadable(ctx context.Context, base string, mine known, cause error) (*record, error) {
	erased := errors.Is(cause, fault.NotFound) || errors.Is(cause, fault.Stale)
	if mine.record == nil || !erased {
		return nil, cause
	}
	list, err := m.config.Blobs.Read(ctx, []string{headName(base)})
	if err != nil {
		return nil, err
	}
	head := named(list, headName(base))
	if r, w, err := m.openHead(ctx, base, head); err == nil { // a part is older
		secret.Wipe(w.Head)
		return r, nil
	}
	if len(head.Body) < 8 {
		return nil, cause
	}
	r := &record{base: base, head: head.version(), version: binary.BigEndian.Uint64(head.Body)}
	epoch, err := EpochOf(head.Body[8:])
	if err != nil || epoch >= mine.record.epoch || r.version >= mine.at.version {
		return nil, cause
	}
	return r, nil
}

// compare says whether the copy of this device is newer than the record at the coordinator, and under which version it is put there: one that is
// higher than what any device has seen. A record that another device put back, and nobody has changed since, is as old as what was put back.
func (k *known) compare(there *record) (version uint64, newer bool, err error) {
	low, restores := k.at.version%oneRestore, k.at.version/oneRestore
	untouched := there.version == there.begun && there.version/oneRestore == restores+1
	switch {
	case k.wrong == fault.Forked:
		return 0, false, nil
	case there.version == k.at.version && there.head.hash != k.at.head.hash, there.version < k.at.version && wasOther(k.trail, there):
		return 0, false, fault.New(fault.Forked, "another record")
	case there.version < k.at.version, untouched && there.version%oneRestore < low:
		if k.record == nil {
			return 0, false, fault.New(fault.RolledBack, "this device has no copy of the record")
		}
		return (restores+1)*oneRestore + low, true, nil
	}
	return 0, false, nil
}

// putVersion puts the copy of this device in the place of whatever the coordinator has, with its sessions retired.
func (m *Messages) putVersion(ctx context.Context, k known, version uint64) error {
	base := k.record.base
	e := edit{counter: k.record.counter, begins: true, head: k.contents.head, put: k.contents.parts}
	if peer := peerOf(base); peer != "" {
		var err error
		if e, err = m.retiredEdit(peer, k); err != nil {
			return err
		}
		defer e.wipe()
	}
	r, err := m.placeOf(ctx, base, version-1)
	if err != nil {
		return err
	}
	p, err := m.plan(ctx, r, e)
	if err != nil {
		return err
	}
	if err := m.apply(ctx, []*plan{p}); err != nil {
		return err
	}
	return m.config.DB.Update(func(tx *kv.Tx) error { return tx.Delete(retirePrefix + base) })
}

// retiredEdit is the step after which a session is stored whole, and retired. Of one with more parts than go in one swap the oldest archived ones go.
func (m *Messages) retiredEdit(peer string, k known) (e edit, err error) {
	for _, archived := range []int{maxRetained, 8, 0} {
		s, err := ratchet.OpenSession(m.config.Local, ratchet.Address{Name: peer, Device: 1}, k.contents.all(), k.record.counter)
		if err != nil {
			return edit{}, err
		}
		err = s.Retire(archived, func(c ratchet.Change) error { e = wholeEdit(k.contents, c); return nil })
		s.Wipe()
		if err != nil {
			return edit{}, err
		}
		size := 0
		for _, p := range e.put {
			size += len(p.Body)
		}
		if len(e.put) <= maxPutBack && size <= maxPutBackBytes {
			return e, nil
		}
		e.wipe()
	}
	return edit{}, fault.New(fault.TooLarge, "the session is too large to be put back at once")
}

// wholeEdit is what a change makes of contents.
func wholeEdit(before *contents, c ratchet.Change) edit {
	e := edit{counter: c.Counter, begins: true}
	for i, p := range c.Put {
		if p.Body = bytes.Clone(p.Body); i == 0 {
			e.head = p.Body
		} else {
			e.put = append(e.put, p)
		}
	}
	for _, p := range before.parts {
		isPut := slices.ContainsFunc(c.Put, func(put ratchet.Part) bool { return put.ID == p.ID })
		if !isPut && !slices.Contains(c.Drop, p.ID) {
			e.put = append(e.put, ratchet.Part{ID: p.ID, Body: bytes.Clone(p.Body)})
		}
	}
	return e
}

func (e *edit) wipe() {
	secret.Wipe(e.head)
	for _, p := range e.put {
		secret.Wipe(p.Body)
	}
}

// placeOf returns a record without contents, of that version, in the place of what the coordinator has.
func (m *Messages) placeOf(ctx context.Context, base string, version uint64) (*record, error) {
	r := &record{base: base, version: version, fresh: true, parts: map[ratchet.PartID]part{}}
	list, err := m.config.Blobs.List(ctx, base)
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		if b.Name == headName(base) {
			r.head = b.version()
		} else if id, ok := partID(base, b.Name); ok {
			r.parts[id] = part{version: 1, blob: b.version()}
		}
	}
	return r, nil
}

// putBackBodies stores bodies again of which the coordinator knows nothing any more, or that it has as they were before Reseal.
func (m *Messages) putBackBodies(ctx context.Context) (n int, err error) {
	list, err := m.bodies()
	if err != nil || len(list) == 0 {
		return 0, err
	}
	m.receiving.Lock()
	defer m.receiving.Unlock()
	there, err := m.config.Blobs.List(ctx, receivedPrefix)
	if err != nil {
		return 0, err
	}
	for _, b := range list {
		was := named(there, b.name)
		if was.Removed || was.Counter >= b.counter {
			continue // it was taken, or waits
		}
		err := m.putBackBody(ctx, b, was.version())
		switch {
		case err == nil:
			n++
		case fault.Transient(err) && !errors.Is(err, fault.Conflict), ctx.Err() != nil:
			return n, err
		}
	}
	return n, nil
}

func (m *Messages) putBackBody(ctx context.Context, b body, was version) error {
	w, err := m.openReceived(ctx, &Blob{Name: b.name, Counter: b.counter, Body: b.sealed})
	if err != nil {
		return err
	}
	defer secret.Wipe(w.Body)
	first, err := m.config.Blobs.First(ctx)
	if err != nil {
		return err
	}
	was = was.or(first)
	sealed, err := m.sealReceived(ctx, b.name, was.counter+1, *w)
	if err != nil {
		return err
	}
	c := change(b.name, was, sealed)
	if err := m.swap(ctx, []BlobChange{c}); err != nil {
		return err
	}
	return m.config.DB.Update(func(tx *kv.Tx) error { return m.keepBodies(tx, []BlobChange{c}) })
}
