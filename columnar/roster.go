package columnar

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/signed"
)

// Limits of a roster (R13).
const (
	MaxRosterSize = 4 << 20 // bytes of the envelope
	MaxMembers    = 10_000
	MaxColumns    = 10_000
	MaxUserID     = 64 // bytes
	MaxRetention  = 36_500

	// DefaultRetention is how many days versions are kept that are no longer the newest.
	DefaultRetention = 30
)

const rosterType = "roster"

// Role says what a member may do with a dataset.
type Role string

// The roles. An owner may change the roster and write, a writer may write, a reader may read.
const (
	RoleOwner  Role = "owner"
	RoleWriter Role = "writer"
	RoleReader Role = "reader"
)

// Member is an entry of a roster. For this dataset the roster vouches for its keys.
type Member struct {
	User        string     `cbor:"1,keyasint"`
	IdentityKey []byte     `cbor:"2,keyasint"` // X25519, 32 bytes
	SigningKey  []byte     `cbor:"3,keyasint"` // Ed25519, 32 bytes
	Role        Role       `cbor:"4,keyasint"`
	AllColumns  bool       `cbor:"5,keyasint"` // future columns too; always so for owners and writers
	Columns     []ColumnID `cbor:"6,keyasint"` // sorted; empty with AllColumns
	Reshare     bool       `cbor:"7,keyasint"` // a reader who may add readers of columns it has
}

// MayWrite reports whether the member may author versions.
func (m Member) MayWrite() bool { return m.Role == RoleOwner || m.Role == RoleWriter }

// MayRead reports whether the member is given keys of the column.
func (m Member) MayRead(c ColumnID) bool {
	if m.AllColumns {
		return true
	}
	_, ok := slices.BinarySearch(m.Columns, c)
	return ok
}

// Roster says who may do what with a dataset: a link of a chain, signed by its author and judged by the link before it.
type Roster struct {
	Dataset   DatasetID `cbor:"1,keyasint"` // empty in the first link, whose hash it is
	Sequence  uint64    `cbor:"2,keyasint"` // 1, 2, 3 …: the epoch
	Previous  Hash      `cbor:"3,keyasint"` // of the envelope before; zero in the first
	Author    string    `cbor:"4,keyasint"`
	Time      int64     `cbor:"5,keyasint"` // Unix milliseconds, the author's word
	Members   []Member  `cbor:"6,keyasint"` // sorted by user
	Retention uint32    `cbor:"7,keyasint"` // days
	Nonce     [16]byte  `cbor:"8,keyasint"`
}

// Member returns the entry of a user.
func (r *Roster) Member(user string) (Member, bool) {
	i, ok := slices.BinarySearchFunc(r.Members, user, func(m Member, u string) int { return compareStrings(m.User, u) })
	if !ok {
		return Member{}, false
	}
	return r.Members[i], true
}

// RosterLink is a roster that was verified, with all links before it.
type RosterLink struct {
	Roster
	ID   DatasetID
	Hash Hash

	former map[string]Member // those of earlier links who are gone: what they sign now is revoked, not unknown
}

// Epoch returns the number of the link, which versions and metadata keys name.
func (l *RosterLink) Epoch() uint64 { return l.Sequence }

// NewRoster signs the first roster of a new dataset: the owner alone, who is the signer. It returns the envelope and the link.
func NewRoster(s signed.Signer, identityKey []byte, retention uint32, now time.Time) ([]byte, *RosterLink, error) {
	r := Roster{
		Sequence: 1, Author: s.User, Time: now.UnixMilli(), Retention: retention,
		Members: []Member{{User: s.User, IdentityKey: identityKey, SigningKey: s.Public(), Role: RoleOwner, AllColumns: true, Columns: []ColumnID{}}},
	}
	envelope, err := r.sign(s)
	if err != nil {
		return nil, nil, err
	}
	l, err := firstLink(envelope)
	return envelope, l, err
}

// Sign signs the roster that follows l. Dataset, sequence, previous hash, author, time and nonce of r are set here; members and
// retention are the caller's. A roster that the others would refuse is refused here.
func (l *RosterLink) Sign(s signed.Signer, r Roster, now time.Time) ([]byte, *RosterLink, error) {
	r.Dataset, r.Sequence, r.Previous, r.Author, r.Time = l.ID, l.Sequence+1, l.Hash, s.User, now.UnixMilli()
	envelope, err := r.sign(s)
	if err != nil {
		return nil, nil, err
	}
	next, err := l.Next(envelope)
	return envelope, next, err
}

func (r *Roster) sign(s signed.Signer) ([]byte, error) {
	r.Members = slices.Clone(r.Members)
	slices.SortFunc(r.Members, func(a, b Member) int { return compareStrings(a.User, b.User) })
	for i := range r.Members {
		r.Members[i].Columns = append([]ColumnID{}, r.Members[i].Columns...)
		slices.Sort(r.Members[i].Columns)
	}
	rand.Read(r.Nonce[:]) //nolint:errcheck // never fails: it ends the process instead
	if err := r.check(); err != nil {
		return nil, err
	}
	return signed.Sign(s, rosterType, r)
}

// OpenRoster verifies a chain from its first link, which the dataset id pins, to its last, which it returns.
func OpenRoster(dataset DatasetID, envelopes [][]byte) (*RosterLink, error) {
	if len(envelopes) == 0 {
		return nil, fault.New(fault.Incomplete, "the dataset has no roster")
	}
	l, err := firstLink(envelopes[0])
	if err != nil {
		return nil, err
	}
	if l.ID != dataset {
		return nil, fault.New(fault.NotAuthentic, "the roster is of another dataset")
	}
	for _, e := range envelopes[1:] {
		if l, err = l.Next(e); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// firstLink verifies a first roster: it vouches for its own author, and its hash is the dataset id that the caller compares.
func firstLink(envelope []byte) (*RosterLink, error) {
	claimed, err := peekRoster(envelope)
	if err != nil {
		return nil, err
	}
	author, ok := claimed.Member(claimed.Author)
	if !ok || author.Role != RoleOwner {
		return nil, fault.New(fault.NotAuthentic, "the first roster is not its author's")
	}
	r, err := openRoster(author.SigningKey, envelope)
	if err != nil {
		return nil, err
	}
	if r.Sequence != 1 || !r.Previous.IsZero() || r.Dataset != "" {
		return nil, fault.New(fault.Incomplete, "the chain of rosters does not begin at its beginning")
	}
	hash := Hash(signed.Hash(envelope))
	return &RosterLink{Roster: *r, ID: NewDatasetID(hash), Hash: hash, former: map[string]Member{}}, nil
}

func peekRoster(envelope []byte) (*Roster, error) {
	if len(envelope) > MaxRosterSize {
		return nil, fault.New(fault.TooLarge, "the roster is larger than %d bytes", MaxRosterSize)
	}
	var r Roster
	if err := signed.Peek(envelope, &r); err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "the roster cannot be read")
	}
	if err := r.check(); err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "the roster is not in order")
	}
	return &r, nil
}

func openRoster(key ed25519.PublicKey, envelope []byte) (*Roster, error) {
	var r Roster
	if err := signed.Open(key, rosterType, envelope, &r); err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "the roster is not signed by its author")
	}
	if err := r.check(); err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "the roster is not in order")
	}
	return &r, nil
}
