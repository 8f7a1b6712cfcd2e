package devices

import (
	"errors"
	"path/filepath"
	"time"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

// Device is this machine as a device of the user: its id and its device key, which lies in a file of its own, outside vault and
// backup. It has one generation of the key, or two while the list goes from one to the other.
type Device struct {
	User UserID
	ID   DeviceID

	present   *pair
	other     *pair // may be nil
	otherRole role

	standing standing
	code     Code // while it asks
	request  Hash

	files atomicfile.Layer
	path  string
}

// CreateDevice makes this machine a new device of user and writes its key file. A file that is there, whole or broken, is
// fault.Conflict and stays: it may be all that opens the state key. Where nobody can say whether there is one the failure is the file system's.
func CreateDevice(files atomicfile.Layer, path string, user UserID, now time.Time) (*Device, error) {
	return CreateDeviceAs(files, path, user, NewDeviceID(), now)
}

// CreateDeviceAs is CreateDevice under an id that this machine, and no device key, had before.
func CreateDeviceAs(files atomicfile.Layer, path string, user UserID, id DeviceID, now time.Time) (*Device, error) {
	raw, err := atomicfile.ReadFrom(files, path)
	secret.Wipe(raw)
	switch {
	case err == nil, errors.Is(err, fault.Policy), errors.Is(err, fault.TooLarge):
		return nil, fault.Wrap(fault.Conflict, err, "this machine has a device key already")
	case !errors.Is(err, fault.NotFound):
		return nil, err
	}
	d := &Device{User: user, ID: id, present: newPair(now), standing: standingNew, files: files, path: path}
	if err := d.write(*d); err != nil {
		d.Wipe()
		return nil, err
	}
	return d, nil
}

// OpenDevice reads the key file of this machine. Failures:
//
//	incomplete     there is none: the machine must be approved again, as a new device (R10: this is no fresh start)
//	not_authentic  the file is damaged, or another user's
//	policy         a format that this program does not know, or a file that others may read or write
func OpenDevice(files atomicfile.Layer, path string, user UserID) (*Device, error) {
	raw, err := atomicfile.ReadFrom(files, path)
	if errors.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Incomplete, "this machine has no device key; it must be approved as a new device")
	}
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(raw)
	d, err := parseKeyFile(raw)
	if err != nil {
		return nil, err
	}
	if d.User != user {
		d.Wipe()
		return nil, fault.New(fault.NotAuthentic, "the device key is another user's")
	}
	d.files, d.path = files, path
	return d, nil
}

// RemoveUnused removes a key file, of whatever user, whose device asked for nothing and joined nothing. Any other, broken ones too, is
// fault.Conflict and stays; none is no failure.
func RemoveUnused(files atomicfile.Layer, path string) error {
	raw, err := atomicfile.ReadFrom(files, path)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	defer secret.Wipe(raw)
	var d *Device
	if err == nil {
		d, err = parseKeyFile(raw)
	}
	if err != nil || d.standing != standingNew {
		return fault.Wrap(fault.Conflict, err, "this machine has a device key that may be in use")
	}
	d.files, d.path = files, path
	return d.Destroy()
}

// Stage makes the next device key durable, so that a link may name it. One that was staged before and never named is used again.
// While the former key is kept it is fault.Conflict: see EraseFormer.
func (d *Device) Stage(now time.Time) error {
	if err := d.open(); err != nil {
		return err
	}
	switch {
	case d.other == nil:
		next := *d
		next.otherRole, next.other = roleNext, newPair(now)
		if err := d.write(next); err != nil {
			next.other.wipe()
			return err
		}
	case d.otherRole == roleFormer:
		return fault.New(fault.Conflict, "the former device key is still kept")
	}
	return nil
}

// Settle follows the list: if it names the next key, that is the present one now, and the one before is kept as the former; and a list that
// this device began itself, first or in a recovery, it has joined (any other: see Confirm). A list that names neither key is
// fault.KeyChanged; one without this device fault.Revoked or fault.Forbidden (see List.Find).
func (d *Device) Settle(l *List) error {
	e, err := l.Find(d.ID)
	if err == nil {
		err = d.open()
	}
	if err != nil {
		return err
	}
	next := *d
	switch {
	case d.present.named(e):
	case d.other != nil && d.otherRole == roleNext && d.other.named(e):
		next.present, next.otherRole, next.other = d.other, roleFormer, d.present
	default:
		return fault.New(fault.KeyChanged, "the device list names another key for this device")
	}
	if l.Author == d.ID && (l.Sequence == 1 || l.Recovery) {
		next.join()
	}
	if next.present == d.present && next.standing == d.standing {
		return nil
	}
	return d.write(next)
}

// join ends the asking.
func (d *Device) join() { d.standing, d.code, d.request = standingJoined, Code{}, Hash{} }

// EraseFormer erases the former key: once nothing is sealed under the former state key any more (Ring.EraseFormer), or at once if the
// link that named the new key kept the state key. What the file system keeps of replaced files is not erased.
func (d *Device) EraseFormer() error {
	if d.other == nil || d.otherRole != roleFormer {
		return nil
	}
	if err := d.open(); err != nil {
		return err
	}
	next := *d
	next.otherRole, next.other = 0, nil
	former := d.other
	if err := d.write(next); err != nil {
		return err
	}
	former.wipe()
	return nil
}

// Destroy erases the key from memory and removes its file: this machine is no device any more.
func (d *Device) Destroy() error {
	d.Wipe()
	if err := d.files.Remove(d.path); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the device key file is not removed")
	}
	if err := d.files.SyncDir(filepath.Dir(d.path)); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the removal of the device key file is not durable")
	}
	return nil
}

// Wipe zeroes the keys in memory; the device is opened again from its file.
func (d *Device) Wipe() {
	d.present.wipe()
	d.other.wipe()
	d.code.Wipe()
}

// write makes a new content durable and then takes it over: after an error the device is as it was.
func (d *Device) write(next Device) error {
	raw := next.encode()
	defer secret.Wipe(raw)
	if err := atomicfile.WriteTo(d.files, d.path, raw, atomicfile.Private); err != nil {
		return err
	}
	*d = next
	return nil
}

// open says fault.Locked after Wipe.
func (d *Device) open() error {
	if d.present.seed.IsZero() || d.other != nil && d.other.seed.IsZero() {
		return fault.New(fault.Locked, "the device key was wiped from memory")
	}
	return nil
}

// staged returns the key that Stage made.
func (d *Device) staged() (*pair, error) {
	if d.other == nil || d.otherRole != roleNext {
		return nil, fault.New(fault.Conflict, "no next device key is staged")
	}
	return d.other, nil
}

// pairOf returns the generation that a list entry names, or nil.
func (d *Device) pairOf(e Entry) *pair {
	for _, p := range []*pair{d.present, d.other} {
		if p != nil && p.named(e) {
			return p
		}
	}
	return nil
}
