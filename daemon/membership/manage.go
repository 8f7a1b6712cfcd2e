package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"coldframe/daemon/devices"
	"coldframe/internal/fault"
)

const (
	requestPrefix = "d-request-"
	maxRequests   = 64  // that are returned
	maxNames      = 256 // of which blobs are read
	slots         = 4   // of wraps records of a device
)

// Request is a machine that asks to be approved. Nothing of it is known to be true before the code was compared.
type Request struct {
	Device devices.DeviceID
	Name   string
	Time   time.Time
}

// Device is one of the user's devices.
type Device struct {
	ID      devices.DeviceID
	Name    string
	Added   time.Time // of the link that first named it
	KeyTime time.Time // of the link that first named its present key
	This    bool      // this machine
}

// Requests returns the machines that ask to be approved, at most 64. What cannot be read is passed over, and the requests of machines that
// were listed or removed since are removed.
func (m *Member) Requests(ctx context.Context) ([]Request, error) {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	names, err := m.o.Records.List(ctx, requestPrefix)
	if err != nil {
		return nil, err
	}
	var list []Request
	for _, name := range names[:min(len(names), maxNames)] {
		id, err := devices.ParseDeviceID(strings.TrimPrefix(name, requestPrefix))
		if err != nil || id == m.device.ID || len(list) == maxRequests {
			continue
		}
		if m.decided(id) {
			_ = m.o.Records.Remove(ctx, name)
			continue
		}
		r, err := m.request(ctx, id)
		if transient(err) {
			return nil, err
		}
		if err == nil {
			list = append(list, Request{Device: id, Name: r.Name, Time: time.UnixMilli(r.Time)})
		}
	}
	return list, nil
}

// Lists reports whether a device is one of the user's, as far as this machine knows.
func (m *Member) Lists(id devices.DeviceID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.list == nil || m.state != Listed {
		return false
	}
	_, err := m.list.Find(id)
	return err == nil
}

// decided reports whether a device is listed or was removed.
func (m *Member) decided(id devices.DeviceID) bool {
	if m.list == nil {
		return false
	}
	_, err := m.list.Find(id)
	return !errors.Is(err, fault.Forbidden)
}

func (m *Member) request(ctx context.Context, id devices.DeviceID) (*devices.Request, error) {
	sealed, err := m.o.Records.Read(ctx, devices.RequestName(id))
	if err != nil {
		return nil, err
	}
	if sealed == nil {
		return nil, fault.New(fault.NotFound, "that machine does not ask to be approved")
	}
	return devices.OpenRequest(m.o.Sealer, m.o.User, id, sealed)
}

// Approve lists a machine whose request was made with the code that the user typed in. fault.UntrustedKey: it was made with another;
// fault.InvalidRequest: that is no code; fault.NotFound: there is no request; fault.Revoked: the machine was removed once. One that is
// listed already is nil.
func (m *Member) Approve(ctx context.Context, id devices.DeviceID, typed []byte) error {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	code, err := devices.ParseCode(typed)
	if err != nil {
		return err
	}
	defer code.Wipe()
	err = m.change(ctx, func(l *devices.List) (devices.Changes, bool, error) {
		if _, err := l.Find(id); !errors.Is(err, fault.Forbidden) {
			return devices.Changes{}, false, err
		}
		r, err := m.request(ctx, id)
		if err != nil {
			return devices.Changes{}, false, err
		}
		a, err := r.Approve(code)
		return devices.Changes{Add: []*devices.Approved{a}}, true, err
	})
	if err == nil {
		_ = m.o.Records.Remove(ctx, devices.RequestName(id)) // if it is left, Requests removes it
	}
	return err
}

// Remove removes a device for ever, and replaces the state key. fault.NotFound: it is not on the list. fault.Conflict: it is the last one,
// or not everything was sealed again yet (see NeedsReseal). One that was removed before is nil.
func (m *Member) Remove(ctx context.Context, id devices.DeviceID) error {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	err = m.change(ctx, func(l *devices.List) (devices.Changes, bool, error) {
		_, err := l.Find(id)
		if errors.Is(err, fault.Revoked) {
			return devices.Changes{}, false, nil
		}
		return devices.Changes{Remove: []devices.DeviceID{id}}, true, notListed(err)
	})
	if err == nil {
		m.tidy(ctx, id)
	}
	return err
}

func notListed(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.NotFound, err, "there is no such device")
}

// tidy removes the wraps records of a device that was removed, except one that is in use. What is left does no harm.
func (m *Member) tidy(ctx context.Context, id devices.DeviceID) {
	used := map[string]bool{m.list.WrapsName(): true}
	if former, ok := m.list.Former(); ok {
		used[former.WrapsName()] = true
	}
	for slot := range slots {
		if name := fmt.Sprintf("d-wraps-%s-%d", id, slot); !used[name] {
			_ = m.o.Records.Remove(ctx, name)
		}
	}
}

// Rename gives a device another name, which all of the user's devices see. fault.NotFound: it is not on the list.
func (m *Member) Rename(ctx context.Context, id devices.DeviceID, name string) error {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return m.change(ctx, func(l *devices.List) (devices.Changes, bool, error) {
		_, err := l.Find(id)
		return devices.Changes{Rename: map[devices.DeviceID]string{id: name}}, true, notListed(err)
	})
}

// Rotate replaces the state key and the key of this device, each if it is due: see devices.List.Due. Ask once a day, and at the start.
// fault.Conflict: not everything was sealed again yet (see NeedsReseal).
func (m *Member) Rotate(ctx context.Context) error {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return m.change(ctx, func(l *devices.List) (devices.Changes, bool, error) {
		now := m.o.Now()
		c := devices.Changes{Rotate: l.Due(now), NewKey: l.KeyDue(m.device.ID, now)}
		return c, c.Rotate || c.NewKey, nil
	})
}

// Devices returns the user's devices, in the order of their ids, as this machine knows them; fault.Unavailable before the first Sync.
func (m *Member) Devices(ctx context.Context) ([]Device, error) {
	ctx, leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if m.list == nil {
		return nil, fault.New(fault.Unavailable, "the device list was not seen yet")
	}
	r, err := m.newest(ctx)
	if err != nil {
		return nil, err
	}
	var list []Device
	for _, e := range m.list.Devices {
		list = append(list, Device{
			ID: e.ID, Name: r.Name(e.ID), Added: time.UnixMilli(e.Added), KeyTime: time.UnixMilli(e.KeyTime), This: e.ID == m.device.ID,
		})
	}
	return list, nil
}
