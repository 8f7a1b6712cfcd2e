package mlkem768

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"
)

// sequence returns n bytes that count up from first.
func sequence(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// The known answers of the protocol notes, section 14.
func TestKnownAnswers(t *testing.T) {
	k := Generate(bytes.NewReader(sequence(0, SeedSize)))
	m := [MSize]byte(sequence(0x40, MSize))
	header, vector := k.Header(), k.Vector()
	c1, shared := EncapsulateFirst(&header, &m)
	c2, err := EncapsulateSecond(&header, &m, &vector)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := k.Decapsulate(c1[:], c2[:])
	if err != nil {
		t.Fatal(err)
	}
	hashT, hashC1 := sha256.Sum256(vector[:]), sha256.Sum256(c1[:])
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"header", header[:], "5e43481c3eeb397eb192505229b67a201ea893c3e2cb32da8bc342fa4dea0578" +
			"a24e16d8f8f9383a95b77050f4d9fd2f5733eec1d63ef3c23ebf9918173669a7"},
		{"SHA-256(t)", hashT[:], "61a9c583b9edb3b603c61b0da52a5014a5dfafe2df6174924882c508e419b532"},
		{"ss", shared[:], "9cddd089ffe70e3996e76f7c8d06746df34d07e8657bc0fcf2bb0e1c3084aea1"},
		{"ss of Decaps", opened[:], "9cddd089ffe70e3996e76f7c8d06746df34d07e8657bc0fcf2bb0e1c3084aea1"},
		{"SHA-256(c1)", hashC1[:], "c74ff62fbf0d33c4b45296912986c4d767f1ec60f2730b6caaf0bc8b36fd55d0"},
		{"c2", c2[:32], "d21850752c1099fff98b71bcdaab76f7063323e78faa521cd243f74ddc7f7775"},
	} {
		if hex.EncodeToString(c.got) != c.want {
			t.Errorf("%s is %x, want %s", c.name, c.got, c.want)
		}
	}
}

func drawKey(t *rapid.T) *DecapsulationKey {
	k, err := FromSeed(rapid.SliceOfN(rapid.Byte(), SeedSize, SeedSize).Draw(t, "seed"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func drawM(t *rapid.T) *[MSize]byte {
	return (*[MSize]byte)(rapid.SliceOfN(rapid.Byte(), MSize, MSize).Draw(t, "m"))
}

// Two halves make, byte for byte, the ciphertext and secret that the standard library makes of the same key and m. circl's K-PKE is that
// of Kyber's third round: this is what shows that it is FIPS 203's.
func TestHalvesAreTheStandardLibrarysWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, m := drawKey(t), drawM(t)
		header, vector := k.Header(), k.Vector()
		whole, err := mlkem.NewEncapsulationKey768(append(vector[:], header[:rhoSize]...))
		if err != nil {
			t.Fatal(err)
		}
		wantShared, want, err := mlkemtest.Encapsulate768(whole, m[:])
		if err != nil {
			t.Fatal(err)
		}
		c1, shared := EncapsulateFirst(&header, m)
		c2, err := EncapsulateSecond(&header, m, &vector)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(c1[:], c2[:]...), want) || !bytes.Equal(shared[:], wantShared) {
			t.Fatal("differs from the standard library")
		}
	})
}

// The owner of the key reads the secret, from the stored seed as well; it is not in a ciphertext with a bit flipped.
func TestDecapsulate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, m := drawKey(t), drawM(t)
		header, vector := k.Header(), k.Vector()
		c1, shared := EncapsulateFirst(&header, m)
		c2, err := EncapsulateSecond(&header, m, &vector)
		if err != nil {
			t.Fatal(err)
		}
		again, err := FromSeed(k.Seed())
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []*DecapsulationKey{k, again} {
			if got, err := key.Decapsulate(c1[:], c2[:]); err != nil || got != shared {
				t.Fatal("another secret", err)
			}
		}
		part := rapid.SampledFrom([][]byte{c1[:], c2[:]}).Draw(t, "part")
		bit := rapid.IntRange(0, 8*len(part)-1).Draw(t, "bit")
		part[bit/8] ^= 1 << (bit % 8)
		if got, err := k.Decapsulate(c1[:], c2[:]); err != nil || got == shared {
			t.Fatal("the secret is in another ciphertext", err)
		}
	})
}

// m stays the caller's, who needs it for the second half.
func TestArgumentsAreNotChanged(t *testing.T) {
	k := Generate(rand.Reader)
	header, vector, m := k.Header(), k.Vector(), [MSize]byte{1}
	c1, _ := EncapsulateFirst(&header, &m)
	c2, err := EncapsulateSecond(&header, &m, &vector)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Decapsulate(c1[:], c2[:]); err != nil {
		t.Fatal(err)
	}
	if header != k.Header() || vector != k.Vector() || m != ([MSize]byte{1}) {
		t.Error("an argument was changed")
	}
}
