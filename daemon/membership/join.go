package membership

import (
	"context"
	"errors"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
)

// begin makes the first link of the user's list, with this device alone. Another machine may be faster.
func (m *Member) begin(ctx context.Context) error {
	u, err := devices.NewList(m.author(), m.o.Name)
	if err != nil {
		return err
	}
	_, err = m.send(ctx, u)
	return err
}

// Ask puts the request of this machine to the coordinator, and returns the pairing code that is to be typed in on a listed device, in six
// groups of digits; the caller wipes it. Asking again, under the same name, gives the same code while the request is there: an approval may be
// on its way. fault.Conflict: this machine is listed. fault.Revoked: it was removed, see Reset.
func (m *Member) Ask(ctx context.Context, name string) (code []byte, err error) {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := m.sync(ctx); err != nil && !errors.Is(err, fault.Revoked) {
		return nil, err
	}
	if _, err := m.list.Find(m.device.ID); !errors.Is(err, fault.Forbidden) {
		if err == nil {
			err = fault.New(fault.Conflict, "this machine is one of the user's devices already")
		}
		return nil, err
	}
	if code := m.askedBefore(ctx, name); code != nil {
		return code, nil
	}
	sealed, c, err := m.device.Ask(m.o.Sealer, name, m.o.Now())
	defer c.Wipe()
	if err == nil {
		err = m.o.Records.Write(ctx, devices.RequestName(m.device.ID), sealed)
	}
	if err != nil {
		return nil, err
	}
	m.asked = true
	m.conclude(nil)
	return c.Text(), nil
}

// askedBefore returns the code of the request that is at the coordinator, if this machine made it with that code, under that name; or nil.
func (m *Member) askedBefore(ctx context.Context, name string) []byte {
	c, err := m.device.Code()
	defer c.Wipe()
	if err != nil {
		return nil
	}
	r, err := m.request(ctx, m.device.ID)
	if err == nil {
		_, err = r.Approve(c)
	}
	if err != nil || r.Name != name {
		return nil
	}
	return c.Text()
}

// Recover begins the list again with this machine alone, for a user who has lost all other devices: they are removed, and what was sealed
// under their state key is lost. Before the link leaves, intend is called with what it will be, to make that durable (see Follows); it must
// not call the Member, and its failure ends all. fault.Conflict: this machine is on the list, or was removed from it (see Reset).
func (m *Member) Recover(ctx context.Context, name string, intend func(devices.Head) error) error {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for range maxTries {
		if err := m.sync(ctx); err != nil && !errors.Is(err, fault.Revoked) {
			return err
		}
		u, err := m.list.Recover(m.author(), name)
		if err == nil {
			err = intend(u.List.Head())
		}
		if err != nil {
			return err
		}
		won, err := m.send(ctx, u)
		if err != nil {
			return err
		}
		if won {
			_ = m.o.Records.Remove(ctx, devices.RequestName(m.device.ID)) // if it is left, Requests removes it
			m.conclude(m.settle(ctx, devices.Head{}))
			return nil
		}
	}
	return errLost
}

// AcceptRecovery follows the recovery that Sync found (State Recovered), after the user said that it was they who began the list again.
// A device that was on the list is Removed by it. fault.NotFound: there is none.
func (m *Member) AcceptRecovery(ctx context.Context) error {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if m.recovery.IsZero() {
		return fault.New(fault.NotFound, "there is no recovery to accept")
	}
	m.accepted = m.recovery
	if err := m.sync(ctx); !errors.Is(err, fault.Revoked) {
		return err
	}
	return nil
}

// Reset forgets the device key and everything of the list: this machine is a new one afterwards, under a new id, which can ask to be
// approved. It is the way back for one that was removed, or to which a list was shown that cannot be. fault.Conflict: it is listed, and all
// is well; remove it first.
func (m *Member) Reset(ctx context.Context) error {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if m.state == Listed && !m.halted {
		return fault.New(fault.Conflict, "this machine is one of the user's devices; it must be removed first")
	}
	_ = m.o.Records.Remove(ctx, devices.RequestName(m.device.ID)) // nobody approves it: the key is gone
	if err := m.save(nil, nil, nil, false); err != nil {
		return err
	}
	m.mu.Lock()
	m.dropRing()
	m.mu.Unlock()
	m.recovery, m.accepted = devices.Hash{}, devices.Hash{}
	if err := m.device.Destroy(); err != nil {
		return err
	}
	if err := m.openDevice(); err != nil {
		return err
	}
	m.conclude(nil)
	return nil
}
