package membership

import (
	"context"
	"errors"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// Current returns the newest state key, which stays the Member's. fault.Locked: there is none, or something is wrong with the list and
// nothing new is to be sealed; that failure is in the chain of this one.
func (m *Member) Current(context.Context) (epoch uint64, key secret.Key, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ring == nil || m.list == nil || m.state != Listed {
		return 0, secret.Key{}, m.locked()
	}
	k, err := m.ring.Current()
	if err != nil {
		return 0, secret.Key{}, err
	}
	if k.Epoch != m.list.Epoch || m.halted {
		return 0, secret.Key{}, m.locked()
	}
	return k.Epoch, k.Key, nil
}

func (m *Member) locked() error {
	return fault.Wrap(fault.Locked, m.err, "this device has no state key to seal with")
}

// At returns the state key of an epoch, which stays the Member's. For one to come it follows the list. fault.NotFound: it was erased, or
// never reached this device. fault.Locked: there is no state key at all, for now.
func (m *Member) At(ctx context.Context, epoch uint64) (secret.Key, error) {
	key, err := m.at(epoch)
	if !errors.Is(err, fault.Incomplete) {
		return key, err
	}
	_, failed := m.Sync(ctx)
	key, err = m.at(epoch)
	switch {
	case !errors.Is(err, fault.Incomplete):
		return key, err
	case transient(failed):
		return secret.Key{}, failed
	case failed != nil:
		return secret.Key{}, fault.Wrap(fault.Locked, failed, "the state key of epoch %d is not to be had now", epoch)
	}
	return secret.Key{}, fault.Wrap(fault.NotFound, err, "the state key never reached this device")
}

func (m *Member) at(epoch uint64) (secret.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ring == nil {
		return secret.Key{}, m.locked()
	}
	key, err := m.ring.Open(epoch)
	if errors.Is(err, fault.Stale) {
		return secret.Key{}, fault.Wrap(fault.NotFound, err, "the state key is not there any more")
	}
	return key, err
}

// transient reports whether a failure says nothing about the list: another try may succeed, after one of our own as well.
func transient(err error) bool {
	return err != nil && (fault.Transient(err) || fault.CodeOf(err) == fault.Internal)
}

// NeedsReseal reports whether something may still be sealed under the former state key, and the epoch of the present one. Take the epoch,
// seal everything again under the present key (messages.Reseal), and then call Resealed with it. Every device has to, one that never held
// the former key as well: until it has seen that nothing is sealed under that key, it must not begin another epoch.
func (m *Member) NeedsReseal() (epoch uint64, needed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != Listed || !m.needsReseal() {
		return 0, false
	}
	return m.list.Epoch, true
}

// needsReseal: there is a former epoch, of which some device is left. After a recovery nobody is, and what was sealed is lost. The caller
// holds turn or mu.
func (m *Member) needsReseal() bool {
	former, ok := m.list.Former()
	if !ok {
		return false
	}
	for _, e := range former.Devices {
		if _, err := m.list.Find(e.ID); err == nil {
			return true
		}
	}
	return false
}

// Resealed erases the former state key and device key, after everything was sealed again under the key of the epoch. Another epoch than
// the present one is fault.Conflict: the state key was replaced meanwhile.
func (m *Member) Resealed(ctx context.Context, epoch uint64) error {
	_, leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	switch {
	case m.list == nil || m.state != Listed:
		return fault.New(fault.Forbidden, "this device is not on the list")
	case m.list.Epoch != epoch || m.pending != nil:
		return fault.New(fault.Conflict, "the state key is being replaced again")
	case !m.needsReseal():
		return nil
	}
	newest := m.links[len(m.links)-1:]
	list, err := devices.RestoreList(m.owner, m.list.Head(), newest) // without the former
	if err == nil {
		err = m.take(list, newest, nil)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	if m.ring != nil {
		m.ring.EraseFormer()
	}
	m.mu.Unlock()
	return m.device.EraseFormer()
}

// unlock gets the state keys that are still to be had. The caller holds the turn, and this device is on the list.
func (m *Member) unlock(ctx context.Context) error {
	if m.ringEpoch() != m.list.Epoch {
		r, err := m.newest(ctx)
		if err != nil {
			return err
		}
		k, err := r.Unwrap(m.device)
		if err != nil {
			return err
		}
		if err := m.install(k); err != nil {
			return err
		}
	}
	m.minor = m.hold(ctx)
	return nil
}

// ringEpoch returns the epoch of the present state key; 0: there is none.
func (m *Member) ringEpoch() uint64 {
	if m.ring == nil {
		return 0
	}
	k, err := m.ring.Current()
	if err != nil {
		return 0
	}
	return k.Epoch
}

// install takes over the state key of the newest link. The one before stays if it is that of the former epoch; one older than that is
// erased: whoever began the newest epoch saw that nothing is sealed under it.
func (m *Member) install(k devices.StateKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if former, ok := m.list.Former(); ok && m.ringEpoch() == former.Epoch {
		m.ring.EraseFormer()
		return m.ring.Advance(k)
	}
	m.dropRing()
	m.ring = devices.NewRing(k)
	return nil
}

// hold unwraps the former state key again, if it is needed and this device had it.
func (m *Member) hold(ctx context.Context) error {
	former, ok := m.list.Former()
	if !ok || !m.needsReseal() || m.ring.Former() {
		return nil
	}
	if _, err := former.Find(m.device.ID); err != nil {
		return nil //nolint:nilerr // it never had that key, and waits until another device has sealed everything again
	}
	r, err := m.read(ctx, former)
	var k devices.StateKey
	if err == nil {
		k, err = r.Unwrap(m.device)
	}
	if keyLost(err) {
		return nil
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ring.Hold(k)
}

// keyLost reports whether a former state key comes back no more, and what is sealed under it is to be passed over: this device erased its own key
// of then, and so has sealed everything again; or the coordinator lost the record, or has another, and nobody writes one of a former epoch anew.
func keyLost(err error) bool {
	return errors.Is(err, fault.KeyChanged) || errors.Is(err, fault.Incomplete) || errors.Is(err, fault.NotAuthentic)
}

// newest returns the wraps record of the newest link, which it follows once more if the record is not that one: another device may have
// gone on meanwhile.
func (m *Member) newest(ctx context.Context) (*devices.Record, error) {
	for try := 1; m.record == nil; try++ {
		r, err := m.read(ctx, m.list)
		if err == nil {
			m.record = r
			break
		}
		before := m.list.Hash
		if transient(err) || try == maxTries {
			return nil, err
		}
		if err := m.follow(ctx, devices.Head{}); err != nil {
			return nil, err
		}
		if m.list.Hash == before {
			return nil, err
		}
	}
	return m.record, nil
}

// read returns the wraps record of the newest link of a list. fault.Incomplete: it is not there.
func (m *Member) read(ctx context.Context, l *devices.List) (*devices.Record, error) {
	sealed, err := m.o.Records.Read(ctx, l.WrapsName())
	if err != nil {
		return nil, err
	}
	if sealed == nil {
		return nil, fault.New(fault.Incomplete, "the coordinator does not have the state key of device list %d", l.Sequence)
	}
	r, err := devices.OpenRecord(l, m.o.Sealer, sealed)
	if err == nil && l == m.list {
		m.remember(l, m.links, sealed)
	}
	return r, err
}
