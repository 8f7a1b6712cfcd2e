package ratchet

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/outside"
	"coldframe/ratchet/internal/kdf"
)

// wireVectors reads a file of Wycheproof's vectors. They are looked for from two folders below the module's root, and we are one below it.
func wireVectors(t *testing.T, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(outside.Wycheproof(t, name), into); err != nil {
		t.Fatal(err)
	}
}

// Vectors marked acceptable have public keys that are on the twist, not canonical or of small order. X25519 takes the first two, as RFC
// 7748 says; the third is refused.
func TestWycheproofX25519(t *testing.T) {
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Tests []struct {
				TcID                            int
				Public, Private, Shared, Result string
			}
		}
	}
	wireVectors(t, "x25519_test.json", &file)
	run, agreed, refused := 0, 0, 0
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			run++
			private, public, want := [32]byte(unhex(t, c.Private)), [32]byte(unhex(t, c.Public)), [32]byte(unhex(t, c.Shared))
			got, err := agree(&private, &public)
			switch {
			case want == [32]byte{}:
				if !errors.Is(err, fault.NotAuthentic) {
					t.Errorf("case %d: an all-zero agreement: %x, %v", c.TcID, got, err)
				} else {
					refused++
				}
			case err != nil || got != want:
				t.Errorf("case %d: got %x, %v, want %x", c.TcID, got, err, want)
			default:
				agreed++
			}
		}
	}
	t.Logf("Wycheproof X25519: %d run, %d passed: %d agreed, %d all-zero refused", run, agreed+refused, agreed, refused)
	if run != file.NumberOfTests || agreed == 0 || refused == 0 {
		t.Errorf("%d of %d vectors run", run, file.NumberOfTests)
	}
}

// Invalid are those that ask for more than 255 hashes, which is a programmer's mistake.
func TestWycheproofHKDF(t *testing.T) {
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Tests []struct {
				TcID                         int
				IKM, Salt, Info, OKM, Result string
				Size                         int
			}
		}
	}
	wireVectors(t, "hkdf_sha256_test.json", &file)
	run, passed, long := 0, 0, 0
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			salt := unhex(t, c.Salt)
			if len(salt) > 64 {
				long++ // kdf takes keys of a block at most
				continue
			}
			run++
			okm := make([]byte, c.Size)
			panicked := wirePanics(func() { kdf.HKDF(okm, salt, unhex(t, c.IKM), unhex(t, c.Info)) })
			if panicked != (c.Result == "invalid") || !panicked && hex.EncodeToString(okm) != c.OKM {
				t.Errorf("case %d: got %x, refused %v, want %s", c.TcID, okm, panicked, c.OKM)
				continue
			}
			passed++
		}
	}
	t.Logf("Wycheproof HKDF: %d run, %d passed; %d have a salt longer than a block", run, passed, long)
	if run+long != file.NumberOfTests || run == 0 {
		t.Errorf("%d of %d vectors run", run, file.NumberOfTests)
	}
}

func wirePanics(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}
