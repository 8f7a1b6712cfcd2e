package membership

import (
	"context"
	"errors"
	"slices"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Sync follows the list, finishes what was interrupted, begins the list if the user has none, and gets the state keys. Its failure is also
// that of State; that of Options.MayBegin is one of them:
//
//	unavailable    the coordinator, or the vault, is not to be reached; what is known stays
//	rolled_back    the list is shorter than it was here, or than another device noted
//	forked         it is another than it was; that stays until Reset
//	untrusted_key  State Recovered: a recovery that nobody accepted. State Asking: this machine was listed by somebody without its code
//	revoked        this device was removed
//	incomplete     the coordinator does not have a wraps record
//	not_authentic  a link or a record is not what it must be
func (m *Member) Sync(ctx context.Context) (State, error) {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return Unknown, err
	}
	defer leave()
	if err := m.sync(ctx); err != nil {
		return m.state, err
	}
	return m.state, m.minor
}

// sync does what Sync says. The caller holds the turn.
func (m *Member) sync(ctx context.Context) error {
	err := m.catchUp(ctx)
	m.conclude(err)
	return err
}

func (m *Member) catchUp(ctx context.Context) error {
	if m.life.Err() != nil {
		return errClosed
	}
	m.minor = nil
	remembered, err := m.o.Remembered()
	if err != nil {
		return err
	}
	if err := m.seeRequest(ctx); err != nil {
		return err
	}
	if err := m.follow(ctx, remembered); err != nil {
		return err
	}
	if m.list == nil && m.o.MayBegin != nil { // no list was read after this: the answer is about the one that was not there
		if err := m.o.MayBegin(ctx); err != nil {
			return err
		}
	}
	if m.pending != nil {
		if _, err := m.resend(ctx); err != nil {
			return err
		}
	}
	if m.list == nil {
		if err := m.begin(ctx); err != nil {
			return err
		}
	}
	return m.settle(ctx, remembered)
}

// seeRequest looks whether the request of this machine is still at the coordinator; before the list is read, because an approver removes
// it after the list has this device.
func (m *Member) seeRequest(ctx context.Context) error {
	if !m.asks() {
		return nil
	}
	b, err := m.o.Records.Read(ctx, devices.RequestName(m.device.ID))
	if err == nil {
		m.asked = b != nil
	}
	return err
}

// follow takes over the links that are new, as far as they are in order. Remembered is the vault's head, or zero.
func (m *Member) follow(ctx context.Context, remembered devices.Head) error {
	if m.forked {
		return errForked
	}
	if m.list == nil {
		return m.open(ctx, remembered)
	}
	links, err := m.o.Links.After(ctx, m.list.Sequence-1)
	if err != nil {
		return err
	}
	if len(links) == 0 {
		return fault.New(fault.RolledBack, "the coordinator does not have device list %d any more", m.list.Sequence)
	}
	if err := m.walk(links); err != nil {
		return err
	}
	return m.judge(remembered)
}

var errForked = fault.New(fault.Forked, "the coordinator has shown two device lists; this machine must be set up anew")

// open reads a whole list, if there is one.
func (m *Member) open(ctx context.Context, remembered devices.Head) error {
	links, err := m.o.Links.After(ctx, 0)
	if err != nil {
		return err
	}
	if len(links) == 0 {
		if remembered.Sequence > 0 || m.device.Joined() || m.asks() {
			return fault.New(fault.RolledBack, "the coordinator has no device list any more")
		}
		return nil
	}
	list, err := devices.OpenList(m.owner, remembered, links)
	if err != nil {
		return err
	}
	if m.pending != nil { // the first link of a list, or its loss
		m.pending.taken = signed.Hash(links[0]) == [32]byte(m.pending.list.Hash)
	}
	return m.take(list, links, nil)
}

// walk goes through links that begin with the newest known one. Those before one that is not in order are taken over.
func (m *Member) walk(links [][]byte) error {
	list, kept, p := m.list, slices.Clip(m.links), m.pending
	var failed error
	for _, link := range links {
		next, err := m.step(list, link)
		if err != nil {
			failed = err
			break
		}
		if next.Hash != list.Hash {
			kept = append(kept, link)
		}
		if p != nil && next.Sequence == p.list.Sequence {
			p.taken, p = next.Hash == p.list.Hash, nil
		}
		list = next
	}
	if errors.Is(failed, fault.Forked) {
		return errors.Join(failed, m.save(m.list, m.links, m.pending, true))
	}
	if list.Hash == m.list.Hash {
		return failed
	}
	return errors.Join(failed, m.take(list, kept, p))
}

// step follows one link. A recovery is followed by a machine that neither asked nor joined, for which it is history; by the one that made
// it; and by one whose user has accepted it.
func (m *Member) step(list *devices.List, link []byte) (*devices.List, error) {
	m.recovery = devices.Hash{}
	if signed.Hash(link) == [32]byte(list.Hash) {
		return list, nil // it was judged when it was followed
	}
	next, err := m.device.Follow(list, [][]byte{link})
	if !errors.Is(err, fault.UntrustedKey) {
		return next, err
	}
	recovered, notOne := list.Recovered(link)
	if notOne != nil {
		return nil, err
	}
	own := m.pending != nil && m.pending.list.Hash == recovered.Hash
	if own || recovered.Hash == m.accepted || !m.device.Joined() && !m.asks() {
		return recovered, nil
	}
	m.recovery = recovered.Hash
	return nil, err
}

// judge holds the list against the head in the vault.
func (m *Member) judge(remembered devices.Head) error {
	if remembered.Sequence > m.list.Sequence {
		return fault.New(fault.RolledBack, "the device list ends at %d, and another device knows %d", m.list.Sequence, remembered.Sequence)
	}
	if known, ok := m.hashAt(remembered.Sequence); ok && known != remembered.Hash {
		return errors.Join(errForked, m.save(m.list, m.links, m.pending, true))
	}
	return nil
}

// settle makes this device what the list says it is.
func (m *Member) settle(ctx context.Context, remembered devices.Head) error {
	switch _, err := m.list.Find(m.device.ID); {
	case errors.Is(err, fault.Revoked):
		return err
	case err != nil:
		return nil //nolint:nilerr // unlisted, or asking
	}
	if err := m.device.Settle(m.list); err != nil {
		return err
	}
	if !m.device.Joined() {
		return fault.New(fault.UntrustedKey, "this machine was listed by somebody who did not know its code")
	}
	if err := m.unlock(ctx); err != nil {
		return err
	}
	if !m.needsReseal() {
		if err := m.device.EraseFormer(); err != nil {
			return err
		}
	}
	if remembered.Sequence < m.list.Sequence {
		m.minor = errors.Join(m.minor, m.o.Note(ctx, m.list.Head()))
	}
	return nil
}
