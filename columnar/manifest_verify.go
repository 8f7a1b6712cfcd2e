package columnar

import (
	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Head is the newest version of a dataset that an agent knows. The zero Head knows none.
type Head struct {
	Version        Version
	Hash           Hash
	RosterSequence uint64
}

// Head returns the manifest's own place.
func (m *Manifest) Head() Head {
	return Head{Version: m.Version, Hash: m.Hash, RosterSequence: m.RosterSequence}
}

// OpenManifest verifies the envelope of a manifest against the roster that was in force when it was signed, but not its place among
// versions: for manifests that were verified before and are read again. Failures:
//
//	rolled_back    signed under an older roster
//	incomplete     signed under a later roster, whose links are missing here
//	forked         signed under another roster with the same number
//	revoked        its author was removed
//	not_authentic  its author may not write, or the signature or a field is wrong
//	too_large      beyond a limit
func OpenManifest(envelope []byte, roster *RosterLink) (*Manifest, error) {
	if len(envelope) > MaxManifestSize {
		return nil, fault.New(fault.TooLarge, "the manifest is larger than %d bytes", MaxManifestSize)
	}
	var claimed struct {
		Author string `cbor:"6,keyasint"`
	}
	if err := signed.Peek(envelope, &claimed); err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "the manifest cannot be read")
	}
	key, revoked, err := roster.keyOf(claimed.Author)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Hash: signed.Hash(envelope)}
	if err := signed.Open(key, manifestType, envelope, m); err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "the manifest is not signed by its author")
	}
	if m.Dataset != roster.ID {
		return nil, fault.New(fault.NotAuthentic, "the manifest is of another dataset")
	}
	if revoked {
		return nil, fault.New(fault.Revoked, "the author of the version was removed from the roster")
	}
	if author, _ := roster.Member(m.Author); !author.MayWrite() {
		return nil, fault.New(fault.NotAuthentic, "the author of the version may not write")
	}
	if err := sameRoster(m, roster); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		if code := fault.CodeOf(err); code == fault.InvalidRequest {
			return nil, fault.Wrap(fault.NotAuthentic, err, "the manifest is not in order")
		}
		return nil, err
	}
	return m, nil
}

func sameRoster(m *Manifest, roster *RosterLink) error {
	switch {
	case m.RosterSequence < roster.Sequence:
		return fault.New(fault.RolledBack, "the version names roster %d, where %d is known", m.RosterSequence, roster.Sequence)
	case m.RosterSequence > roster.Sequence:
		return fault.New(fault.Incomplete, "the version names roster %d, which is missing here", m.RosterSequence)
	case m.RosterHash != roster.Hash:
		return fault.New(fault.Forked, "two rosters with number %d", roster.Sequence)
	}
	return nil
}

// VerifyManifest verifies the envelope of the version that follows head (or is head). The roster is the highest one seen.
// Failures are those of OpenManifest, and
//
//	rolled_back  an older version, or an older roster than head's
//	forked       another manifest in the place of head, or one that follows another
//	incomplete   versions between head and this one are missing
func VerifyManifest(envelope []byte, roster *RosterLink, head Head) (*Manifest, error) {
	m, err := OpenManifest(envelope, roster)
	if err != nil {
		return nil, err
	}
	if err := follows("version", uint64(head.Version), head.Hash, uint64(m.Version), m.Previous, m.Hash); err != nil {
		return nil, err
	}
	if m.RosterSequence < head.RosterSequence {
		return nil, fault.New(fault.RolledBack, "the version names an older roster than the version before")
	}
	return m, nil
}
