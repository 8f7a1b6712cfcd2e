package devices

import (
	"slices"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Next verifies the link that claims to follow l; l itself again gives l. Failures:
//
//	too_large      beyond the limits
//	not_authentic  not signed by the user, or by the device that made it, or it does what no link may
//	rolled_back    an older link
//	forked         another link in the place of l, or one that follows another
//	incomplete     links between l and this one are missing
//	revoked        its author was removed, or it lists a device that was
//	untrusted_key  a recovery: somebody with password and kit (or a stolen vault) began again without any device of the list. Only the
//	               user can say who that was; see Recovered
func (l *List) Next(link []byte) (*List, error) { return l.next(link, false) }

// Recovered follows a recovery that the user has confirmed, or of a list that is not this device's own. Any other link is
// fault.InvalidRequest.
func (l *List) Recovered(link []byte) (*List, error) {
	next, err := l.next(link, true)
	if err == nil && !next.Recovery {
		return nil, fault.New(fault.InvalidRequest, "the link is no recovery")
	}
	return next, err
}

// Extend is Next for several links. After a failure nothing is taken over.
func (l *List) Extend(links [][]byte) (*List, error) {
	var err error
	for _, link := range links {
		if l, err = l.Next(link); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *List) next(envelope []byte, recoveries bool) (*List, error) {
	inner, claimed, err := openUser(l.owner.Key, envelope)
	if err != nil {
		return nil, err
	}
	if claimed.User != l.User {
		return nil, fault.New(fault.NotAuthentic, "the device list is another user's")
	}
	hash := Hash(signed.Hash(envelope))
	if err := l.follows(claimed, hash); err != nil {
		return nil, err
	}
	if hash == l.Hash {
		return l, nil
	}
	key, err := l.keyOfAuthor(claimed)
	if err != nil {
		return nil, err
	}
	link, err := openAuthor(key, inner)
	if err != nil {
		return nil, err
	}
	if err := l.allows(link); err != nil {
		return nil, err
	}
	if link.Recovery && !recoveries {
		return nil, fault.New(fault.UntrustedKey, "the device list was begun again by a device that no other approved")
	}
	return l.after(link, hash, key), nil
}

// after returns the list with one link more, which was verified.
func (l *List) after(link *Link, hash Hash, key AuthorKey) *List {
	n := &List{
		Link: *link, Hash: hash, Change: changeBetween(&l.Link, link),
		owner: l.owner, authorKey: key, previous: l.Time, former: l.former,
	}
	if link.Epoch != l.Epoch {
		former := *l
		former.former = nil
		n.former = &former
	}
	return n
}

// follows judges number and hashes (R5): nil for the link after l, and for that of l itself.
func (l *List) follows(next *Link, hash Hash) error {
	if err := l.Head().Compare(Head{Sequence: next.Sequence, Hash: hash}); err != nil {
		return err
	}
	switch {
	case next.Sequence == l.Sequence:
		return nil
	case next.Sequence-l.Sequence > 1:
		return fault.New(fault.Incomplete, "between device list %d and %d some are missing", l.Sequence, next.Sequence)
	case next.Previous != l.Hash:
		return fault.New(fault.Forked, "device list %d follows another %d than the one known", next.Sequence, l.Sequence)
	}
	return nil
}

// keyOfAuthor returns the key that must verify a link: that of its author in the link before, or for a recovery its own.
func (l *List) keyOfAuthor(next *Link) (AuthorKey, error) {
	e, err := l.Find(next.Author)
	switch {
	case l.removed(next.Author):
		return AuthorKey{}, err
	case next.Recovery && err != nil && next.begins():
		return next.Devices[0].AuthorKey, nil
	case next.Recovery:
		return AuthorKey{}, errRule("a recovery begins with one new device")
	case err != nil:
		return AuthorKey{}, fault.New(fault.NotAuthentic, "the author of the link is not on the list")
	}
	return e.AuthorKey, nil
}

func errRule(why string) error { return fault.New(fault.NotAuthentic, "device list: %s", why) }

// allows judges what a link changes. Its author may add and remove devices and replace the state key, and the device key of nobody
// but itself.
func (l *List) allows(next *Link) error {
	for _, e := range next.Devices {
		if l.removed(e.ID) {
			return fault.New(fault.Revoked, "a device that was removed is listed again")
		}
		if err := l.allowsEntry(next, e); err != nil {
			return err
		}
	}
	if !slices.Equal(next.Removed, removedAfter(&l.Link, next)) {
		return errRule("the removed devices are not those that went")
	}
	return l.allowsEpoch(next)
}

func (l *List) allowsEntry(next *Link, e Entry) error {
	before, ok := l.device(e.ID)
	if !ok {
		if e.Added != next.Time || e.KeyTime != next.Time || (len(e.Approval) == 0) != next.Recovery {
			return errRule("a new device was not approved in this link")
		}
		return nil
	}
	if e.Added != before.Added || len(e.Approval) != 0 {
		return errRule("the entry of a device changed")
	}
	if e.KeyHash == before.KeyHash && e.AuthorKey == before.AuthorKey {
		if e.KeyTime != before.KeyTime {
			return errRule("the date of a key changed")
		}
		return nil
	}
	if e.ID != next.Author || e.KeyHash == before.KeyHash || e.AuthorKey == before.AuthorKey || e.KeyTime != next.Time {
		return errRule("only a device itself replaces its key, and both halves")
	}
	return nil
}

// allowsEpoch takes the same state key, or the next one. When a device went it must be the next one.
func (l *List) allowsEpoch(next *Link) error {
	switch {
	case next.Epoch == l.Epoch && next.Commitment == l.Commitment && next.EpochTime == l.EpochTime && len(gone(&l.Link, next)) == 0:
		return nil
	case next.Epoch == l.Epoch+1 && next.Commitment != l.Commitment && next.EpochTime == next.Time:
		return nil
	case next.Epoch < l.Epoch:
		return fault.New(fault.RolledBack, "the link has an older state key")
	}
	return errRule("the state key is not the one that must follow")
}
