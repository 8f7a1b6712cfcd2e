package mlkem768

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"coldframe/internal/fault"
)

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

func TestFromSeedCopies(t *testing.T) {
	seed := sequence(0, SeedSize)
	k, err := FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	clear(seed)
	if !bytes.Equal(k.Seed(), sequence(0, SeedSize)) {
		t.Error("the key's seed is the caller's")
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
