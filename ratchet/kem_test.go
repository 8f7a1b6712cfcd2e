package ratchet

import (
	"bytes"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/cloudflare/circl/kem/kyber/kyber1024"
	"pgregory.net/rapid"

	"coldframe/internal/fault"
)

// Section 14: the key from seed seq(00,64), m = seq(40,32).
func TestKnownAnswersOfKyber1024(t *testing.T) {
	const (
		publicHash     = "c7b8fa0aa471d5ae18922d6ccad5b31e1d84f92ae723abfd13747018740a8530"
		ciphertextHash = "7c89743960f7c3d17bb69572e49de14fe0990c9113a0706963a8f4c7b39afcdf"
		shared         = "0ad8d1ea1b8dd788979b4379581218df9321bdce5567eca42ae6be7d395f1a54"
		final          = "4e024e4ade4de5647f97797774fde1d495d0464249a5ef7ea78377ad39c77039"
	)
	k := kemKey(wireSeq(0, 64))
	public := k.public()
	if h := sha256.Sum256(public); hex.EncodeToString(h[:]) != publicHash {
		t.Errorf("public key has hash %x", h)
	}
	ciphertext, got, err := kemEncapsulate(public, bytes.NewReader(wireSeq(0x40, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if h := sha256.Sum256(ciphertext); hex.EncodeToString(h[:]) != ciphertextHash {
		t.Errorf("ciphertext has hash %x", h)
	}
	if hex.EncodeToString(got[:]) != final {
		t.Errorf("secret %x", got)
	}
	if s, err := k.expand().Decapsulate(ciphertext); err != nil || hex.EncodeToString(s) != shared {
		t.Errorf("K' = %x, %v", s, err)
	}
	if s, err := k.decapsulate(ciphertext); err != nil || s != got {
		t.Errorf("decapsulated %x, %v", s, err)
	}
}

// circl has Kyber1024 in its round 3 form on its own.
func TestAgreesWithRound3Kyber(t *testing.T) {
	theirs, private, err := kyber1024.GenerateKeyPair(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := make([]byte, kyber1024.PublicKeySize)
	theirs.Pack(public)
	ciphertext, want, err := kemEncapsulate(public, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var got [32]byte
	private.DecapsulateTo(got[:], ciphertext)
	if got != want {
		t.Error("round 3 Kyber decapsulates another secret")
	}

	k := newKEMKey(rand.Reader)
	var ours kyber1024.PublicKey
	ours.Unpack(k.public())
	ours.EncapsulateTo(ciphertext, want[:], nil)
	if got, err := k.decapsulate(ciphertext); err != nil || got != want {
		t.Errorf("secret of round 3 Kyber not found: %v", err)
	}
}

func TestKEMSecretIsForItsKeyAndCiphertextOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := kemKey(rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "seed"))
		ciphertext, want, err := kemEncapsulate(k.public(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.decapsulate(ciphertext); err != nil || got != want {
			t.Fatalf("another secret, %v", err)
		}
		other := newKEMKey(rand.Reader)
		if got, err := other.decapsulate(ciphertext); err != nil || got == want {
			t.Fatalf("another key finds the secret, or %v", err)
		}
		bit := rapid.IntRange(0, 8*len(ciphertext)-1).Draw(t, "bit")
		ciphertext[bit/8] ^= 1 << (bit % 8)
		if got, err := k.decapsulate(ciphertext); err != nil || got == want {
			t.Fatalf("another ciphertext gives the secret, or %v", err)
		}
	})
}

func TestKEMCiphertextsOfOtherSizesAreRefused(t *testing.T) {
	k := newKEMKey(rand.Reader)
	for _, n := range []int{0, 1, 1088, 1567, 1569} {
		_, err := k.decapsulate(make([]byte, n))
		wireFault(t, "ciphertext", err, fault.NotAuthentic)
	}
}

// kemSetCoefficient writes one of the 1024 coefficients of a public key, 12 bits each.
func kemSetCoefficient(public []byte, i int, v uint16) {
	b := public[i/2*3:]
	if i%2 == 0 {
		b[0], b[1] = byte(v), b[1]&0xf0|byte(v>>8)
	} else {
		b[1], b[2] = b[1]&0x0f|byte(v<<4), byte(v>>4)
	}
}

// Both libraries refuse a coefficient that is not reduced; the largest reduced one passes.
func TestUnreducedKEMKeysAreRefused(t *testing.T) {
	k := newKEMKey(rand.Reader)
	honest := k.public()
	rapid.Check(t, func(t *rapid.T) {
		public := slices.Clone(honest)
		at := rapid.IntRange(0, 1023).Draw(t, "coefficient")
		kemSetCoefficient(public, at, 3328)
		if _, _, err := kemEncapsulate(public, rand.Reader); err != nil {
			t.Fatalf("3328: %v", err)
		}
		kemSetCoefficient(public, at, rapid.Uint16Range(3329, 4095).Draw(t, "value"))
		if _, _, err := kemEncapsulate(public, rand.Reader); fault.CodeOf(err) != fault.NotAuthentic {
			t.Fatalf("not reduced: %v", err)
		}
		if _, err := mlkem.NewEncapsulationKey1024(public); err == nil {
			t.Fatal("the standard library takes it")
		}
	})
}

// Whoever sees a ciphertext for a key whose polynomials are all zero can read the secret off it.
func TestDegenerateKEMKeysAreRefused(t *testing.T) {
	k := newKEMKey(rand.Reader)
	honest := k.public()
	for _, value := range []uint16{0, 1, 1664, 3328} {
		for polynomial := range kemPolynomials {
			public := slices.Clone(honest)
			for i := range 256 {
				kemSetCoefficient(public, 256*polynomial+i, value)
			}
			_, _, err := kemEncapsulate(public, rand.Reader)
			wireFault(t, "constant polynomial", err, fault.NotAuthentic)
			kemSetCoefficient(public, 256*polynomial+100, (value+1)%3329)
			if _, _, err := kemEncapsulate(public, rand.Reader); err != nil {
				t.Errorf("one coefficient differs: %v", err)
			}
		}
	}
	zeros, ones := make([]byte, kemPublicSize), wireRep(0xff, kemPublicSize)
	for _, public := range [][]byte{nil, zeros, ones, zeros[:1184], honest[:1567], append(honest, 0)} {
		_, _, err := kemEncapsulate(public, rand.Reader)
		wireFault(t, "degenerate key", err, fault.NotAuthentic)
	}
}

func TestKEMTypeBytes(t *testing.T) {
	k := newKEMKey(rand.Reader)
	encoded := appendKEM(nil, k.public())
	if got, err := parseKEM(encoded); err != nil || !bytes.Equal(got, k.public()) {
		t.Errorf("a KEM key does not parse: %v", err)
	}
	for kind := range 256 {
		encoded[0] = byte(kind)
		want := fault.NotAuthentic
		switch kind {
		case typeKyber1024:
			continue
		case typeKyber768, typeMLKEM1024:
			want = fault.Policy
		}
		_, err := parseKEM(encoded)
		wireFault(t, "type", err, want)
	}
	encoded[0] = typeKyber1024
	for _, b := range [][]byte{nil, encoded[:1], encoded[:1568], append(encoded, 0)} {
		_, err := parseKEM(b)
		wireFault(t, "size", err, fault.NotAuthentic)
	}
}

func BenchmarkKEM(b *testing.B) {
	k := newKEMKey(rand.Reader)
	public := k.public()
	ciphertext, _, err := kemEncapsulate(public, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encapsulate", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = kemEncapsulate(public, rand.Reader)
		}
	})
	b.Run("decapsulate", func(b *testing.B) {
		for b.Loop() {
			_, _ = k.decapsulate(ciphertext)
		}
	})
}
