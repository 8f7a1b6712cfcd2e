package ratchet

import (
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"slices"

	"coldframe/internal/fault"
)

const (
	fingerprintVersion = 2    // ids are the 16 bytes of an account's UUID
	fingerprintRounds  = 5200 // hashes, the first one included
	fingerprintSize    = 32   // bytes of a hash that are compared by scanning
	fingerprintGroups  = 6    // of five digits, for each party, each made of five bytes
	maxScanned         = 4096 // bytes; more than a code that a camera reads can hold

	fieldScanVersion = 1
	fieldScanLocal   = 2
	fieldScanRemote  = 3
	fieldScanHash    = 1 // in the messages of the two above
)

// Fingerprint is the safety number of two identities (spec section 11): what two people compare to know that nobody sits between them.
type Fingerprint struct{ local, remote [fingerprintSize]byte }

// SafetyNumber returns the safety number of two identity keys and the ids of those who have them: 16 bytes, the account's UUID. It takes
// some milliseconds.
func SafetyNumber(localIdentity [32]byte, localID []byte, remoteIdentity [32]byte, remoteID []byte) Fingerprint {
	return Fingerprint{fingerprintHash(&localIdentity, localID), fingerprintHash(&remoteIdentity, remoteID)}
}

// fingerprintHash is h0 = SHA-512(00 00 ‖ key ‖ id ‖ key) and then SHA-512(h ‖ key), 5,200 hashes in all.
func fingerprintHash(identity *[32]byte, id []byte) [fingerprintSize]byte {
	var first [128]byte
	b := appendECKey(first[:2], identity)
	b = appendECKey(append(b, id...), identity)
	h := sha512.Sum512(b)
	var round [sha512.Size + ecKeySize]byte
	appendECKey(round[:sha512.Size], identity)
	for range fingerprintRounds - 1 {
		copy(round[:], h[:])
		h = sha512.Sum512(round[:])
	}
	return [fingerprintSize]byte(h[:])
}

// Digits returns the number to read aloud, 60 digits, the same on both sides. It is usually shown as 12 groups of five.
func (f Fingerprint) Digits() string {
	halves := []string{fingerprintDigits(&f.local), fingerprintDigits(&f.remote)}
	slices.Sort(halves)
	return halves[0] + halves[1]
}

func fingerprintDigits(hash *[fingerprintSize]byte) string {
	b := make([]byte, 0, 5*fingerprintGroups)
	for i := range fingerprintGroups {
		var group [8]byte
		copy(group[3:], hash[5*i:5*i+5])
		b = fmt.Appendf(b, "%05d", binary.BigEndian.Uint64(group[:])%100_000)
	}
	return string(b)
}

// Scannable returns the bytes to show as a code that the other side scans and hands to Compare: 74 bytes.
func (f Fingerprint) Scannable() []byte {
	b := appendProtoNumber(nil, fieldScanVersion, fingerprintVersion)
	b = appendScanHash(b, fieldScanLocal, &f.local)
	return appendScanHash(b, fieldScanRemote, &f.remote)
}

func appendScanHash(b []byte, number byte, hash *[fingerprintSize]byte) []byte {
	b = appendProtoSize(b, number, 2+fingerprintSize)
	return appendProtoBytes(b, fieldScanHash, hash[:])
}

// Compare checks what was scanned off the other side's screen. It returns nil if both sides have the same two identities. Errors:
// fault.KeyChanged if they have not, fault.Policy for a code of another version, fault.InvalidRequest for what is no such code.
func (f Fingerprint) Compare(scanned []byte) error {
	version, theirs, ok := parseScannable(scanned)
	switch {
	case !ok:
		return fault.New(fault.InvalidRequest, "the code is no safety number")
	case version != fingerprintVersion:
		return fault.New(fault.Policy, "a safety number of version %d; this is version %d", version, fingerprintVersion)
	}
	same := subtle.ConstantTimeCompare(theirs.local[:], f.remote[:]) & subtle.ConstantTimeCompare(theirs.remote[:], f.local[:])
	if same != 1 {
		return fault.New(fault.KeyChanged, "the safety numbers differ")
	}
	return nil
}

// parseScannable reads the bytes of a code. For another version than ours only the version is read.
func parseScannable(b []byte) (version uint32, f Fingerprint, ok bool) {
	var m protoFields
	if len(b) > maxScanned || !m.parse(b, protoSetOf(fieldScanVersion), protoSetOf(fieldScanLocal, fieldScanRemote)) {
		return 0, f, false
	}
	version = m.numbers[fieldScanVersion]
	if !m.present.has(fieldScanVersion) || version != fingerprintVersion {
		return version, f, m.present.has(fieldScanVersion)
	}
	ok = parseScanHash(&f.local, m.bytes[fieldScanLocal]) && parseScanHash(&f.remote, m.bytes[fieldScanRemote])
	return version, f, ok
}

func parseScanHash(hash *[fingerprintSize]byte, b []byte) bool {
	var m protoFields
	if !m.parse(b, 0, protoSetOf(fieldScanHash)) || len(m.bytes[fieldScanHash]) != fingerprintSize {
		return false
	}
	copy(hash[:], m.bytes[fieldScanHash])
	return true
}
