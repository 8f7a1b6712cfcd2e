package columnar

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

var testTime = time.UnixMilli(1_760_000_000_000)

func newSigner(user string) signed.Signer { return signed.Signer{User: user, Key: secret.Random()} }

func memberOf(s signed.Signer, role Role, columns ...ColumnID) Member {
	return Member{
		User: s.User, IdentityKey: make([]byte, 32), SigningKey: s.Public(), Role: role, AllColumns: role != RoleReader, Columns: columns,
	}
}

// family is a roster with an owner, a writer, a reader who may share on, and a plain reader.
type family struct {
	ada, bob, eve, joe signed.Signer
	columns            []ColumnID
	first, link        *RosterLink
	envelopes          [][]byte
}

func newFamily(t *testing.T) *family {
	t.Helper()
	f := &family{
		ada: newSigner("ada"), bob: newSigner("bob"), eve: newSigner("eve"), joe: newSigner("joe"), columns: []ColumnID{NewColumnID(), NewColumnID()},
	}
	slices.Sort(f.columns)
	first, l, err := NewRoster(f.ada, make([]byte, 32), DefaultRetention, testTime)
	if err != nil {
		t.Fatal(err)
	}
	f.first = l
	eve := memberOf(f.eve, RoleReader, f.columns[0])
	eve.Reshare = true
	r := Roster{Retention: DefaultRetention, Members: []Member{
		memberOf(f.joe, RoleReader, f.columns...), memberOf(f.bob, RoleWriter), l.Members[0], eve,
	}}
	second, l2, err := l.Sign(f.ada, r, testTime)
	if err != nil {
		t.Fatal(err)
	}
	f.link, f.envelopes = l2, [][]byte{first, second}
	return f
}

func TestRosterChain(t *testing.T) {
	f := newFamily(t)
	l, err := OpenRoster(f.first.ID, f.envelopes)
	if err != nil || l.Hash != f.link.Hash || l.Epoch() != 2 || len(l.Members) != 4 {
		t.Fatalf("%v, %v", l, err)
	}
	if m, ok := l.Member("joe"); !ok || m.MayWrite() || !m.MayRead(f.columns[1]) || m.MayRead(NewColumnID()) {
		t.Errorf("joe is %v", m)
	}
	other := newFamily(t)
	for name, c := range map[string]struct {
		id   DatasetID
		e    [][]byte
		want fault.Code
	}{
		"nothing":           {f.first.ID, nil, fault.Incomplete},
		"without the first": {f.first.ID, f.envelopes[1:], fault.Incomplete},
		"another dataset's": {f.first.ID, other.envelopes, fault.NotAuthentic},
		"mixed":             {f.first.ID, [][]byte{f.envelopes[0], other.envelopes[1]}, fault.NotAuthentic},
		"cut envelope":      {f.first.ID, [][]byte{f.envelopes[0][:40]}, fault.NotAuthentic},
	} {
		if _, err := OpenRoster(c.id, c.e); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestRosterLinkIsJudgedByTheOneBefore tries what each member may not.
func TestRosterLinkIsJudgedByTheOneBefore(t *testing.T) {
	f := newFamily(t)
	mia := newSigner("mia")
	edit := func(fn func(r *Roster)) Roster {
		r := f.link.Roster
		r.Members = slices.Clone(r.Members)
		fn(&r)
		return r
	}
	add := func(m Member) Roster { return edit(func(r *Roster) { r.Members = append(r.Members, m) }) }
	resharer := memberOf(mia, RoleReader, f.columns[0])
	resharer.Reshare = true
	all := memberOf(mia, RoleReader)
	all.AllColumns = true
	for name, c := range map[string]struct {
		by signed.Signer
		r  Roster
		ok bool
	}{
		"owner adds an owner":              {f.ada, add(memberOf(mia, RoleOwner)), true},
		"owner removes":                    {f.ada, edit(func(r *Roster) { r.Members = r.Members[:2] }), true},
		"owner leaves nobody to own":       {f.ada, edit(func(r *Roster) { r.Members = r.Members[1:] }), false},
		"re-sharer adds a reader":          {f.eve, add(memberOf(mia, RoleReader, f.columns[0])), true},
		"re-sharer shares what it has not": {f.eve, add(memberOf(mia, RoleReader, f.columns[1])), false},
		"re-sharer shares all":             {f.eve, add(all), false},
		"re-sharer adds a re-sharer":       {f.eve, add(resharer), false},
		"re-sharer adds a writer":          {f.eve, add(memberOf(mia, RoleWriter)), false},
		"re-sharer removes":                {f.eve, edit(func(r *Roster) { r.Members = r.Members[:3] }), false},
		"re-sharer changes a key":          {f.eve, edit(func(r *Roster) { r.Members[3].SigningKey = mia.Public() }), false},
		"re-sharer widens itself":          {f.eve, edit(func(r *Roster) { r.Members[2].Columns = f.columns }), false},
		"re-sharer changes the retention":  {f.eve, edit(func(r *Roster) { r.Retention++ }), false},
		"writer adds a reader":             {f.bob, add(memberOf(mia, RoleReader, f.columns[0])), false},
		"reader adds a reader":             {f.joe, add(memberOf(mia, RoleReader, f.columns[0])), false},
		"stranger adds itself":             {mia, add(memberOf(mia, RoleReader, f.columns[0])), false},
	} {
		if _, _, err := f.link.Sign(c.by, c.r, testTime); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestE06_RosterJumps(t *testing.T) {
	f := newFamily(t)
	third, _, err := f.link.Sign(f.ada, f.link.Roster, testTime)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.first.Next(third); !errors.Is(err, fault.Incomplete) {
		t.Errorf("a jump: %v", err)
	}
	if _, err := f.link.Next(f.envelopes[0]); !errors.Is(err, fault.NotAuthentic) {
		t.Errorf("the first again: %v", err)
	}
	fork, _, err := f.first.Sign(f.ada, f.first.Roster, testTime)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.link.Next(fork); !errors.Is(err, fault.Forked) {
		t.Errorf("a fork: %v", err)
	}
	l3, err := f.link.Next(third)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l3.Next(f.envelopes[1]); !errors.Is(err, fault.RolledBack) {
		t.Errorf("an older one: %v", err)
	}
	for _, seq := range []uint64{0, MaxVersion + 1, math.MaxUint64} {
		r := f.link.Roster
		r.Sequence = seq
		e, err := signed.Sign(f.ada, rosterType, r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.link.Next(e); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("sequence %d: %v", seq, err)
		}
	}
}

func TestRosterOfARemovedOwner(t *testing.T) {
	f := newFamily(t)
	r := f.link.Roster
	r.Members = append(slices.Clone(r.Members), memberOf(newSigner("zoe"), RoleOwner))[1:] // without ada
	_, l3, err := f.link.Sign(f.ada, r, testTime)
	if err != nil {
		t.Fatal(err)
	}
	back := l3.Roster
	back.Dataset, back.Sequence, back.Previous, back.Author = l3.ID, 4, l3.Hash, "ada"
	e, err := signed.Sign(f.ada, rosterType, back)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l3.Next(e); !errors.Is(err, fault.Revoked) {
		t.Errorf("got %v", err)
	}
}

func FuzzRoster(f *testing.F) {
	s := newSigner("ada")
	e, _, err := NewRoster(s, make([]byte, 32), 30, testTime)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e)
	f.Add(e[:len(e)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := firstLink(b)
		if err != nil {
			return
		}
		again, err := signed.Marshal(l.Roster)
		if err != nil || !bytes.Contains(b, again) {
			t.Errorf("what parsed does not encode back: %v", err)
		}
	})
}
