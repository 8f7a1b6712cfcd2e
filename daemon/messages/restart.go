package messages

import (
	"context"
	"errors"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

// Restart gives up the record of a peer that is rolled_back, forked or damaged, on the word of a person who has looked: the next message
// begins a new session, in a record that goes on from the highest one ever seen; one without content is enqueued, so that the user's other
// devices see it. A session that another device began since is taken over. A peer of "" stands for the prekeys, after which new bundles are
// to be offered. What is under way with the peer is not waited for.
func (m *Messages) Restart(peer string) error {
	base := preKeysBase
	if peer != "" {
		base = sessionBase(peer)
	}
	err := m.config.DB.Update(func(tx *kv.Tx) error {
		err := errors.Join(tx.Set(startPrefix+base, []byte{1}), tx.Delete(weakPrefix+base))
		if err == nil && peer != "" {
			_, err = m.EnqueueIn(tx, peer, KindHeads, nil)
		}
		if errors.Is(err, fault.StorageFull) { // what fills the outbox begins the session as well, or another message
			err = nil
		}
		return err
	})
	if err != nil {
		return err
	}
	m.givenUp.Store(peer, nil)
	m.Rescan() // what the record left in the mailbox may open now
	return nil
}

// lock locks mu for a use of sessions or prekeys, and closes what Restart gave up.
func (m *Messages) lock() {
	m.mu.Lock()
	m.givenUp.Range(func(peer, _ any) bool {
		m.givenUp.Delete(peer)
		m.drop(peer.(string)) //nolint:forcetypeassert // see Restart
		m.dropPreKeys()
		return true
	})
}

// RestartAll gives up every record there is, as when no device is left that has the state key: new sessions and prekeys, never old ones.
func (m *Messages) RestartAll(ctx context.Context) error {
	list, err := m.config.Blobs.List(ctx, "r-")
	if err != nil {
		return err
	}
	for _, base := range bases(list) {
		if err := m.Restart(peerOf(base)); err != nil {
			return err
		}
	}
	return nil
}

// abandoned returns a record without contents in the place of the one that the coordinator has, or had, as high as the highest of both.
func (m *Messages) abandoned(ctx context.Context, base string, at mark) (*record, error) {
	r := &record{base: base, version: at.version, counter: at.counter, fresh: true, parts: map[ratchet.PartID]part{}}
	list, err := m.config.Blobs.List(ctx, base)
	if err != nil {
		return nil, err
	}
	stored := false
	for _, b := range list {
		if b.Name == headName(base) {
			r.head, stored = b.version(), !b.Removed
		} else if id, ok := partID(base, b.Name); ok {
			p := part{blob: b.version()}
			if !b.Removed {
				p.version = 1
			}
			r.parts[id] = p
		}
	}
	if !stored { // a counter of the head is no lower than the version that it belonged to: who knows that one sees that this began since
		r.version = max(r.version, r.head.counter)
		return r, nil
	}
	head, err := m.config.Blobs.Read(ctx, []string{headName(base)})
	if err != nil && fault.Transient(err) {
		return nil, err
	}
	if err == nil && len(head) == 1 && len(head[0].Body) > 0 {
		if stored, w, err := m.openHead(ctx, base, head[0]); err == nil {
			secret.Wipe(w.Head)
			r.version, r.counter = max(r.version, stored.version), max(r.counter, stored.counter)
		}
	}
	return r, nil
}

// begunSince opens the record at the coordinator if it began anew after the mark, so that another device gave up the one that is wrong
// here; nil if it did not, or cannot be opened. Only who has the state key begins one.
func (m *Messages) begunSince(ctx context.Context, base string, at mark) (*record, *contents, error) {
	if at.version == 0 {
		return nil, nil, nil // nothing is known here of what was given up
	}
	r, c, blobs, err := m.assembleRemote(ctx, base, nil, 0)
	if err != nil || r == nil || r.begun <= at.version {
		c.wipe()
		return nil, nil, err
	}
	err = m.config.DB.Update(func(tx *kv.Tx) error {
		if err := errors.Join(tx.Delete(faultPrefix+base), tx.Delete(startPrefix+base)); err != nil {
			return err
		}
		return m.keepCopies(tx, r, blobs)
	})
	if err != nil {
		c.wipe()
		return nil, nil, err
	}
	return r, c, nil
}
