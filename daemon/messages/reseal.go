package messages

import (
	"context"
	"errors"
	"slices"
	"strings"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/ratchet"
)

// maxResealed is how many bytes of parts are sealed again in one swap.
const maxResealed = 512 << 10

// Reseal puts every record and every waiting body under the newest state key, so that older ones can be erased. It may be interrupted:
// what is done stays done, and the next call goes on. One that fails does not hold the others up; its failure is returned at the end, and
// then the older keys are still needed. They are not needed for what no key opens, nor for a record that was found to be wrong, which
// Restart alone helps: these are passed over, each with an event.
func (m *Messages) Reseal(ctx context.Context) error { return m.until(ctx, m.resealAll) }

func (m *Messages) resealAll(ctx context.Context) error {
	epoch, _, err := m.config.StateKeys.Current(ctx)
	if err != nil {
		return err
	}
	list, err := m.config.Blobs.List(ctx, "r-")
	if err != nil {
		return err
	}
	var failed error
	for _, base := range bases(list) {
		if err := m.resealRecord(ctx, base, epoch); err != nil {
			if fault.Transient(err) || ctx.Err() != nil {
				return err
			}
			failed = errors.Join(failed, m.passOver(peerOf(base), err))
		}
	}
	return errors.Join(failed, m.resealReceived(ctx, epoch))
}

// passOver returns a failure to seal something anew, nil if no key helps against it: nobody has one, or it is wrong for good.
func (m *Messages) passOver(peer string, err error) error {
	hopeless := []fault.Code{
		fault.RolledBack, fault.Forked, fault.NotAuthentic, fault.Policy, fault.NotFound, fault.Stale, fault.Incomplete,
	}
	if !errors.As(err, new(recordFault)) || !slices.Contains(hopeless, fault.CodeOf(err)) {
		return err
	}
	m.config.Event(Event{What: PassedOver, Peer: peer, Code: fault.CodeOf(err)})
	return nil
}

// bases returns the records whose heads are in a list.
func bases(list []Blob) (out []string) {
	for _, b := range list {
		if base := strings.TrimSuffix(b.Name, "-0"); headName(base) == b.Name && (base == preKeysBase || validUser(peerOf(base))) {
			out = append(out, base)
		}
	}
	return out
}

// resealRecord seals the parts of one record anew, in as many swaps as it takes. Others may change the record meanwhile.
func (m *Messages) resealRecord(ctx context.Context, base string, epoch uint64) error {
	for try := 0; try < maxTries; {
		done, err := m.resealSome(ctx, base, epoch, try > 0)
		switch {
		case done:
			return nil
		case errors.Is(err, fault.Conflict):
			try++
		case err != nil:
			return err
		}
	}
	return fault.New(fault.Conflict, "other agents change the record all the time")
}

// resealSome makes one swap, or reports that none is needed.
func (m *Messages) resealSome(ctx context.Context, base string, epoch uint64, remote bool) (done bool, err error) {
	m.lock()
	defer m.mu.Unlock()
	r, c, err := m.load(ctx, base, remote)
	if err != nil || r.version == 0 || len(c.head) == 0 {
		return err == nil, err
	}
	defer c.wipe()
	old, size := []ratchet.Part{}, 0
	for _, p := range c.parts {
		if r.parts[p.ID].epoch < epoch && (size == 0 || size+len(p.Body) <= maxResealed) {
			old, size = append(old, p), size+len(p.Body)
		}
	}
	if len(old) == 0 && r.epoch >= epoch {
		return true, nil
	}
	next, err := m.plan(ctx, r, edit{counter: r.counter, head: c.head, put: old})
	if err != nil {
		return false, err
	}
	if peer := peerOf(base); peer != "" {
		m.drop(peer)
	} else {
		m.dropPreKeys()
	}
	return false, m.apply(ctx, []*plan{next})
}

// resealReceived seals the bodies that wait anew. One that was taken meanwhile is none of them any more.
func (m *Messages) resealReceived(ctx context.Context, epoch uint64) error {
	m.receiving.Lock()
	defer m.receiving.Unlock()
	names, err := m.listStored(ctx)
	if err != nil {
		return err
	}
	var failed error
	for batch := range slices.Chunk(names, maxBatch) {
		blobs, unread, err := m.readBatch(ctx, batch)
		if err != nil {
			return err
		}
		for i := range blobs {
			err := m.resealBody(ctx, &blobs[i], epoch)
			switch {
			case err == nil, errors.Is(err, fault.Conflict):
			case fault.Transient(err), ctx.Err() != nil:
				return err
			default:
				failed = errors.Join(failed, m.passOver("", err))
			}
		}
		for _, err := range unread {
			failed = errors.Join(failed, m.passOver("", err))
		}
	}
	return failed
}

func (m *Messages) resealBody(ctx context.Context, blob *Blob, epoch uint64) error {
	if len(blob.Body) == 0 {
		return nil
	}
	was, err := EpochOf(blob.Body)
	if err != nil {
		return recordFault{err}
	}
	if was >= epoch {
		return m.renewBody(blob.Name, blob.Counter, blob.Body) // it was interrupted here, or another device did it
	}
	w, err := m.openReceived(ctx, blob)
	if err != nil {
		return recordFault{err}
	}
	defer secret.Wipe(w.Body)
	sealed, err := m.sealReceived(ctx, blob.Name, blob.Counter+1, *w)
	if err != nil {
		return err
	}
	m.step("reseal")
	c := change(blob.Name, blob.version(), sealed)
	err = m.swap(ctx, []BlobChange{c})
	m.step("resealed")
	if err != nil {
		return err
	}
	return m.renewBody(c.Name, c.Counter, c.Body)
}
