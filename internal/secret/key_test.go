package secret

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func fromHex(t *testing.T, s string) Key {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	k, err := FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFromBytesWipesItsArgument(t *testing.T) {
	for _, size := range []int{0, 16, 31, 32, 33, 64} {
		b := bytes.Repeat([]byte{7}, size)
		k, err := FromBytes(b)
		if (err == nil) != (size == KeySize) || k.IsZero() == (size == KeySize) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(b, make([]byte, size)) {
			t.Errorf("%d bytes are still there", size)
		}
	}
}

func TestEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.Byte(), KeySize, KeySize).Draw(t, "a")
		b := bytes.Clone(a)
		if rapid.Bool().Draw(t, "differ") {
			b[rapid.IntRange(0, KeySize-1).Draw(t, "at")] ^= rapid.ByteRange(1, 255).Draw(t, "by")
		}
		want := bytes.Equal(a, b)
		ka, errA := FromBytes(a)
		kb, errB := FromBytes(b)
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if ka.Equal(kb) != want || kb.Equal(ka) != want || !ka.Equal(ka) {
			t.Fatalf("Equal is not %v", want)
		}
	})
	var none Key
	if none.Equal(none) || Random().Equal(none) || none.Equal(Random()) {
		t.Error("no key equals something")
	}
}

func TestWipeReachesAllCopiesButNoClone(t *testing.T) {
	k := Random()
	again, clone := k, k.Clone()
	view := k.Bytes()
	k.Wipe()
	k.Wipe()
	if !again.IsZero() || again.Bytes() != nil || !again.Clone().IsZero() {
		t.Error("a copy of a wiped key is still a key")
	}
	if !bytes.Equal(view, make([]byte, KeySize)) {
		t.Error("the bytes of a wiped key are still there")
	}
	if clone.IsZero() || bytes.Equal(clone.Bytes(), make([]byte, KeySize)) {
		t.Error("wiping a key wiped its clone")
	}
	Key{}.Wipe()
}

func TestBytesCannotGrowIntoTheNextKey(t *testing.T) {
	k := Random()
	if b := k.Bytes(); cap(b) != KeySize {
		t.Errorf("a view has room for %d bytes", cap(b))
	}
}

// The values were computed with another implementation of HKDF (Python's hmac and hashlib).
func TestDeriveKnownAnswers(t *testing.T) {
	k := fromHex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	for _, c := range []struct {
		label string
		info  [][]byte
		want  string
	}{
		{"test", nil, "668deeb05d5665c7ca0bb41037dc7db6fe04d1e33ff2a7414bf6c2829d07e5af"},
		{"test", [][]byte{[]byte("a"), []byte("bc")}, "dc41e056177563f524ad501e3c06471c53e2d1155a517965d3cf107686bfe9f6"},
		{"test", [][]byte{[]byte("ab"), []byte("c")}, "b217bfff601ba9567204dc7f7aa7215982896d430b20e477f209c8c2b19b39c4"},
	} {
		if got := hex.EncodeToString(k.Derive(c.label, c.info...).Bytes()); got != c.want {
			t.Errorf("Derive(%q, %q) = %s, want %s", c.label, c.info, got, c.want)
		}
	}
}

func TestDerivePanics(t *testing.T) {
	for name, call := range map[string]func(){
		"no key":     func() { Key{}.Derive("test") },
		"zero label": func() { Random().Derive("te\x00st") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}

// Wiping waits for those who use the key: nobody ever sees half of one.
func TestUseAndWipeTogether(t *testing.T) {
	for range 200 {
		k := Random()
		want := bytes.Clone(k.Bytes())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				k.Use(func(b []byte) {
					if !bytes.Equal(b, want) {
						t.Error("a key changed while it was in use")
					}
				})
			})
		}
		wg.Go(k.Wipe)
		wg.Wait()
	}
}

func TestDroppedKeyIsWiped(t *testing.T) {
	a := &arena{}
	slot := func() *[KeySize]byte { // so that the key itself is gone on return
		k := a.create(func(b []byte) { copy(b, "dropped without a word and wiped") })
		return k.h.slot
	}()
	for range 500 {
		runtime.GC()
		a.mu.Lock()
		wiped := *slot == [KeySize]byte{}
		a.mu.Unlock()
		if wiped {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("a dropped key is still in memory")
}

func TestWipedSlotsAreUsedAgain(t *testing.T) {
	a := &arena{}
	for range 10 * regionSize / KeySize {
		a.create(func(b []byte) { b[0] = 1 }).Wipe()
	}
	if len(a.regions) != 1 {
		t.Errorf("%d regions for one key at a time", len(a.regions))
	}
	first, second := a.create(func([]byte) {}), a.create(func([]byte) {})
	if first.h.slot == second.h.slot {
		t.Error("two keys share one slot")
	}
}
