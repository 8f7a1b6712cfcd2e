package seal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

func TestSealerAndFunctionsOpenEachOthersValues(t *testing.T) {
	key, id := secret.Random(), RandomKeyID()
	s := NewSealer(key, id, "vault/item")
	for _, size := range []int{0, 1, 15, 16, 17, 1000} {
		plaintext := bytes.Repeat([]byte{0x5a}, size)
		sealed := s.Seal(place, plaintext)
		if len(sealed) != size+Overhead("vault/item") {
			t.Errorf("%d bytes sealed into %d, overhead %d", size, len(sealed), Overhead("vault/item"))
		}
		if got, err := Open(key, "vault/item", place, sealed); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("Open of a Sealer's %d bytes: %x, %v", size, got, err)
		}
		if got, err := s.Open(place, Seal(key, id, "vault/item", place, plaintext)); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("a Sealer's Open of %d bytes: %x, %v", size, got, err)
		}
	}
}

// One Sealer opens and refuses all the cases that it has the key and purpose for, with the same outcome as Open.
func TestSealerVectors(t *testing.T) {
	cases := readVectors(t)
	base := cases["opens.json"]
	id, err := IDOf(unhex(t, base.Sealed))
	if err != nil {
		t.Fatal(err)
	}
	s := NewSealer(keyOf(t, base.Key), id, base.Purpose)
	opened, refused := 0, 0
	for name, v := range cases {
		if v.Key != base.Key || v.Purpose != base.Purpose {
			continue
		}
		sealed := unhex(t, v.Sealed)
		before := bytes.Clone(sealed)
		got, err := s.Open(v.Context, sealed)
		if v.Refused == "" {
			opened++
			if err != nil || !bytes.Equal(got, unhex(t, v.Plaintext)) {
				t.Errorf("%s: got %x, %v, want %s", name, got, err, v.Plaintext)
			}
		} else {
			refused++
			if got != nil || err == nil || string(fault.CodeOf(err)) != v.Refused {
				t.Errorf("%s: %x, %v, want %s", name, got, err, v.Refused)
			}
		}
		if !bytes.Equal(sealed, before) {
			t.Errorf("%s: opening changed the input", name)
		}
	}
	t.Logf("%d cases opened, %d refused", opened, refused)
	if opened < 2 || refused < 20 {
		t.Error("hardly any cases run")
	}
}

// The key id is of the Sealer, not of the value: the functions open such a value, as they take its id from its header.
func TestSealerRefusesAnotherKeyID(t *testing.T) {
	key := secret.Random()
	sealed := Seal(key, RandomKeyID(), "vault/item", place, []byte("value"))
	if got, err := NewSealer(key, RandomKeyID(), "vault/item").Open(place, sealed); !errors.Is(err, fault.NotAuthentic) || got != nil {
		t.Errorf("%x, %v", got, err)
	}
}

func TestSealerDrawsNonces(t *testing.T) {
	s := NewSealer(secret.Random(), RandomKeyID(), "vault/item")
	if bytes.Equal(s.Seal(place, []byte("value")), s.Seal(place, []byte("value"))) {
		t.Error("two seals of one value are the same bytes")
	}
}

func TestSealerOfWipedKey(t *testing.T) {
	key := secret.Random()
	s := NewSealer(key, RandomKeyID(), "vault/item")
	sealed := s.Seal(place, []byte("value"))
	key.Wipe()
	if got, err := s.Open(place, sealed); !errors.Is(err, fault.Locked) || got != nil {
		t.Errorf("%x, %v", got, err)
	}
	wantPanic(t, "Seal", func() { s.Seal(place, nil) })
	wantPanic(t, "NewSealer", func() { NewSealer(key, RandomKeyID(), "vault/item") })
	wantPanic(t, "NewSealer with a bad purpose", func() { NewSealer(secret.Random(), RandomKeyID(), "vault item") })
}

func wantPanic(t *testing.T, what string, fn func()) {
	t.Helper()
	defer func() {
		if text := fmt.Sprint(recover()); !strings.HasPrefix(text, "seal: ") && !strings.HasPrefix(text, "secret: ") {
			t.Errorf("%s: panic %q", what, text)
		}
	}()
	fn()
}

func BenchmarkSealer(b *testing.B) {
	key, id := secret.Random(), RandomKeyID()
	s := NewSealer(key, id, "vault/item")
	for _, size := range []int{600, 1024} {
		plaintext := make([]byte, size)
		sealed := s.Seal(place, plaintext)
		run := func(name string, fn func()) {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					fn()
				}
			})
		}
		run("function/Seal", func() { Seal(key, id, "vault/item", place, plaintext) })
		run("function/Open", func() { _, _ = Open(key, "vault/item", place, sealed) })
		run("Sealer/Seal", func() { s.Seal(place, plaintext) })
		run("Sealer/Open", func() { _, _ = s.Open(place, sealed) })
	}
}
