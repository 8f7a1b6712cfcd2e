package mlkem768

import (
	"bytes"
	"crypto/rand"
	"crypto/sha3"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/fault"
)

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
