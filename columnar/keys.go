package columnar

import (
	"context"
	"crypto/subtle"
	"slices"

	"github.com/google/uuid"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
	"coldframe/internal/seal"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// Keys hands out the keys of a version: the keystore does, through the daemon. It returns the keys that this user has, which may be
// those of some columns only, and fault.NotFound if there are none. They are a copy: whoever asked
// wipes them.
type Keys interface {
	VersionKeys(ctx context.Context, dataset DatasetID, version Version) (*VersionKeys, error)
}

// NamedKey is a key with the UUID by which key metadata names it.
type NamedKey struct {
	ID  string
	Key secret.Key
}

// NewNamedKey returns a random key under a random id.
func NewNamedKey() NamedKey { return NamedKey{ID: uuid.NewString(), Key: secret.Random()} }

// ref returns what a manifest says of the key.
func (k NamedKey) ref() KeyRef {
	return KeyRef{ID: k.ID, Commitment: seal.Commitment(k.Key, []byte(k.ID))}
}

// Unwrap returns the data key that text, as it stands in a file's key metadata, holds under this key: 16, 24 or 32 bytes, which the
// caller wipes. It is what other readers of a part ask for. fault.NotAuthentic if it does not open.
func (k NamedKey) Unwrap(text string) ([]byte, error) {
	return pme.OpenWrapped(pme.NamedKey{ID: k.ID, Key: k.Key}, text)
}

// KeyRef binds a signed manifest to one key without telling it: the id alone would let somebody hand out another key under it, and
// AES-GCM opens to something else under another key (R9, D12).
type KeyRef struct {
	ID         string `cbor:"1,keyasint"`
	Commitment Hash   `cbor:"2,keyasint"`
}

// matches reports whether k is the key that r commits to.
func (r KeyRef) matches(k NamedKey) bool {
	if k.Key.IsZero() || k.ID != r.ID {
		return false
	}
	c := k.ref().Commitment
	return subtle.ConstantTimeCompare(c[:], r.Commitment[:]) == 1
}

// MetadataKey seals titles, names and row counts of a dataset; every member has it.
type MetadataKey struct {
	ID  seal.KeyID
	Key secret.Key
}

// NewMetadataKey returns a random key under a random id.
func NewMetadataKey() MetadataKey { return MetadataKey{ID: seal.RandomKeyID(), Key: secret.Random()} }

// VersionKeys are the keys of one version of a dataset: a footer key, and one for each column that its holder may read.
type VersionKeys struct {
	Footer  NamedKey
	Columns map[ColumnID]NamedKey
}

// NewVersionKeys draws new keys for a version with these columns.
func NewVersionKeys(columns []ColumnID) *VersionKeys {
	k := &VersionKeys{Footer: NewNamedKey(), Columns: make(map[ColumnID]NamedKey, len(columns))}
	for _, c := range columns {
		k.Columns[c] = NewNamedKey()
	}
	return k
}

// Wipe overwrites the keys. Copies made with Clone stay.
func (k *VersionKeys) Wipe() {
	k.Footer.Key.Wipe()
	for _, c := range k.Columns {
		c.Key.Wipe()
	}
}

// Clone returns a copy with keys of its own.
func (k *VersionKeys) Clone() *VersionKeys {
	c := &VersionKeys{
		Footer:  NamedKey{ID: k.Footer.ID, Key: k.Footer.Key.Clone()},
		Columns: make(map[ColumnID]NamedKey, len(k.Columns)),
	}
	for id, n := range k.Columns {
		c.Columns[id] = NamedKey{ID: n.ID, Key: n.Key.Clone()}
	}
	return c
}

// versionKeysBody is the body of the vault item that holds the keys of a version.
type versionKeysBody struct {
	Footer  keyBody   `cbor:"1,keyasint"`
	Columns []keyBody `cbor:"2,keyasint"`
}

type keyBody struct {
	Column ColumnID `cbor:"1,keyasint,omitempty"`
	ID     string   `cbor:"2,keyasint"`
	Key    []byte   `cbor:"3,keyasint"`
}

// Marshal returns the body of one vault item: secret, to be sealed and then wiped by the caller.
func (k *VersionKeys) Marshal() []byte {
	body := versionKeysBody{Footer: keyBody{ID: k.Footer.ID, Key: k.Footer.Key.Bytes()}, Columns: []keyBody{}}
	for id, n := range k.Columns {
		body.Columns = append(body.Columns, keyBody{Column: id, ID: n.ID, Key: n.Key.Bytes()})
	}
	slices.SortFunc(body.Columns, func(a, b keyBody) int { return compareStrings(a.Column, b.Column) })
	b, err := signed.Marshal(body)
	if err != nil {
		panic("columnar: version keys: " + err.Error())
	}
	return b
}

// UnmarshalVersionKeys reads what Marshal wrote, or returns fault.NotAuthentic.
func UnmarshalVersionKeys(b []byte) (*VersionKeys, error) {
	var body versionKeysBody
	if err := signed.Unmarshal(b, &body); err != nil {
		return nil, fault.Wrap(fault.NotAuthentic, err, "the keys of a version cannot be read")
	}
	k := &VersionKeys{Columns: make(map[ColumnID]NamedKey, len(body.Columns))}
	defer func() {
		secret.Wipe(body.Footer.Key)
		for _, c := range body.Columns {
			secret.Wipe(c.Key)
		}
	}()
	footer, err := body.Footer.open()
	if err != nil || body.Footer.Column != "" {
		return nil, fault.New(fault.NotAuthentic, "the footer key of a version cannot be read")
	}
	k.Footer = footer
	for i, c := range body.Columns {
		n, err := c.open()
		sorted := i == 0 || body.Columns[i-1].Column < c.Column
		if err != nil || !sorted || !isUUID(string(c.Column)) {
			k.Wipe()
			return nil, fault.New(fault.NotAuthentic, "the column keys of a version cannot be read")
		}
		k.Columns[c.Column] = n
	}
	return k, nil
}

func (b keyBody) open() (NamedKey, error) {
	if !isUUID(b.ID) {
		return NamedKey{}, fault.New(fault.NotAuthentic, "not a key id")
	}
	key, err := secret.FromBytes(b.Key)
	if err != nil {
		return NamedKey{}, err
	}
	return NamedKey{ID: b.ID, Key: key}, nil
}

// compareStrings orders by bytes, as deterministic CBOR does.
func compareStrings[S ~string](a, b S) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
