package seal

import (
	"bytes"
	"testing"
)

// FuzzOpen asks that nothing opens but what was sealed, that nothing panics, and that IDOf tells what is in the header.
func FuzzOpen(f *testing.F) {
	genuine := map[string]string{}
	for _, v := range readVectors(f) {
		f.Add(unhex(f, v.Sealed))
		if v.Refused == "" && v.Purpose == "vault/item" {
			genuine[v.Sealed] = v.Plaintext
		}
	}
	key := keyOf(f, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	opens := map[string]bool{}
	for sealed := range genuine {
		opens[string(unhex(f, sealed))] = true
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		before := bytes.Clone(sealed)
		plaintext, err := Open(key, "vault/item", place, sealed)
		if (err == nil) != opens[string(sealed)] {
			t.Errorf("opens to %d bytes, %v", len(plaintext), err)
		}
		if !bytes.Equal(sealed, before) {
			t.Error("opening changed the input")
		}
		if id, err := IDOf(sealed); err == nil && !bytes.Contains(sealed, id[:]) {
			t.Errorf("id %v is not in the bytes", id)
		}
	})
}
