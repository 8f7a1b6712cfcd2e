package signed

import (
	"bytes"
	"io/fs"
	"testing"

	vectors "coldframe/docs/vectors/signed"
	"coldframe/internal/secret"
)

func seeds(f *testing.F) {
	for _, s := range []string{"", "00", "a10102", "8301f93c00f6", "9f00ff", "c000", "9bffffffffffffffff", "a2614101616102", "fb3ff199999999999a", "3bffffffffffffffff", "f97e00"} {
		f.Add(unhex(f, s))
	}
	names, err := fs.Glob(vectors.Files, "*.json")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, name := range names {
		f.Add(unhex(f, readVector(f, name).Envelope))
	}
}

// FuzzUnmarshal asks that what is taken encodes back to the same bytes.
func FuzzUnmarshal(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if Unmarshal(b, &v) != nil {
			return
		}
		again, err := Marshal(v)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
	})
}

// FuzzOpen asks that nothing opens that was not signed.
func FuzzOpen(f *testing.F) {
	seeds(f)
	s := Signer{Key: secret.Random()}
	genuine, err := Sign(s, "note", note{Author: "ada", Number: 7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(genuine)
	f.Fuzz(func(t *testing.T, b []byte) {
		var n note
		if err := Open(s.Public(), "note", b, &n); (err == nil) != bytes.Equal(b, genuine) {
			t.Errorf("%x: %v, %v", b, n, err)
		}
		_ = Peek(b, &n)
	})
}
