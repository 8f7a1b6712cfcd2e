package signed

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	vectors "coldframe/docs/vectors/signed"
	"coldframe/internal/fault"
	"coldframe/internal/secret"
)

var update = flag.Bool("update", false, "write the cases of docs/vectors/signed")

// vector is one case of docs/vectors/signed. Envelope opens to Payload as a thing of type Type, or is refused.
type vector struct {
	Comment  string `json:"comment"`
	Seed     string `json:"seed,omitempty"` // of the signer; given if the envelope is exactly what signing the payload gives
	Public   string `json:"public"`
	Type     string `json:"type"`
	Envelope string `json:"envelope"`
	Payload  string `json:"payload,omitempty"`
	Hash     string `json:"hash,omitempty"`
	Refused  string `json:"refused,omitempty"`
}

func readVector(t testing.TB, name string) (v vector) {
	t.Helper()
	b, err := vectors.Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func seedKey(t testing.TB, s string) secret.Key {
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
	names, err := fs.Glob(vectors.Files, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	opened, refused := 0, 0
	for _, name := range names {
		v := readVector(t, name)
		e := unhex(t, v.Envelope)
		var n note
		err := Open(unhex(t, v.Public), v.Type, e, &n)
		if v.Refused != "" {
			refused++
			if err == nil || string(fault.CodeOf(err)) != v.Refused {
				t.Errorf("%s: %v, want %s", name, err, v.Refused)
			}
			continue
		}
		opened++
		payload, merr := Marshal(n)
		if err != nil || merr != nil || hex.EncodeToString(payload) != v.Payload {
			t.Errorf("%s: got %x, %v, want %s", name, payload, err, v.Payload)
		}
		again, err := Sign(Signer{Key: seedKey(t, v.Seed)}, v.Type, n)
		if err != nil || !bytes.Equal(again, e) {
			t.Errorf("%s: signing gives %x, %v", name, again, err)
		}
		if h := Hash(e); hex.EncodeToString(h[:]) != v.Hash {
			t.Errorf("%s: hash %x, want %s", name, h, v.Hash)
		}
	}
	t.Logf("%d cases opened, %d refused", opened, refused)
	if opened == 0 || refused == 0 {
		t.Error("no cases run")
	}
}

func writeVectors(t *testing.T) {
	const seed = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	s := Signer{Key: seedKey(t, seed)}
	write := func(name string, v vector) {
		v.Public = hex.EncodeToString(s.Public())
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("../../docs/vectors/signed", name+".json"), append(b, '\n'), 0o644); err != nil { //nolint:gosec // public
			t.Fatal(err)
		}
	}
	sign := func(v any) []byte {
		e, err := Sign(s, "note", v)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for name, n := range map[string]note{
		"opens":       {Author: "ada", Number: 7, Prev: []byte{1, 2, 3}},
		"opens-empty": {},
		"opens-large": {Author: "grüße", Number: 1<<64 - 1},
	} {
		e := sign(n)
		payload, _ := Marshal(n)
		h := Hash(e)
		write(name, vector{Comment: fmt.Sprintf("author %q, number %d, prev %x", n.Author, n.Number, n.Prev), Seed: seed, Type: "note", Envelope: hex.EncodeToString(e), Payload: hex.EncodeToString(payload), Hash: hex.EncodeToString(h[:])})
	}
	refuse := func(name, comment string, e []byte) {
		write(name, vector{Comment: comment, Type: "note", Envelope: hex.EncodeToString(e), Refused: string(fault.NotAuthentic)})
	}
	// raw signs bytes that Marshal would never make.
	raw := func(payload string) []byte {
		p := unhex(t, payload)
		var e []byte
		s.withPrivate(func(k ed25519.PrivateKey) {
			e, _ = encMode.Marshal(envelope{Payload: p, Signature: ed25519.Sign(k, message("note", p))})
		})
		return e
	}
	good := sign(note{Author: "ada", Number: 7})
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	refuse("signature", "one bit of the signature flipped", flipped)
	flipped = bytes.Clone(good)
	flipped[10] ^= 1
	refuse("payload", "one bit of the payload flipped", flipped)
	refuse("long", "one byte more", append(bytes.Clone(good), 0))
	refuse("short", "last byte missing", good[:len(good)-1])
	refuse("tagged", "the envelope has a tag", append([]byte{0xc1}, good...))
	refuse("indefinite", "the envelope is an array of indefinite length", append(append([]byte{0x9f}, good[1:]...), 0xff))
	var parts envelope
	if err := decode(strict, good, &parts); err != nil {
		t.Fatal(err)
	}
	numbers := func(b []byte) (out []int) {
		for _, n := range b {
			out = append(out, int(n))
		}
		return out
	}
	shaped := func(v ...any) []byte {
		e, err := encMode.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	refuse("payload-numbers", "the payload is an array of its bytes as numbers", shaped(numbers(parts.Payload), parts.Signature))
	refuse("signature-numbers", "the signature is an array of its bytes as numbers", shaped(parts.Payload, numbers(parts.Signature)))
	refuse("null", "null", []byte{0xf6})
	refuse("three", "an array of three", shaped(parts.Payload, parts.Signature, 0))
	refuse("key-order", "signed, but the keys are not in order", raw("a2666e756d626572076661757468"+"6f7263616461"))
	refuse("key-twice", "signed, but a key is there twice", raw("a366617574686f726361646166617574686f72636164616"+"66e756d62657207"))
	refuse("long-integer", "signed, but a number is not in its shortest form", raw("a266617574686f7263616461666e756d6265721807"))
	refuse("unknown-field", "signed, but with a field that the reader does not know", raw("a361780066617574686f7263616461666e756d62657207"))
	refuse("wrong-shape", "signed, but a number where a map should be", raw("07"))
	other := vector{Comment: "signed as another type", Type: "roster", Envelope: hex.EncodeToString(good), Refused: string(fault.NotAuthentic)}
	write("type", other)
	write("too-deep", vector{Comment: "deeper than any value", Type: "note", Envelope: hex.EncodeToString(append(bytes.Repeat([]byte{0x81}, 40), 0)), Refused: string(fault.TooLarge)})
}
