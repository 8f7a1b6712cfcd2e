package devices

import (
	"crypto/ed25519"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Owner is a user and the key that verifies what it signs: pinned, or out of the own vault.
type Owner struct {
	User UserID
	Key  ed25519.PublicKey
}

// List is a device list that was verified up to and with its newest link. It never changes.
type List struct {
	Link
	Hash   Hash
	Change Change

	owner     Owner
	authorKey AuthorKey // that verified the newest link
	previous  int64     // time of the link before
	former    *List     // the last link of the epoch before, without its own former; nil if it is not known
}

// Change says what a link did, for the user and the log.
type Change struct {
	Added, Removed, Rekeyed []DeviceID
	Rotated                 bool // the state key is another
	Recovered               bool // a device began again with the password and the kit; everything before is gone
}

// Head returns what to remember of the list.
func (l *List) Head() Head { return Head{Sequence: l.Sequence, Hash: l.Hash} }

// Find returns the entry of a device: fault.Revoked if it was removed, fault.Forbidden if it never was on the list.
func (l *List) Find(id DeviceID) (Entry, error) {
	if l.removed(id) {
		return Entry{}, fault.New(fault.Revoked, "the device was removed from the list")
	}
	e, ok := l.device(id)
	if !ok {
		return Entry{}, fault.New(fault.Forbidden, "the device is not on the list")
	}
	return e, nil
}

// Former returns the list at the last link of the epoch before, whose wraps record opens the former state key, if it is known.
func (l *List) Former() (*List, bool) { return l.former, l.former != nil }

// OpenList verifies a chain from its first link. It is for who has no list yet: a new device, a contact. Recoveries are history to them.
// Remembered is the head that is known already, from the vault or from heads that others sent, or zero; a chain that does not reach or
// pass it is refused as Head.Compare and List.Next do.
func OpenList(o Owner, remembered Head, links [][]byte) (*List, error) {
	if len(links) == 0 {
		return nil, fault.New(fault.Incomplete, "there is no device list")
	}
	l, err := first(o, links[0])
	if err != nil {
		return nil, err
	}
	if err := remembered.passed(l); err != nil {
		return nil, err
	}
	for _, link := range links[1:] {
		if l, err = l.next(link, true); err != nil {
			return nil, err
		}
		if err := remembered.passed(l); err != nil {
			return nil, err
		}
	}
	return l, remembered.Compare(l.Head())
}

// passed compares the link of the remembered number, on the way.
func (h Head) passed(l *List) error {
	if l.Sequence != h.Sequence {
		return nil
	}
	return h.Compare(l.Head())
}

// RestoreList reads links that this device verified and kept, oldest first, up to the head that it remembers. They need not begin with the
// first: each is bound by the hash in the next, and the last by head. Keep those since the last of the former epoch, so that Former is
// there. Anything that is not exactly that chain is fault.NotAuthentic.
func RestoreList(o Owner, head Head, links [][]byte) (*List, error) {
	if len(links) == 0 {
		return nil, fault.New(fault.Incomplete, "the device list that was kept is missing")
	}
	_, claimed, err := openUser(o.Key, links[0])
	if err != nil {
		return nil, err
	}
	l := &List{Link: *claimed, Hash: signed.Hash(links[0]), owner: o, previous: claimed.Time}
	for _, link := range links[1:] {
		if l, err = l.next(link, true); err != nil {
			return nil, fault.Wrap(fault.NotAuthentic, err, "the device list that was kept is not in order")
		}
	}
	if l.User != o.User || l.Head() != head {
		return nil, fault.New(fault.NotAuthentic, "the device list that was kept is not the one remembered")
	}
	return l, nil
}

// first verifies a first link: its author is its one device.
func first(o Owner, envelope []byte) (*List, error) {
	inner, claimed, err := openUser(o.Key, envelope)
	if err != nil {
		return nil, err
	}
	if claimed.User != o.User {
		return nil, fault.New(fault.NotAuthentic, "the device list is another user's")
	}
	if claimed.Sequence != 1 {
		return nil, fault.New(fault.Incomplete, "the device list does not begin at its beginning")
	}
	if !claimed.Previous.IsZero() || claimed.Recovery || len(claimed.Removed) != 0 || !claimed.begins() {
		return nil, errLink
	}
	key := claimed.Devices[0].AuthorKey
	link, err := openAuthor(key, inner)
	if err != nil {
		return nil, err
	}
	return &List{
		Link: *link, Hash: signed.Hash(envelope), Change: Change{Added: []DeviceID{link.Author}, Rotated: true},
		owner: o, authorKey: key, previous: link.Time,
	}, nil
}

// begins reports whether the author is the one device, and came with this link, as did the state key.
func (l *Link) begins() bool {
	e := l.Devices[0]
	return len(l.Devices) == 1 && l.EpochTime == l.Time && e.ID == l.Author && e.Added == l.Time && e.KeyTime == l.Time && len(e.Approval) == 0
}

// Day is how old a device key or state key gets before it is replaced.
const Day = 24 * time.Hour

// Due reports whether the state key should be replaced: it is a day old, the device that made the newest link has left, or its date lies
// more than a day ahead, because one of two clocks is wrong (THREATS F13). Ask when the agent starts and once a day; nothing waits for it.
func (l *List) Due(now time.Time) bool {
	_, listed := l.device(l.Author)
	return !listed || old(l.EpochTime, now)
}

// KeyDue reports the same of the key of one device.
func (l *List) KeyDue(id DeviceID, now time.Time) bool {
	e, ok := l.device(id)
	return ok && old(e.KeyTime, now)
}

func old(ms int64, now time.Time) bool {
	age := millis(now) - ms
	return age >= Day.Milliseconds() || age <= -Day.Milliseconds()
}

// Clock says what is odd about the date of the newest link: how far it lies before that of the one before, and how far ahead of now.
// Both are zero if nothing is; it is for the log, and refuses nothing (THREATS R17).
func (l *List) Clock(now time.Time) (backwards, ahead time.Duration) {
	return span(l.previous - l.Time), span(l.Time - millis(now))
}

// span returns ms as a duration, zero below zero, capped.
func span(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), int64(1<<63-1)/int64(time.Millisecond))) * time.Millisecond
}

// changeBetween lists what differs between two links.
func changeBetween(a, b *Link) Change {
	c := Change{Rotated: a.Epoch != b.Epoch, Recovered: b.Recovery}
	for _, e := range b.Devices {
		switch before, ok := a.device(e.ID); {
		case !ok:
			c.Added = append(c.Added, e.ID)
		case before.KeyHash != e.KeyHash:
			c.Rekeyed = append(c.Rekeyed, e.ID)
		}
	}
	c.Removed = gone(a, b)
	return c
}

// gone returns the devices of a that b has not, sorted.
func gone(a, b *Link) []DeviceID {
	var out []DeviceID
	for _, e := range a.Devices {
		if _, ok := b.device(e.ID); !ok {
			out = append(out, e.ID)
		}
	}
	return out
}

// removedAfter returns the removed ids that b must have after a, sorted. A recovery has only those that it removes itself: a device gone bad
// may have filled the list.
func removedAfter(a, b *Link) []DeviceID {
	out := []DeviceID{}
	if !b.Recovery {
		out = append(out, a.Removed...)
	}
	out = append(out, gone(a, b)...)
	slices.SortFunc(out, compareIDs)
	return out
}
