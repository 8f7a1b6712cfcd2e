package daemon

import (
	"context"
	"encoding/binary"
	"errors"

	"coldframe/daemon/devices"
	"coldframe/daemon/membership"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// recoveryKey holds the link by which this machine begins the device list again, from before it leaves until all that follows of it is
// done: sequence (8, big-endian) ‖ SHA-256 (32). Of a link that another one has the place of, nothing follows.
const recoveryKey = "meta/recovery"

// intendRecovery writes that link down.
func (y *syncer) intendRecovery(h devices.Head) error {
	return y.a.db.Update(func(tx *kv.Tx) error {
		return tx.Set(recoveryKey, append(binary.BigEndian.AppendUint64(nil, h.Sequence), h.Hash[:]...))
	})
}

// intendedRecovery returns what intendRecovery wrote; zero: nothing.
func (y *syncer) intendedRecovery() (h devices.Head, err error) {
	err = y.a.db.View(func(tx *kv.Tx) error {
		b, err := tx.Get(recoveryKey)
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		if err == nil && len(b) != 8+len(h.Hash) {
			err = fault.New(fault.NotAuthentic, "the record of a recovery is none")
		}
		if err == nil {
			h = devices.Head{Sequence: binary.BigEndian.Uint64(b), Hash: devices.Hash(b[8:])}
		}
		return err
	})
	return h, err
}

// finishRecovery does what follows of a recovery that this machine made, once it is on the list by it: all sessions and prekeys are given up,
// of which nobody has the keys any more, no other machine opens the vault unattended, and the vault passes for the newest. It is done before anything else is with messages, and again
// from the beginning after a crash. A machine that was refused, and came onto the list otherwise, gives nothing up.
func (y *syncer) finishRecovery(ctx context.Context) error {
	y.recovering.Lock()
	defer y.recovering.Unlock()
	h, err := y.intendedRecovery()
	if err != nil || h == (devices.Head{}) {
		return err
	}
	if state, _ := y.member.State(); state != membership.Listed { // nobody knows yet what became of it
		return nil
	}
	mine := y.member.Follows(h)
	if mine {
		if err := y.restartAll(ctx); err != nil {
			return err
		}
		if err := y.a.dropOtherSlot(ctx); err != nil {
			return err
		}
		if err := errors.Join(y.acceptForks(), y.trustVault()); err != nil {
			return err
		}
	}
	if err := y.a.db.Update(func(tx *kv.Tx) error { return tx.Delete(recoveryKey) }); err != nil {
		return err
	}
	if mine {
		y.a.event(Event{Type: EventDeviceAlone})
	}
	return nil
}

// restartAll gives all sessions up, and the prekeys: those that the coordinator has of them go with the next upload.
func (y *syncer) restartAll(ctx context.Context) error {
	y.offering.Lock()
	defer y.offering.Unlock()
	if err := y.forgetOffered(); err != nil {
		return err
	}
	return y.mail.RestartAll(ctx)
}
