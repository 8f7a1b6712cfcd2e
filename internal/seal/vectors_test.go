package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	vectors "coldframe/docs/vectors/seal"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

var update = flag.Bool("update", false, "write new cases to docs/vectors/seal")

// vector is one case of docs/vectors/seal: sealed opens to plaintext, or is refused with the code in Refused.
type vector struct {
	Comment   string  `json:"comment"`
	Key       string  `json:"key"`
	Purpose   string  `json:"purpose"`
	Context   Context `json:"context"`
	Sealed    string  `json:"sealed"`
	Plaintext string  `json:"plaintext,omitempty"`
	Refused   string  `json:"refused,omitempty"`
}

func keyOf(t testing.TB, s string) secret.Key {
	t.Helper()
	k, err := secret.FromBytes(unhex(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	opened, refused := 0, 0
	for name, v := range readVectors(t) {
		got, err := Open(keyOf(t, v.Key), v.Purpose, v.Context, unhex(t, v.Sealed))
		switch v.Refused {
		case "":
			opened++
			if err != nil || hex.EncodeToString(got) != v.Plaintext {
				t.Errorf("%s: got %x, %v, want %s", name, got, err, v.Plaintext)
			}
		default:
			refused++
			if err == nil || string(fault.CodeOf(err)) != v.Refused {
				t.Errorf("%s: %v, want %s", name, err, v.Refused)
			}
		}
	}
	t.Logf("%d cases opened, %d refused", opened, refused)
	if opened == 0 || refused == 0 {
		t.Error("no cases run")
	}
}

// readVectors returns the cases by the names of their files.
func readVectors(t testing.TB) map[string]vector {
	t.Helper()
	names, err := fs.Glob(vectors.Files, "*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no vectors: ", err)
	}
	cases := map[string]vector{}
	for _, name := range names {
		b, err := vectors.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cases[name] = v
	}
	return cases
}

// writeVectors makes all cases anew. They are random: use it only when the format changes.
func writeVectors(t *testing.T) {
	const keyHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	const otherHex = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	id := KeyID{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}
	write := func(name string, v vector) {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("../../docs/vectors/seal", name+".json"), append(b, '\n'), 0o644); err != nil { //nolint:gosec // public
			t.Fatal(err)
		}
	}
	key, other := keyOf(t, keyHex), keyOf(t, otherHex)
	plaintext := []byte("the value")
	sealed := Seal(key, id, "vault/item", place, plaintext)
	base := vector{Key: keyHex, Purpose: "vault/item", Context: place, Sealed: hex.EncodeToString(sealed)}

	opens := base
	opens.Comment, opens.Plaintext = "opens", hex.EncodeToString(plaintext)
	write("opens", opens)
	opens.Comment, opens.Sealed, opens.Plaintext = "empty plaintext", hex.EncodeToString(Seal(key, id, "vault/item", place, nil)), ""
	write("opens-empty", opens)
	opens = vector{Comment: "longest purpose, empty context, 1000 zeros", Key: keyHex, Purpose: string(bytes.Repeat([]byte{'p'}, maxPurpose)), Plaintext: hex.EncodeToString(make([]byte, 1000))}
	opens.Sealed = hex.EncodeToString(Seal(key, id, opens.Purpose, opens.Context, make([]byte, 1000)))
	write("opens-long", opens)

	refuse := func(name, comment string, code fault.Code, edit func(v *vector, b []byte) []byte) {
		v := base
		v.Comment, v.Refused = comment, string(code)
		v.Sealed = hex.EncodeToString(edit(&v, bytes.Clone(sealed)))
		write(name, v)
	}
	field := func(name string, edit func(c *Context)) {
		refuse("context-"+name, "belongs to another "+name, fault.NotAuthentic, func(v *vector, b []byte) []byte { edit(&v.Context); return b })
	}
	field("owner", func(c *Context) { c.Owner = "u2" })
	field("type", func(c *Context) { c.Type = "index" })
	field("id", func(c *Context) { c.ID = "item-2" })
	field("field", func(c *Context) { c.Field = "" })
	field("version", func(c *Context) { c.Version-- })
	refuse("key", "another key", fault.NotAuthentic, func(v *vector, b []byte) []byte { v.Key = otherHex; return b })
	refuse("purpose", "another purpose of the same length", fault.NotAuthentic, func(v *vector, b []byte) []byte { v.Purpose = "vault/inde"; return b })
	for at, what := range map[int]string{0: "magic", 5: "purpose-length", 6: "purpose-text", 16: "key-id", 32: "commitment", 64: "nonce", 76: "ciphertext", len(sealed) - 1: "tag"} {
		refuse("flip-"+what, fmt.Sprintf("one bit of byte %d flipped", at), fault.NotAuthentic, func(_ *vector, b []byte) []byte { b[at] ^= 1; return b })
	}
	for _, n := range []byte{0, 2, 255} {
		refuse(fmt.Sprintf("version-%d", n), "another format version", fault.Policy, func(_ *vector, b []byte) []byte { b[4] = n; return b })
	}
	refuse("short", "last byte missing", fault.NotAuthentic, func(_ *vector, b []byte) []byte { return b[:len(b)-1] })
	refuse("long", "one byte more", fault.NotAuthentic, func(_ *vector, b []byte) []byte { return append(b, 0) })
	refuse("nothing", "no bytes", fault.NotAuthentic, func(*vector, []byte) []byte { return nil })
	refuse("two-keys", "AES-GCM-SIV alone opens it under this key too; the commitment is of another", fault.NotAuthentic,
		func(*vector, []byte) []byte { return twoKeys(t, other, key, id, "vault/item", place) })
}
