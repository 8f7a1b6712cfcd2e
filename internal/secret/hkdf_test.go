package secret

import (
	"bytes"
	stdhkdf "crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"coldframe/internal/outside"
)

// derive is what Derive does with a key and the info that it makes of its label.
func derive(key, info []byte) []byte {
	d := newHKDF(len(info) + 1)
	defer d.wipe()
	d.extract(key)
	return bytes.Clone(d.expand(info))
}

func TestHKDFIsThatOfTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), KeySize, KeySize).Draw(t, "key")
		info := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "info")
		want, err := stdhkdf.Key(sha256.New, key, nil, string(info), KeySize)
		if err != nil {
			t.Fatal(err)
		}
		if got := derive(key, info); !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}

// Those of the vectors that have no salt and ask for no more than one block; the key is of any length there.
func TestWycheproofHKDF(t *testing.T) {
	b := outside.Wycheproof(t, "hkdf_sha256_test.json")
	var file struct {
		TestGroups []struct {
			Tests []struct {
				TcID                         int
				IKM, Salt, Info, OKM, Result string
				Size                         int
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	run := 0
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			if c.Salt != "" || c.Size > KeySize || len(c.IKM) > 2*KeySize || c.Result != "valid" {
				continue
			}
			if got := derive(unhex(c.IKM), unhex(c.Info)); hex.EncodeToString(got[:c.Size]) != c.OKM {
				t.Errorf("case %d: got %x, want %s", c.TcID, got[:c.Size], c.OKM)
			}
			run++
		}
	}
	t.Logf("Wycheproof: %d vectors run", run)
	if run == 0 {
		t.Error("no vectors run")
	}
}

// Nothing of key, pseudorandom key or output is in the memory that deriving used, and what it used never grew elsewhere.
func TestHKDFLeavesNothing(t *testing.T) {
	for _, size := range []int{0, 1, 31, 32, 55, 56, 64, 1000} {
		info := bytes.Repeat([]byte{7}, size)
		d := newHKDF(len(info) + 1)
		room := [][]byte{d.key, d.sum, d.state, d.message}
		d.extract(bytes.Repeat([]byte{0xa5}, KeySize))
		d.expand(info)
		if bytes.Equal(d.sum, make([]byte, KeySize)) || bytes.Equal(d.message[:sha256.BlockSize], make([]byte, sha256.BlockSize)) {
			t.Errorf("%d bytes of info: derived somewhere else", size)
		}
		d.wipe()
		for i, b := range room {
			if !bytes.Equal(b, make([]byte, len(b))) {
				t.Errorf("%d bytes of info: part %d is not wiped", size, i)
			}
		}
		fresh := sha256.New().(interface{ MarshalBinary() ([]byte, error) })
		want, _ := fresh.MarshalBinary()
		got, err := d.h.(interface{ MarshalBinary() ([]byte, error) }).MarshalBinary()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of info: the hash still holds %x", size, got)
		}
	}
}

func BenchmarkDerive(b *testing.B) {
	k := Random()
	for b.Loop() {
		k.Derive("bench", []byte("vault/item"), make([]byte, 16)).Wipe()
	}
}
