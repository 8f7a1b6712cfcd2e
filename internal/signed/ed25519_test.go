package signed

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"testing"

	"filippo.io/edwards25519"

	"coldframe/internal/fault"
	"coldframe/internal/outside"
	"coldframe/internal/secret"
)

// verify is what Open does with a key, a message and a signature.
func verify(public ed25519.PublicKey, message, signature []byte) bool {
	return sound(public) && ed25519.Verify(public, message, signature)
}

func TestWycheproofEd25519(t *testing.T) {
	b := outside.Wycheproof(t, "ed25519_test.json")
	var file struct {
		TestGroups []struct {
			PublicKey struct{ PK string }
			Tests     []struct {
				TcID             int
				Msg, Sig, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	valid, invalid := 0, 0
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			want := c.Result == "valid"
			if got := verify(unhex(t, g.PublicKey.PK), unhex(t, c.Msg), unhex(t, c.Sig)); got != want {
				t.Errorf("case %d: %v, want %v", c.TcID, got, want)
			}
			if want {
				valid++
			} else {
				invalid++
			}
		}
	}
	t.Logf("Wycheproof: %d valid, %d invalid run", valid, invalid)
	if valid == 0 || invalid == 0 {
		t.Error("no vectors run")
	}
}

// With a key of small order the signature [R = s·B, s] verifies for every message whose hash kills the key: nobody signed it.
func TestWeakKeyIsRefused(t *testing.T) {
	identity := ed25519.PublicKey(edwards25519.NewIdentityPoint().Bytes())
	signature := make([]byte, ed25519.SignatureSize)
	copy(signature, identity)
	if !ed25519.Verify(identity, []byte("anything"), signature) {
		t.Fatal("the attack does not work: this test shows nothing")
	}
	payload, err := Marshal(note{Author: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := Marshal(envelope{Payload: payload, Signature: signature})
	if err != nil {
		t.Fatal(err)
	}
	var n note
	if err := Open(identity, "note", forged, &n); !errors.Is(err, fault.NotAuthentic) || n.Author != "" {
		t.Errorf("got %v, %v", n, err)
	}
	for _, key := range []ed25519.PublicKey{nil, make([]byte, 31), bytes.Repeat([]byte{0xff}, 32)} {
		if err := Open(key, "note", forged, &n); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("key %x: %v", key, err)
		}
	}
}

func TestEveryBitCounts(t *testing.T) {
	s := Signer{Key: secret.Random()}
	e, err := Sign(s, "note", note{Author: "ada", Number: 3, Prev: []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(e) {
		b := bytes.Clone(e)
		b[bit/8] ^= 1 << (bit % 8)
		var n note
		if err := Open(s.Public(), "note", b, &n); !errors.Is(err, fault.NotAuthentic) && !errors.Is(err, fault.TooLarge) || n.Author != "" {
			t.Errorf("bit %d flipped: %v, %v", bit, n, err)
		}
	}
}

func TestPanics(t *testing.T) {
	for name, call := range map[string]func(){
		"no key":       func() { Signer{}.Public() },
		"no type":      func() { _, _ = Sign(Signer{Key: secret.Random()}, "", 1) },
		"type with 0":  func() { _, _ = Sign(Signer{Key: secret.Random()}, "a\x00b", 1) },
		"no pointer":   func() { _ = Unmarshal([]byte{0}, 1) },
		"no key, sign": func() { _, _ = Sign(Signer{}, "note", 1) },
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
