package dialogue

import (
	"encoding/hex"
	"testing"

	"coldframe/ratchet"
)

// Safety numbers are the same on both sides and the same bytes as libsignal's; each side's scannable form is accepted by the other.
func TestInteropSafetyNumber(t *testing.T) {
	const private = "187df9ca0ed8d45bd26d0f2a6d1a8f3ae6e1d0b2a95c4bd7b93d0a5f3b4e8c61" // any will do
	ids := [2]string{"9d0652a3dcc34d11975f74d61598733f", "796abedbca4e4f1888031fde5b921f9f"}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			a, twin := connect(t, ours), connect(t, version)
			for _, p := range []*peer{a, twin} { // the same party twice
				p.identity = p.must(t, "init", fields{"name": uuids[0], "identity_private": private}).IdentityKey
			}
			if a.identity != twin.identity {
				t.Fatalf("one scalar, two identities: %s and %s", a.identity, twin.identity)
			}
			b := start(t, version, uuids[1])
			see := func(p, other *peer, own, remote int) answer {
				return p.must(t, "fingerprint", fields{"remote_identity": other.identity, "local_id": ids[own], "remote_id": ids[remote]})
			}
			mine, same, theirs := see(a, b, 0, 1), see(twin, b, 0, 1), see(b, a, 1, 0)
			if len(mine.Displayable) != 60 || mine.Displayable != theirs.Displayable || mine.Displayable != same.Displayable {
				t.Errorf("the digits differ:\n%s\n%s\n%s", mine.Displayable, same.Displayable, theirs.Displayable)
			}
			if mine.Scannable != same.Scannable {
				t.Errorf("the scannable forms differ:\n%s\n%s", mine.Scannable, same.Scannable)
			}
			f := ratchet.SafetyNumber(key(t, a.identity), bytesOf(t, ids[0]), key(t, b.identity), bytesOf(t, ids[1]))
			if err := f.Compare(bytesOf(t, theirs.Scannable)); err != nil {
				t.Error("we refuse libsignal's code:", err)
			}
			if err := f.Compare(bytesOf(t, same.Scannable)); err == nil {
				t.Error("we take our own code for the other's")
			}
		})
	}
}

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// key returns the 32 bytes of a key of the wire.
func key(t *testing.T, text string) [32]byte {
	t.Helper()
	b := bytesOf(t, text)
	if len(b) != 33 || b[0] != 5 {
		t.Fatalf("no public key: %s", text)
	}
	return [32]byte(b[1:])
}
