package membership

import (
	"context"
	"errors"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
)

// HasRemoved reports whether the list, as this machine knows it, says that a device was removed; fault.Unavailable before the first Sync, and of a
// device that is not while a change of the list is undecided, which may be its removal.
func (m *Member) HasRemoved(ctx context.Context, id devices.DeviceID) (bool, error) {
	_, leave, err := m.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	if m.list == nil {
		return false, fault.New(fault.Unavailable, "the device list was not seen yet")
	}
	if _, err = m.list.Find(id); errors.Is(err, fault.Revoked) {
		return true, nil
	}
	if m.pending != nil {
		return false, fault.New(fault.Unavailable, "a change of the device list is undecided")
	}
	return false, nil
}
