package columnar

import (
	"encoding/base32"
	"encoding/hex"
	"math"

	"github.com/google/uuid"

	"coldframe/internal/fault"
)

// DatasetIDSize is the length in characters of a DatasetID.
const DatasetIDSize = 52

// MaxVersion is the highest version number and the highest roster sequence: numbers above are refused, so that none overflows (E06)
// and every JSON reader keeps them exact.
const MaxVersion = 1<<53 - 1

var datasetCoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Hash is a SHA-256 hash: of a signed envelope, a column chunk, a tail.
type Hash [32]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is the hash of nothing: the predecessor of a first link or version.
func (h Hash) IsZero() bool { return h == Hash{} }

// DatasetID names a dataset: the SHA-256 of the signed envelope of its first roster, in lower-case base32 without padding. Whoever
// knows the id knows who made the dataset, whatever a server says.
type DatasetID string

// NewDatasetID returns the id of the dataset whose first roster has this hash.
func NewDatasetID(first Hash) DatasetID { return DatasetID(datasetCoding.EncodeToString(first[:])) }

// ParseDatasetID returns s as an id, or fault.InvalidRequest if s is not one in its only spelling.
func ParseDatasetID(s string) (DatasetID, error) {
	b, err := datasetCoding.DecodeString(s)
	if len(s) != DatasetIDSize || err != nil || len(b) != len(Hash{}) || datasetCoding.EncodeToString(b) != s {
		return "", fault.New(fault.InvalidRequest, "not a dataset id")
	}
	return DatasetID(s), nil
}

// ColumnID names a column of a dataset: a UUID in its usual spelling, which stays when the column is renamed or moved. A column is
// a top-level field of the schema, with all that is nested in it.
type ColumnID string

// NewColumnID returns a random id.
func NewColumnID() ColumnID { return ColumnID(uuid.NewString()) }

func isUUID(s string) bool {
	u, err := uuid.Parse(s)
	return err == nil && u.String() == s
}

// Version numbers the contents that a dataset had one after the other, from 1.
type Version uint64

// Next returns the version after v, or fault.TooLarge if there is none.
func (v Version) Next() (Version, error) {
	if v >= MaxVersion {
		return 0, fault.New(fault.TooLarge, "no version follows %d", uint64(v))
	}
	return v + 1, nil
}

func addUint64(a, b uint64) (uint64, bool) {
	if a > math.MaxUint64-b {
		return 0, false
	}
	return a + b, true
}
