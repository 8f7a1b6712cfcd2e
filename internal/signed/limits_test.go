package signed

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Encodings of RFC 8949 appendix A and others, and whether they are the deterministic ones.
func TestDeterministicForm(t *testing.T) {
	for _, c := range []struct {
		hex  string
		ok   bool
		what string
	}{
		{"00", true, "0"},
		{"17", true, "23"},
		{"1818", true, "24"},
		{"1817", false, "23 in two bytes"},
		{"190100", true, "256"},
		{"1900ff", false, "255 in three bytes"},
		{"1a00010000", true, "65536"},
		{"1a0000ffff", false, "65535 in five bytes"},
		{"1b0000000100000000", true, "2^32"},
		{"1b00000000ffffffff", false, "2^32 - 1 in nine bytes"},
		{"1bffffffffffffffff", true, "2^64 - 1"},
		{"3bffffffffffffffff", true, "-2^64"},
		{"1c", false, "reserved"},
		{"f4", true, "false"},
		{"f5", true, "true"},
		{"f6", true, "null"},
		{"f7", false, "undefined"},
		{"f0", false, "simple 16"},
		{"f818", false, "simple 24"},
		{"f820", false, "simple 32"},
		{"f93c00", true, "1.0"},
		{"f97e00", true, "NaN"},
		{"f97e01", false, "another NaN"},
		{"fa3f800000", false, "1.0 in single precision"},
		{"fa47c35000", true, "100000.0"},
		{"fa7fc00000", false, "NaN in single precision"},
		{"fa7f800000", false, "infinity in single precision"},
		{"f97c00", true, "infinity"},
		{"fb3ff199999999999a", true, "1.1"},
		{"fb3ff0000000000000", false, "1.0 in double precision"},
		{"fa33800000", false, "2^-24 in single precision"},
		{"fa33000000", true, "2^-25"},
		{"fa477fe000", false, "65504 in single precision"},
		{"fa477ff000", true, "65520"},
		{"40", true, "no bytes"},
		{"4401020304", true, "four bytes"},
		{"44010203", false, "three of four bytes"},
		{"5803010203", false, "length not in shortest form"},
		{"5f42010243030405ff", false, "indefinite bytes"},
		{"6161", true, "a"},
		{"62c3bc", true, "ü"},
		{"62c328", false, "not UTF-8"},
		{"83010203", true, "three numbers"},
		{"9f010203ff", false, "indefinite array"},
		{"830102", false, "two of three"},
		{"a201020304", true, "map"},
		{"a203040102", false, "keys not in order"},
		{"a201020103", false, "key twice"},
		{"a2616101614102", false, "text keys not in order"},
		{"a2614101616102", true, "text keys in order"},
		{"bf0102ff", false, "indefinite map"},
		{"a101", false, "key without value"},
		{"c074323031332d30332d32315432303a30343a30305a", false, "tag"},
		{"0000", false, "two values"},
		{"", false, "nothing"},
		{"ff", false, "break"},
	} {
		err := check(unhex(t, c.hex))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s (%s): %v", c.hex, c.what, err)
		}
	}
}

// Each limit, at it and one beyond; beyond costs no memory worth the name.
func TestLimits(t *testing.T) {
	arrayOf := func(n int, item []byte) []byte {
		out := []byte{0x9a, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
		return append(out, bytes.Repeat(item, n)...)
	}
	nested := func(depth int) []byte { return append(bytes.Repeat([]byte{0x81}, depth), 0) }
	text := func(size int) []byte {
		return append([]byte{0x5a, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}, make([]byte, size)...)
	}
	grid := func(items int) []byte { // four arrays and their elements, in one
		part := arrayOf(items/4-2, []byte{0})
		return append([]byte{0x84}, bytes.Repeat(part, 4)...)
	}
	for name, c := range map[string]struct {
		within, beyond []byte
	}{
		"depth":    {nested(MaxDepth), nested(MaxDepth + 1)},
		"elements": {arrayOf(MaxElements, []byte{0}), arrayOf(MaxElements+1, []byte{0})},
		"claimed":  {arrayOf(70000, []byte{0}), append([]byte{0x9b}, bytes.Repeat([]byte{0xff}, 8)...)},
		"size":     {text(MaxSize - 5), text(MaxSize - 4)},
		"items":    {grid(MaxItems - 4), append([]byte{0x85}, bytes.Repeat(arrayOf(MaxElements-1, []byte{0}), 5)...)},
	} {
		if err := check(c.within); err != nil {
			t.Errorf("%s: within the limit: %v", name, err)
		}
		var v any
		if err := Unmarshal(c.beyond, &v); !errors.Is(err, fault.TooLarge) {
			t.Errorf("%s: beyond the limit: %v", name, err)
		}
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	b := append([]byte{0x9a, 0, 1, 0, 0}, make([]byte, 1<<16)...)
	if n := testing.AllocsPerRun(10, func() { _ = check(b) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Half precision is right for exactly the floats that the encoder shortens to it.
func TestFloatsAgreeWithTheEncoder(t *testing.T) {
	unshortened, err := cbor.EncOptions{ShortestFloat: cbor.ShortestFloatNone, NaNConvert: cbor.NaNConvertNone, InfConvert: cbor.InfConvertNone}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.OneOf(rapid.Float64(), rapid.Custom(func(t *rapid.T) float64 {
			return math.Ldexp(float64(rapid.IntRange(-5000, 5000).Draw(t, "m")), rapid.IntRange(-40, 20).Draw(t, "e"))
		}), rapid.Map(rapid.Float32(), func(f float32) float64 { return float64(f) })).Draw(t, "f")
		b, err := encMode.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(b); err != nil {
			t.Fatalf("%v as %x: %v", f, b, err)
		}
		for _, v := range []any{f, float32(f)} {
			long, err := unshortened.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			short, err := encMode.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := check(long) == nil, bytes.Equal(short, long); got != want {
				t.Fatalf("%x is accepted: %v, want %v", long, got, want)
			}
		}
	})
}

func TestKeysAreNotEncoded(t *testing.T) {
	for _, v := range []any{secret.Random(), struct{ K secret.Key }{secret.Random()}, []secret.Key{secret.Random()}} {
		if b, err := Marshal(v); err == nil {
			t.Errorf("%T becomes %x", v, b)
		}
	}
}
