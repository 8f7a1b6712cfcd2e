package columnar

import (
	"crypto/sha256"

	"coldframe/internal/signed"
)

// aadPrefix returns what binds all modules of a part to their place: SHA-256 of the deterministic CBOR array [dataset, version, part],
// the part by its object name (D01, D02).
func aadPrefix(dataset DatasetID, version Version, part ObjectName) []byte {
	b, err := signed.Marshal([]any{string(dataset), uint64(version), string(part)})
	if err != nil {
		panic("columnar: prefix: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return sum[:]
}
