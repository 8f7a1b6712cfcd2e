package daemon

import (
	"context"
	"errors"
	"strings"

	"coldframe/daemon/devices"
	"coldframe/daemon/link"
	"coldframe/internal/kv"
)

// endingPrefix ‖ id of a device that is removed, and whose slot of the vault or session at the coordinator is still there as far as this machine
// knows: what a removed device can still do there is read what is sealed, and be in the way. The record is empty.
const endingPrefix = "ending/"

// noteEnding notes that what a device opens vault and coordinator with is to be ended. It is called before the device is removed, with removing
// held until that is done or failed: a round in between would take the note away.
func (a *Agent) noteEnding(id devices.DeviceID) error {
	return a.db.Update(func(tx *kv.Tx) error { return tx.Set(endingPrefix+id.String(), nil) })
}

// endings returns the devices that are noted.
func (a *Agent) endings() (ids []devices.DeviceID, err error) {
	err = a.db.View(func(tx *kv.Tx) error {
		return tx.Scan(endingPrefix, func(key string, _ []byte) error {
			id, err := devices.ParseDeviceID(strings.TrimPrefix(key, endingPrefix))
			if err == nil {
				ids = append(ids, id)
			}
			return err
		})
	})
	return ids, err
}

// endSessions takes the noted devices their slot, and logs them out of the coordinator, each until that was done once. One that is not removed after
// all is let be.
func (y *syncer) endSessions(ctx context.Context) error {
	y.removing.Lock()
	defer y.removing.Unlock()
	ids, err := y.a.endings()
	if err != nil || len(ids) == 0 {
		return err
	}
	if y.memberErr != nil {
		return y.memberErr
	}
	for _, id := range ids {
		err = errors.Join(err, y.endSession(ctx, id))
	}
	return err
}

func (y *syncer) endSession(ctx context.Context, id devices.DeviceID) error {
	removed, err := y.member.HasRemoved(ctx, id)
	if err != nil {
		return err
	}
	if removed {
		if err := errors.Join(y.logOut(ctx, id), y.dropSlot(ctx)); err != nil {
			return err
		}
	}
	return y.a.db.Update(func(tx *kv.Tx) error { return tx.Delete(endingPrefix + id.String()) })
}

func (y *syncer) logOut(ctx context.Context, id devices.DeviceID) error {
	c, err := y.client()
	if err != nil {
		return err
	}
	if err := c.EndSession(ctx, id.String()); err != nil {
		return link.Failure(err)
	}
	return nil
}
