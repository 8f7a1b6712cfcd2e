package daemon

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"coldframe/daemon/devices"
	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// deviceFileName is the device key file, in the data folder.
const deviceFileName = "device.key"

const (
	// loginDeviceKey holds the id of the device that the stored sessions are of. It is in no backup: another machine is another device.
	loginDeviceKey = "meta/login-device"

	// formerDeviceKey held that id before there were device keys.
	formerDeviceKey = "meta/device"
)

func (a *Agent) deviceFile() string { return filepath.Join(a.cfg.Folders.Data, deviceFileName) }

// deviceID returns the id of this machine's device, which is that of its device key. A machine without one gets it here, before it logs in
// anywhere: under the id that it logged in with before there were device keys, if it did, else under a new one. Sessions of another id, as
// after the loss of the file, are forgotten.
//
// A file that is damaged, open to others or another user's is a failure, and stays; but one of another user that was never used goes: a
// login or registration that came to nothing left it.
func (a *Agent) deviceID(user string) (string, error) {
	a.device.Lock()
	defer a.device.Unlock()
	u, err := uuid.Parse(user)
	if err != nil {
		return "", fault.Wrap(fault.Incomplete, err, "the user's id cannot be read")
	}
	d, err := devices.OpenDevice(atomicfile.OS, a.deviceFile(), devices.UserID(u))
	if errors.Is(err, fault.NotAuthentic) && devices.RemoveUnused(atomicfile.OS, a.deviceFile()) == nil {
		err = errNoDevice
	}
	if errors.Is(err, fault.Incomplete) {
		d, err = a.createDevice(devices.UserID(u))
	}
	if errors.Is(err, fault.NotAuthentic) { // not to be taken for a wrong password
		err = fault.Wrap(fault.Incomplete, err, "the device key of this machine is damaged or another user's; moved away, it becomes a new device")
	}
	if err != nil {
		return "", err
	}
	defer d.Wipe()
	id := d.ID.String()
	return id, a.adoptDevice(id)
}

var errNoDevice = fault.New(fault.Incomplete, "this machine has no device key of its user")

// createDevice makes the device key file.
func (a *Agent) createDevice(user devices.UserID) (*devices.Device, error) {
	id := devices.NewDeviceID()
	err := a.db.View(func(tx *kv.Tx) error {
		b, err := tx.Get(formerDeviceKey)
		if err != nil {
			return err
		}
		id, err = devices.ParseDeviceID(string(b))
		return err
	})
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	return devices.CreateDeviceAs(atomicfile.OS, a.deviceFile(), user, id, a.clock.Now())
}

// adoptDevice makes stored sessions those of a device.
func (a *Agent) adoptDevice(id string) error {
	known := false
	err := a.db.View(func(tx *kv.Tx) error {
		b, err := tx.Get(loginDeviceKey)
		known = err == nil && string(b) == id
		return err
	})
	if known || err != nil && !errors.Is(err, fault.NotFound) {
		return err // also on a full disk
	}
	return a.db.Update(func(tx *kv.Tx) error {
		before, err := loggedInAs(tx)
		if err == nil && before != id {
			err = forgetSessions(tx)
		}
		return errors.Join(err, tx.Set(loginDeviceKey, []byte(id)), tx.Delete(formerDeviceKey))
	})
}

// loggedInAs returns the id that this machine logged in with; "" if it never did.
func loggedInAs(tx *kv.Tx) (string, error) {
	for _, key := range []string{loginDeviceKey, formerDeviceKey} {
		b, err := tx.Get(key)
		if !errors.Is(err, fault.NotFound) {
			return string(bytes.Clone(b)), err
		}
	}
	return "", nil
}

// forgetSessions removes the tokens of every coordinator.
func forgetSessions(tx *kv.Tx) error {
	var keys []string
	err := tx.Scan(linkPrefix, func(key string, _ []byte) error {
		if strings.HasSuffix(key, "/tokens") {
			keys = append(keys, key)
		}
		return nil
	})
	for _, key := range keys {
		err = errors.Join(err, tx.Delete(key))
	}
	return err
}
