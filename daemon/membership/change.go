package membership

import (
	"context"
	"errors"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
)

// maxTries is how often something is tried that others can get in the way of.
const maxTries = 3

var errLost = fault.New(fault.Conflict, "other devices change the list all the time")

// plan says what to change of a list; false: nothing.
type plan func(l *devices.List) (devices.Changes, bool, error)

// change follows the list, makes a link of what the plan says, and takes it over; after the link of another device once more. It is done
// when it returns nil. After fault.Unavailable it may be done, or be done by the next Sync.
func (m *Member) change(ctx context.Context, p plan) error {
	for range maxTries {
		if err := m.sync(ctx); err != nil {
			return err
		}
		if m.state != Listed {
			return fault.New(fault.Forbidden, "this machine is not one of the user's devices yet")
		}
		c, wanted, err := p(m.list)
		if err != nil || !wanted {
			return err
		}
		u, err := m.sign(ctx, c)
		if err != nil {
			return err
		}
		won, err := m.send(ctx, u)
		if err != nil {
			return err
		}
		if won {
			m.conclude(m.settle(ctx, devices.Head{})) // what fails here the next Sync does; the link is made
			return nil
		}
	}
	return errLost
}

// sign makes the link.
func (m *Member) sign(ctx context.Context, c devices.Changes) (*devices.Update, error) {
	r, err := m.newest(ctx)
	if err != nil {
		return nil, err
	}
	if (c.Rotate || len(c.Remove) > 0) && m.needsReseal() {
		return nil, fault.New(fault.Conflict, "not everything was sealed again under the present state key yet")
	}
	if c.NewKey {
		if err := m.device.Stage(m.o.Now()); err != nil {
			return nil, err
		}
	}
	return m.list.Sign(m.author(), r, m.ring, c)
}

// send brings an update to the coordinator, and reports whether it was taken; without a failure and false, another link has its place.
// The state key in it is unwrapped from its record, as others do.
func (m *Member) send(ctx context.Context, u *devices.Update) (won bool, err error) {
	u.Drop()
	before := m.pending
	if err := m.save(m.list, m.links, &pending{link: u.Link, wraps: u.Wraps, list: u.List}, m.forked); err != nil {
		return false, err
	}
	if err := m.o.Records.Write(ctx, u.List.WrapsName(), u.Wraps); err != nil {
		return false, errors.Join(err, m.save(m.list, m.links, before, m.forked)) // nobody has seen the link
	}
	return m.add(ctx)
}

// resend sends the pending update again, the same bytes: nobody knows whether it is on its way.
func (m *Member) resend(ctx context.Context) (won bool, err error) {
	if err := m.o.Records.Write(ctx, m.pending.list.WrapsName(), m.pending.wraps); err != nil {
		return false, err
	}
	return m.add(ctx)
}

// add sends the link of the pending update, and finds out what became of it.
func (m *Member) add(ctx context.Context) (won bool, err error) {
	p := m.pending
	err = m.o.Links.Add(ctx, p.link, p.list.Sequence)
	switch code := fault.CodeOf(err); {
	case err == nil:
		return true, m.keep(p)
	case code != fault.Conflict && code != fault.Unavailable && code != fault.Internal:
		return false, errors.Join(err, m.save(m.list, m.links, nil, m.forked)) // it was not made
	}
	if seen := m.follow(ctx, devices.Head{}); seen != nil {
		return false, errors.Join(seen, err)
	}
	if m.pending != nil {
		return false, fault.Wrap(fault.Unavailable, err, "the coordinator does not say whether it took the link")
	}
	if p.taken {
		return true, m.keep(p)
	}
	return false, nil
}

// keep takes over an update that was taken, with its record.
func (m *Member) keep(p *pending) error {
	if m.list == nil || m.list.Sequence < p.list.Sequence {
		if err := m.take(p.list, append(m.links[:len(m.links):len(m.links)], p.link), nil); err != nil {
			return err
		}
	}
	if m.list.Hash == p.list.Hash {
		if r, err := devices.OpenRecord(m.list, m.o.Sealer, p.wraps); err == nil {
			m.record = r
			m.remember(m.list, m.links, p.wraps)
		}
	}
	return nil
}
