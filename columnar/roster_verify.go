package columnar

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"slices"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Next verifies the roster that claims to follow l. Failures:
//
//	rolled_back    an earlier link of the chain, or one like it
//	forked         another link in the place of l, or one that follows another
//	incomplete     links between l and this one are missing
//	revoked        its author was removed
//	not_authentic  not signed by a member, or it does what its author may not
func (l *RosterLink) Next(envelope []byte) (*RosterLink, error) {
	claimed, err := peekRoster(envelope)
	if err != nil {
		return nil, err
	}
	key, revoked, err := l.keyOf(claimed.Author)
	if err != nil {
		return nil, err
	}
	r, err := openRoster(key, envelope)
	if err != nil {
		return nil, err
	}
	if r.Dataset != l.ID {
		return nil, fault.New(fault.NotAuthentic, "the roster is of another dataset")
	}
	hash := Hash(signed.Hash(envelope))
	if err := follows("roster", l.Sequence, l.Hash, r.Sequence, r.Previous, hash); err != nil {
		return nil, err
	}
	if hash == l.Hash {
		return l, nil
	}
	if revoked {
		return nil, fault.New(fault.Revoked, "the author of the roster was removed")
	}
	if err := l.allows(r); err != nil {
		return nil, err
	}
	return &RosterLink{Roster: *r, ID: l.ID, Hash: hash, former: l.formerAfter(r)}, nil
}

// keyOf returns the signing key of a member, or of somebody who was one.
func (l *RosterLink) keyOf(user string) (key ed25519.PublicKey, revoked bool, err error) {
	if m, ok := l.Member(user); ok {
		return m.SigningKey, false, nil
	}
	if m, ok := l.former[user]; ok {
		return m.SigningKey, true, nil
	}
	return nil, false, fault.New(fault.NotAuthentic, "the author is not on the roster")
}

// formerAfter returns those who were on the roster once and are not on r.
func (l *RosterLink) formerAfter(r *Roster) map[string]Member {
	former := maps.Clone(l.former)
	for _, m := range l.Members {
		former[m.User] = m
	}
	for _, m := range r.Members {
		delete(former, m.User)
	}
	return former
}

// follows judges a number and hashes of a chain against its head (R5): nil if next is the one after it, or the head itself.
func follows(what string, headSeq uint64, head Hash, seq uint64, previous, hash Hash) error {
	switch {
	case seq < headSeq:
		return fault.New(fault.RolledBack, "an older %s: %d, where %d is known", what, seq, headSeq)
	case seq == headSeq && hash != head:
		return fault.New(fault.Forked, "two %ss with number %d", what, seq)
	case seq == headSeq:
		return nil
	case seq-headSeq > 1:
		return fault.New(fault.Incomplete, "between %s %d and %d some are missing", what, headSeq, seq)
	case previous != head:
		return fault.New(fault.Forked, "%s %d follows another %d than the one known", what, seq, headSeq)
	}
	return nil
}

// allows judges what r changes by what its author may: owners anything, as long as an owner stays; a re-sharer adds readers of
// columns that it has itself, and nothing else.
func (l *RosterLink) allows(r *Roster) error {
	author, _ := l.Member(r.Author)
	if author.Role == RoleOwner {
		return nil
	}
	if !author.Reshare || r.Retention != l.Retention {
		return fault.New(fault.NotAuthentic, "the author may not change the roster")
	}
	for _, old := range l.Members {
		if m, ok := r.Member(old.User); !ok || !sameButForColumns(old, m) || !grows(author, old, m) {
			return fault.New(fault.NotAuthentic, "the author may only add readers")
		}
	}
	for _, m := range r.Members {
		if _, ok := l.Member(m.User); ok {
			continue
		}
		if m.Role != RoleReader || m.Reshare || !grows(author, Member{}, m) {
			return fault.New(fault.NotAuthentic, "the author may only add readers of columns that it has")
		}
	}
	return nil
}

func sameButForColumns(a, b Member) bool {
	return a.User == b.User && a.Role == b.Role && a.Reshare == b.Reshare &&
		bytes.Equal(a.IdentityKey, b.IdentityKey) && bytes.Equal(a.SigningKey, b.SigningKey)
}

// grows reports whether b has all columns of a, and beyond them only columns that author has.
func grows(author, a, b Member) bool {
	if a.AllColumns || b.AllColumns {
		return b.AllColumns && (a.AllColumns || author.AllColumns)
	}
	for _, c := range a.Columns {
		if !b.MayRead(c) {
			return false
		}
	}
	return !slices.ContainsFunc(b.Columns, func(c ColumnID) bool { return !a.MayRead(c) && !author.MayRead(c) })
}

// check says whether a roster is in order by itself, whoever signed it.
func (r *Roster) check() error {
	refuse := func(why string) error { return fault.New(fault.InvalidRequest, "roster: %s", why) }
	switch {
	case r.Sequence == 0 || r.Sequence > MaxVersion:
		return refuse("its number is out of range")
	case len(r.Members) == 0 || len(r.Members) > MaxMembers:
		return refuse("too few or too many members")
	case r.Retention > MaxRetention:
		return refuse("versions are kept too long")
	}
	if r.Dataset != "" {
		if _, err := ParseDatasetID(string(r.Dataset)); err != nil {
			return err
		}
	}
	owners := 0
	for i, m := range r.Members {
		if i > 0 && r.Members[i-1].User >= m.User {
			return refuse("members are not sorted, or doubled")
		}
		if err := m.check(); err != nil {
			return err
		}
		if m.Role == RoleOwner {
			owners++
		}
	}
	if owners == 0 {
		return refuse("nobody owns the dataset")
	}
	return nil
}

func (m Member) check() error {
	refuse := func(why string) error { return fault.New(fault.InvalidRequest, "roster: %s", why) }
	switch {
	case m.User == "" || len(m.User) > MaxUserID:
		return refuse("a user id is empty or too long")
	case len(m.IdentityKey) != 32 || len(m.SigningKey) != ed25519.PublicKeySize:
		return refuse("a key has the wrong length")
	case m.Role != RoleOwner && m.Role != RoleWriter && m.Role != RoleReader:
		return refuse("an unknown role")
	case m.MayWrite() && !m.AllColumns:
		return refuse("who writes has all columns")
	case m.AllColumns && len(m.Columns) > 0, len(m.Columns) > MaxColumns:
		return refuse("too many columns for a member")
	}
	for i, c := range m.Columns {
		if !isUUID(string(c)) || i > 0 && m.Columns[i-1] >= c {
			return refuse("columns of a member are not ids, not sorted, or doubled")
		}
	}
	return nil
}
