package kdf

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"
)

// Both agree with the standard library for every length.
func TestAgreesWithStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "key")
		a := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "a")
		b := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "b")
		h := hmac.New(sha256.New, key)
		h.Write(a)
		h.Write(b)
		if got := HMAC(key, a, b); !bytes.Equal(got[:], h.Sum(nil)) {
			t.Fatal("HMAC differs")
		}
		n := rapid.IntRange(1, 200).Draw(t, "n")
		want, err := hkdf.Key(sha256.New, a, key, string(b)+"info", n)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n)
		if HKDF(got, key, a, b, []byte("info")); !bytes.Equal(got, want) {
			t.Fatal("HKDF differs")
		}
	})
}

func TestNoAllocations(t *testing.T) {
	key, out, info := make([]byte, 32), make([]byte, 80), []byte("WhisperMessageKeys")
	if n := testing.AllocsPerRun(100, func() { HKDF(out, key, key, info); out[0] = HMAC(key, out)[0] }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkHKDF80(b *testing.B) {
	key, out, info := make([]byte, 32), make([]byte, 80), []byte("WhisperMessageKeys")
	for b.Loop() {
		HKDF(out, key, key, info)
	}
}
