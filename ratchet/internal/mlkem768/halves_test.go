package mlkem768

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
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

func TestWrongLengths(t *testing.T) {
	for _, n := range []int{0, 32, 63, 65, 96, 2400} {
		if _, err := FromSeed(make([]byte, n)); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("a seed of %d bytes: %v", n, err)
		}
	}
	k := Generate(rand.Reader)
	for _, n := range [][2]int{{0, 0}, {960, 0}, {959, 128}, {961, 127}, {960, 127}, {960, 129}, {128, 960}, {1088, 0}} {
		if _, err := k.Decapsulate(make([]byte, n[0]), make([]byte, n[1])); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("a ciphertext of %d and %d bytes: %v", n[0], n[1], err)
		}
	}
}

func TestGenerateNeedsARandomSeed(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a key without random bytes")
		}
	}()
	Generate(io.LimitReader(rand.Reader, SeedSize-1))
}

// A wiped key has no seed, and is not the key of the seed that is left, whether it was used before or not.
func TestWipe(t *testing.T) {
	for _, used := range []bool{false, true} {
		k := Generate(rand.Reader)
		if used {
			k.Header()
		}
		seed := k.Seed()
		k.Wipe()
		k.Wipe()
		if !bytes.Equal(seed, make([]byte, SeedSize)) {
			t.Error("the seed is not wiped")
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a wiped key opened a ciphertext")
				}
			}()
			_, _ = k.Decapsulate(make([]byte, C1Size), make([]byte, C2Size))
		}()
	}
}

// A key in a log, alone or in another value, does not show its seed.
func TestKeyIsNotPrinted(t *testing.T) {
	k, err := FromSeed(bytes.Repeat([]byte{0xa5}, SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		for _, v := range []any{k, struct{ k *DecapsulationKey }{k}} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, "a5a5") || strings.Contains(s, "165 165") || strings.Contains(s, "0xa5, 0xa5") {
				t.Errorf("%s prints %s", verb, s)
			}
		}
	}
}

// headerOf returns the header that belongs to a vector, as its owner would send it.
func headerOf(rho []byte, vector *[VectorSize]byte) (header [HeaderSize]byte) {
	copy(header[:], rho)
	hash := sha3.Sum256(append(vector[:], rho...))
	copy(header[rhoSize:], hash[:])
	return header
}

// setCoefficient sets a coefficient of a vector, 12 bits each, low ones first (FIPS 203, algorithm 5).
func setCoefficient(vector *[VectorSize]byte, at int, value uint16) {
	b := vector[at/2*3:]
	if at%2 == 0 {
		b[0], b[1] = byte(value), b[1]&0xf0|byte(value>>8)
	} else {
		b[1], b[2] = b[1]&0x0f|byte(value<<4), byte(value>>4)
	}
}

// modulus is the q of ML-KEM.
const modulus = 3329

// A vector with a coefficient that is not reduced is refused, for every such value and at every place, though its hash is right. A key
// that was sent in two ways would have two ciphertexts.
func TestUnreducedCoefficientsAreRefused(t *testing.T) {
	honest := Generate(bytes.NewReader(sequence(0, SeedSize)))
	good, rho := honest.Vector(), honest.Header()
	try := func(at int, value uint16) error {
		vector := good
		setCoefficient(&vector, at, value)
		header := headerOf(rho[:rhoSize], &vector)
		_, err := EncapsulateSecond(&header, new([MSize]byte), &vector)
		return err
	}
	for value := uint16(modulus); value < 1<<12; value++ {
		if err := try(int(value)%768, value); !errors.Is(err, fault.NotAuthentic) {
			t.Fatalf("%d: %v", value, err)
		}
	}
	for at := range 768 {
		if err := try(at, modulus); !errors.Is(err, fault.NotAuthentic) {
			t.Fatalf("%d at %d: %v", modulus, at, err)
		}
	}
	for _, value := range []uint16{0, 1, modulus - 1} {
		if err := try(767, value); err != nil {
			t.Fatalf("%d is reduced, but %v", value, err)
		}
	}
}

// A vector that is not the one announced is refused.
func TestVectorOfAnotherHeaderIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, other := drawKey(t), Generate(rand.Reader)
		header, vector := k.Header(), k.Vector()
		m := drawM(t)
		bit := rapid.IntRange(0, 8*VectorSize-1).Draw(t, "bit")
		flipped := vector
		flipped[bit/8] ^= 1 << (bit % 8)
		if c2, err := EncapsulateSecond(&header, m, &flipped); !errors.Is(err, fault.NotAuthentic) || c2 != ([C2Size]byte{}) {
			t.Fatal("a bit of the vector flipped:", err)
		}
		bit = rapid.IntRange(0, 8*HeaderSize-1).Draw(t, "bit of header")
		wrong := header
		wrong[bit/8] ^= 1 << (bit % 8)
		if _, err := EncapsulateSecond(&wrong, m, &vector); !errors.Is(err, fault.NotAuthentic) {
			t.Fatal("a bit of the header flipped:", err)
		}
		another := other.Vector()
		if _, err := EncapsulateSecond(&header, m, &another); !errors.Is(err, fault.NotAuthentic) {
			t.Fatal("the vector of another key:", err)
		}
	})
}

// Keys of one value throughout are refused though their hash is right: zero by our own rule, the others as they are not reduced.
func TestDegenerateVectorsAreRefused(t *testing.T) {
	for _, value := range []byte{0, 0xff, 0xdd} {
		vector := [VectorSize]byte(bytes.Repeat([]byte{value}, VectorSize))
		for _, rho := range [][]byte{make([]byte, rhoSize), sequence(0, rhoSize)} {
			header := headerOf(rho, &vector)
			if _, err := EncapsulateSecond(&header, &[MSize]byte{1}, &vector); !errors.Is(err, fault.NotAuthentic) {
				t.Errorf("%02x throughout: %v", value, err)
			}
		}
	}
}

func BenchmarkGenerate(b *testing.B) { // with header and vector
	b.ReportAllocs()
	for b.Loop() {
		k := Generate(rand.Reader)
		k.Header()
		k.Vector()
	}
}

func BenchmarkEncapsulateFirst(b *testing.B) {
	header, m := Generate(rand.Reader).Header(), [MSize]byte{1}
	b.ReportAllocs()
	for b.Loop() {
		EncapsulateFirst(&header, &m)
	}
}

func BenchmarkEncapsulateSecond(b *testing.B) {
	k, m := Generate(rand.Reader), [MSize]byte{1}
	header, vector := k.Header(), k.Vector()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncapsulateSecond(&header, &m, &vector); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecapsulate(b *testing.B) {
	for _, fresh := range []bool{false, true} {
		b.Run(fmt.Sprintf("fromSeed=%v", fresh), func(b *testing.B) {
			k := Generate(rand.Reader)
			c1, c2 := make([]byte, C1Size), make([]byte, C2Size)
			b.ReportAllocs()
			for b.Loop() {
				if fresh {
					k, _ = FromSeed(k.Seed())
				}
				if _, err := k.Decapsulate(c1, c2); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
