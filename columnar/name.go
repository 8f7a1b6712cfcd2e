package columnar

import (
	"crypto/rand"
	"encoding/base32"

	"coldframe/internal/fault"
)

// ObjectNameSize is the length in characters of an object name: 16 random bytes in base32 without padding.
const ObjectNameSize = 26

const objectNameBytes = 16

// objectNameCoding is base32 (RFC 4648, section 6) in lower case: a name is the same on file systems that do not tell case.
var objectNameCoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ObjectName is the name of an object in a store. It is random and tells nothing about what is inside (D14).
type ObjectName string

// NewObjectName returns a name of 128 random bits.
func NewObjectName() ObjectName {
	var b [objectNameBytes]byte
	rand.Read(b[:]) //nolint:errcheck // never fails: it ends the process instead
	return ObjectName(objectNameCoding.EncodeToString(b[:]))
}

// ParseObjectName returns s as a name, or fault.InvalidRequest if s is not one in its only spelling. What parses is safe as a
// path element and as an S3 key.
func ParseObjectName(s string) (ObjectName, error) {
	if len(s) != ObjectNameSize {
		return "", fault.New(fault.InvalidRequest, "an object name has %d characters", ObjectNameSize)
	}
	b, err := objectNameCoding.DecodeString(s)
	if err != nil || len(b) != objectNameBytes || objectNameCoding.EncodeToString(b) != s {
		return "", fault.New(fault.InvalidRequest, "not an object name")
	}
	return ObjectName(s), nil
}
