package devices

import (
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Author is who makes a link: the user, on this device.
type Author struct {
	Signing signed.Signer // the user's signing key
	Sealer  Sealer
	Device  *Device
	Now     time.Time
}

// Changes are what a link does. None at all is a link that only wraps the state key again.
type Changes struct {
	Add    []*Approved
	Remove []DeviceID // the state key is replaced with it
	Rename map[DeviceID]string
	NewKey bool // the staged key of this device (Device.Stage) is named
	Rotate bool // the state key is replaced
}

// Update is a link that was signed and verified, and not sent. The wraps record goes first, then the link; what lost to another link is
// dropped.
type Update struct {
	Link  []byte
	Wraps []byte   // for the blob List.WrapsName()
	List  *List    // as it is once the coordinator took the link
	State StateKey // the new state key; no key if it is the one from before
}

// Drop wipes the state key of an update that is not used.
func (u *Update) Drop() { u.State.Key.Wipe() }

// draft is a link in the making.
type draft struct {
	a       Author
	signer  *pair // that signs it
	link    Link
	members map[DeviceID]member
}

// NewList makes the first link of a user's list, with this device alone.
func NewList(a Author, name string) (*Update, error) {
	d, err := begin(a, name)
	if err != nil {
		return nil, err
	}
	d.link.Sequence = 1
	return d.finish(nil, newStateKey(1), true)
}

// Recover makes the link by which this device, which is on no list, begins again after l: all devices of l are removed, nobody gets the
// former state key, and what it sealed is lost to this device. It is for when no other device is left: see the package's doc.
func (l *List) Recover(a Author, name string) (*Update, error) {
	if _, err := l.Find(a.Device.ID); err == nil || l.removed(a.Device.ID) {
		return nil, fault.New(fault.Conflict, "only a new device begins a list again")
	}
	d, err := begin(a, name)
	if err != nil {
		return nil, err
	}
	d.link.Recovery, d.link.Sequence, d.link.Previous = true, l.Sequence+1, l.Hash
	d.link.Removed = removedAfter(&l.Link, &d.link)
	return d.finish(l, newStateKey(l.Epoch+1), true)
}

// begin drafts a link with this device alone.
func begin(a Author, name string) (*draft, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := a.Device.open(); err != nil {
		return nil, err
	}
	p, at := a.Device.present, millis(a.Now)
	d := &draft{a: a, signer: p, members: map[DeviceID]member{}}
	d.link = Link{User: a.Device.User, Time: at, Author: a.Device.ID, Removed: []DeviceID{}, Devices: []Entry{
		{ID: a.Device.ID, KeyHash: p.hash(), AuthorKey: p.authorKey(), KeyTime: at, Added: at, Approval: []byte{}},
	}}
	d.members[a.Device.ID] = member{ID: a.Device.ID, Name: encodeName(name), Public: p.public}
	return d, nil
}

// Sign makes the link that follows l and does what c says. It takes the wraps record of l (for the other devices' keys and names) and the
// ring with the present state key. What the others would refuse is refused here. Further failures:
//
//	key_changed  the list does not name this device's present key: Device.Settle first
//	stale        the ring has not the list's state key
//	conflict     the former state key is still held, and a new one is asked for; a device is listed already, or is the last one; no key
//	             is staged
//	revoked      a device that was removed is to be listed again
//	too_large    too many devices
func (l *List) Sign(a Author, r *Record, ring *Ring, c Changes) (*Update, error) {
	p, key, err := l.mayAuthor(a, r, ring)
	if err != nil {
		return nil, err
	}
	d := &draft{a: a, signer: p, members: map[DeviceID]member{}, link: Link{
		User: l.User, Sequence: l.Sequence + 1, Previous: l.Hash, Time: millis(a.Now), Author: a.Device.ID,
		Epoch: l.Epoch, EpochTime: l.EpochTime, Devices: slices.Clone(l.Devices),
	}}
	for _, m := range r.members {
		d.members[m.ID] = m
	}
	if err := d.edit(l, c); err != nil {
		return nil, err
	}
	rotate := c.Rotate || len(c.Remove) > 0
	if rotate {
		if ring.Former() {
			return nil, fault.New(fault.Conflict, "the former state key is still held")
		}
		key = newStateKey(l.Epoch + 1)
	}
	return d.finish(l, key, rotate, c.Add...)
}

// mayAuthor checks that this device can make the next link, and returns its key and the state key.
func (l *List) mayAuthor(a Author, r *Record, ring *Ring) (*pair, StateKey, error) {
	e, err := l.Find(a.Device.ID)
	if err == nil {
		err = a.Device.open()
	}
	if err != nil {
		return nil, StateKey{}, err
	}
	if !a.Device.present.named(e) {
		return nil, StateKey{}, fault.New(fault.KeyChanged, "the device list does not name the present key of this device")
	}
	if r.list.Hash != l.Hash {
		return nil, StateKey{}, fault.New(fault.Stale, "the wraps record is that of another link")
	}
	key, err := ring.Current()
	if err != nil {
		return nil, StateKey{}, err
	}
	if key.Epoch != l.Epoch || key.commitment(l.User) != l.Commitment {
		return nil, StateKey{}, fault.New(fault.Stale, "the state key here is not that of the device list")
	}
	return a.Device.present, key, nil
}

// freeSlot returns a slot of the author's that no record in use is in. Epochs take turns with two pairs of slots, so a record of the former
// epoch is never written over, and the links of one author in one epoch take turns within a pair, so neither is that of the newest link.
func (l *List) freeSlot(author DeviceID, epoch uint64) uint8 {
	slot := uint8(epoch%2) * 2
	if l != nil && l.Author == author && l.Slot == slot {
		slot++
	}
	return slot
}

// edit makes all changes but additions, which need the finished link.
func (d *draft) edit(l *List, c Changes) error {
	for id, name := range c.Rename {
		m, ok := d.members[id]
		if err := checkName(name); err != nil || !ok {
			return fault.Wrap(fault.InvalidRequest, err, "a device cannot be named so, or is not on the list")
		}
		m.Name = encodeName(name)
		d.members[id] = m
	}
	if c.NewKey {
		if err := d.rekey(); err != nil {
			return err
		}
	}
	for _, id := range c.Remove {
		if _, err := l.Find(id); err != nil {
			return err
		}
		d.link.Devices = slices.DeleteFunc(d.link.Devices, func(e Entry) bool { return e.ID == id })
		delete(d.members, id)
	}
	for i := range d.link.Devices {
		d.link.Devices[i].Approval = []byte{}
	}
	for _, n := range c.Add {
		if err := d.mayAdd(l, n); err != nil {
			return err
		}
		d.members[n.body.Device] = member{ID: n.body.Device, Name: n.body.Name, Public: n.body.Public}
	}
	if len(d.members) == 0 {
		return fault.New(fault.Conflict, "the last device is not removed")
	}
	d.link.Removed = removedAfter(&l.Link, &d.link)
	return nil
}

func (d *draft) mayAdd(l *List, n *Approved) error {
	_, listed := d.members[n.body.Device]
	_, before := l.device(n.body.Device)
	switch {
	case n.code.k.IsZero():
		return fault.New(fault.Locked, "the pairing code was wiped from memory")
	case n.body.User != l.User:
		return fault.New(fault.NotAuthentic, "the new device is another user's")
	case l.removed(n.body.Device):
		return fault.New(fault.Revoked, "the device was removed; it must be set up as a new one")
	case listed || before:
		return fault.New(fault.Conflict, "the device is on the list already")
	}
	return nil
}

// rekey names the staged key of this device.
func (d *draft) rekey() error {
	p, err := d.a.Device.staged()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.link.Devices, func(e Entry) bool { return e.ID == d.a.Device.ID })
	e := &d.link.Devices[i]
	e.KeyHash, e.AuthorKey, e.KeyTime = p.hash(), p.authorKey(), d.link.Time
	m := d.members[e.ID]
	m.Public = p.public
	d.members[e.ID] = m
	return nil
}

// finish wraps the state key, signs, and verifies as the others will.
func (d *draft) finish(l *List, key StateKey, rotated bool, add ...*Approved) (u *Update, err error) {
	u = new(Update)
	if rotated {
		d.link.Epoch, d.link.EpochTime, u.State = key.Epoch, d.link.Time, key
		defer func() {
			if err != nil {
				key.Key.Wipe()
			}
		}()
	}
	d.link.Commitment = key.commitment(d.link.User)
	d.link.Slot = l.freeSlot(d.link.Author, d.link.Epoch)
	if u.Wraps, err = d.seal(key, add); err != nil {
		return nil, err
	}
	if u.Link, err = d.link.sign(d.a.Signing, d.signer.signer(d.link.User)); err != nil {
		return nil, err
	}
	o := Owner{User: d.link.User, Key: d.a.Signing.Public()}
	if l == nil {
		u.List, err = first(o, u.Link)
	} else {
		u.List, err = l.next(u.Link, d.link.Recovery)
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}

// seal lists the new devices and seals the wraps record, whose hash goes into the link and into the proofs of approval.
func (d *draft) seal(key StateKey, add []*Approved) ([]byte, error) {
	author := d.signer.authorKey()
	for _, n := range add {
		d.link.Devices = append(d.link.Devices, n.entry(&d.link, author))
	}
	slices.SortFunc(d.link.Devices, func(a, b Entry) int { return compareIDs(a.ID, b.ID) })
	if len(d.link.Devices) > MaxDevices {
		return nil, fault.New(fault.TooLarge, "a user has at most %d devices", MaxDevices)
	}
	members := slices.SortedFunc(maps.Values(d.members), func(a, b member) int { return compareIDs(a.ID, b.ID) })
	if len(members) != len(d.link.Devices) {
		return nil, fault.New(fault.Conflict, "a device is to be listed twice")
	}
	if err := d.link.wrap(members, key.Key); err != nil {
		return nil, err
	}
	plain, err := signed.Marshal(members)
	if err != nil {
		return nil, err
	}
	sealed := d.a.Sealer.Seal(d.link.recordContext(), plain)
	d.link.Wraps = sha256.Sum256(sealed)
	for _, n := range add {
		i := slices.IndexFunc(d.link.Devices, func(e Entry) bool { return e.ID == n.body.Device })
		d.link.Devices[i] = n.entry(&d.link, author)
	}
	return sealed, nil
}
