package ratchet

import (
	"crypto/ecdh"
	"encoding/hex"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"

	"coldframe/internal/secret"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The known answers of the protocol notes, section 14: M = "abc", Z = 40, 41, …; the second has the sign bit set.
var knownAnswers = []struct{ k, u, sig string }{
	{
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e5f",
		"8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f",
		"f5853feabcffddc0c8af950c90b0e794afea6c86781150184c0285c0480ef2f6b654c511755dd11effaf8670055439208e342a7c8b5e5c2a6e1b8914ae109609",
	},
	{
		"0002030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f60",
		"07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c",
		"c0cbef1027c020158774a38b91abdc6878cbc422e20cce2a6b2603573ca267b774fefc7eaf004130e69c710247f285b522cd63728dee30afe5f45ca89639ac8d",
	},
}

func TestKnownAnswers(t *testing.T) {
	var z [64]byte
	for i := range z {
		z[i] = byte(0x40 + i)
	}
	for i, c := range knownAnswers {
		k := unhex(t, c.k)
		if u := publicOf(k); hex.EncodeToString(u[:]) != c.u {
			t.Errorf("%d: u = %x, want %s", i, u, c.u)
		}
		sig := sign(k, []byte("abc"), &z)
		if hex.EncodeToString(sig[:]) != c.sig {
			t.Errorf("%d: signature = %x, want %s", i, sig, c.sig)
		}
		if !Verify([32]byte(unhex(t, c.u)), []byte("abc"), [64]byte(unhex(t, c.sig))) {
			t.Errorf("%d: the known signature does not verify", i)
		}
	}
}

func TestPublicKeyIsTheX25519One(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawIdentity(t)
		private, err := ecdh.X25519().NewPrivateKey(id.Key().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if public := id.Public(); string(private.PublicKey().Bytes()) != string(public[:]) {
			t.Fatalf("public = %x, X25519 says %x", public, private.PublicKey().Bytes())
		}
	})
}

func drawIdentity(t *rapid.T) Identity {
	k, err := secret.FromBytes(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := IdentityFromKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSignatureVerifiesForItsMessageAndKeyOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, other := drawIdentity(t), drawIdentity(t)
		message := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "message")
		sig := id.Sign(message)
		if !Verify(id.Public(), message, sig) {
			t.Fatal("own signature does not verify")
		}
		if id.Public() != other.Public() && Verify(other.Public(), message, sig) {
			t.Fatal("verifies for another key")
		}
		if Verify(id.Public(), append(message, 0), sig) {
			t.Fatal("verifies for a longer message")
		}
		bit := rapid.IntRange(0, 8*len(sig)-1).Draw(t, "bit")
		sig[bit/8] ^= 1 << (bit % 8)
		if Verify(id.Public(), message, sig) {
			t.Fatalf("verifies with bit %d flipped", bit)
		}
	})
}

func TestSignaturesAreRandom(t *testing.T) {
	id := NewIdentity()
	first, second := id.Sign([]byte("m")), id.Sign([]byte("m"))
	if first == second {
		t.Error("two signatures of one message are equal")
	}
}

// An s that is not reduced is the same number mod L: a second form of the signature.
func TestUnreducedSIsRefused(t *testing.T) {
	order := unhex(t, "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	tried := 0
	for range 32 {
		id := NewIdentity()
		sig := id.Sign([]byte("m"))
		sign := sig[63] & 0x80
		sig[63] &= 0x7f
		carry := 0
		for i := range order {
			sum := int(sig[32+i]) + int(order[i]) + carry
			sig[32+i], carry = byte(sum), sum>>8
		}
		if carry != 0 || sig[63]&0x80 != 0 {
			continue
		}
		sig[63] |= sign
		tried++
		if Verify(id.Public(), []byte("m"), sig) {
			t.Fatal("s + L verifies")
		}
	}
	if tried == 0 {
		t.Error("no signature had room for s + L")
	}
}

// For a key of small order, R = s·B alone makes a signature that verifies for a fair part of all messages.
func TestWeakKeysAreRefused(t *testing.T) {
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(append([]byte{5}, make([]byte, 31)...))
	if err != nil {
		t.Fatal(err)
	}
	var sig [64]byte
	copy(sig[:], new(edwards25519.Point).ScalarBaseMult(s).Bytes())
	sig[32] = 5
	for _, u := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // −1
	} {
		for n := range 64 {
			for _, bit := range []byte{0, 0x80} {
				sig[63] = bit
				if Verify([32]byte(unhex(t, u)), []byte{byte(n)}, sig) {
					t.Errorf("u = %s: a signature that nobody made verifies for message %d", u, n)
				}
			}
		}
	}
}

func TestNonCanonicalKeysAreRefused(t *testing.T) {
	id := NewIdentity()
	sig := id.Sign([]byte("m"))
	public := id.Public()
	public[31] |= 0x80
	if Verify(public, []byte("m"), sig) {
		t.Error("verifies with the top bit of the key set")
	}
	for low := range 19 { // p + 0 … p + 18 are 0 … 18 once more
		var high [32]byte
		for i := range high {
			high[i] = 0xff
		}
		high[0], high[31] = byte(0xed+low), 0x7f
		if _, ok := edwardsOf(high, 0); ok {
			t.Errorf("p + %d is taken for a key", low)
		}
	}
}

func TestIdentityThroughTheVault(t *testing.T) {
	id := NewIdentity()
	again, err := IdentityFromKey(id.Key())
	if err != nil || again.Public() != id.Public() {
		t.Fatalf("got %x, %v, want %x", again.Public(), err, id.Public())
	}
	if !Verify(id.Public(), []byte("m"), again.Sign([]byte("m"))) {
		t.Error("the restored identity signs for another key")
	}
	again.Wipe()
	if _, err := IdentityFromKey(again.Key()); err == nil || !again.IsZero() {
		t.Error("a wiped identity can be used")
	}
	if !Verify(id.Public(), []byte("m"), id.Sign([]byte("m"))) {
		t.Error("wiping the copy wiped the original")
	}
}
