package pme_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"coldframe/columnar/pme"
)

// commitmentVector compares the commitment of a data key with the one that another program made.
func commitmentVector(t *testing.T, v vector) {
	got := pme.DataKeyCommitment(unhex(t, v.DataKey), unhex(t, v.Salt), uint32(v.Column))
	if !bytes.Equal(got, unhex(t, v.Commitment)) {
		t.Fatalf("%x", got)
	}
}

// chunkVector opens a column chunk that another program sealed, module by module, and seals it again under the nonces that stand in it.
func chunkVector(t *testing.T, v vector) {
	aad := append(unhex(t, v.Prefix), unhex(t, v.Unique)...)
	chunk, key := unhex(t, v.Frame), unhex(t, v.DataKey)
	if sum := sha256.Sum256(chunk); hex.EncodeToString(sum[:]) != v.SHA256 {
		t.Fatal("another hash")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	var again []byte
	for i, m := range []struct {
		kind  int
		plain []byte
	}{{4, unhex(t, v.Header)}, {2, unhex(t, v.Plaintext)}} {
		n := 4 + int(binary.LittleEndian.Uint32(chunk[len(again):]))
		frame, aad := chunk[len(again):len(again)+n], pme.PageAAD(aad, m.kind, v.RowGroup, v.Column, v.Page)
		plain, err := pme.OpenFrame(key, bytes.Clone(frame), aad)
		if err != nil || !bytes.Equal(plain, m.plain) {
			t.Fatalf("module %d: %x (%v)", i, plain, err)
		}
		if binary.BigEndian.Uint32(frame[4:]) != uint32(i+1) {
			t.Fatalf("the nonce of module %d does not begin with its number", i)
		}
		again = append(again, frame[:16]...)
		again = gcm.Seal(again, frame[4:16], m.plain, aad)
	}
	if !bytes.Equal(again, chunk) {
		t.Fatal("other bytes")
	}
}
