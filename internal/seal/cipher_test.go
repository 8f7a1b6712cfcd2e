package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	tink "github.com/tink-crypto/tink-go/v2/aead/subtle"

	"coldframe/internal/outside"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkRaw wants the cipher alone to open nonce ‖ result to plaintext, or to refuse it. The library draws its own nonces, so the known
// answers are checked by opening; GCM-SIV is deterministic, so nothing else opens to the same plaintext.
func checkRaw(t *testing.T, key, nonce, ad, result, plaintext string, valid bool) {
	t.Helper()
	c, err := tink.NewAESGCMSIV(unhex(t, key))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Decrypt(append(unhex(t, nonce), unhex(t, result)...), unhex(t, ad))
	if (err == nil) != valid || valid && !bytes.Equal(got, unhex(t, plaintext)) {
		t.Errorf("key %s nonce %s result %s: got %x, %v, want %s, %v", key, nonce, result, got, err, plaintext, valid)
	}
}

// RFC 8452 appendix C: C.1 (128 bit), C.2 (256 bit), C.3 (counter wrap).
func TestRFC8452(t *testing.T) {
	b, err := os.ReadFile("testdata/rfc8452.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Section, Key, Nonce, AAD, Plaintext, Result string }
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	run := map[string]int{}
	for _, c := range cases {
		checkRaw(t, c.Key, c.Nonce, c.AAD, c.Result, c.Plaintext, true)
		run[c.Section]++
	}
	t.Logf("RFC 8452: %v", run)
	if run["C.1"] != 24 || run["C.2"] != 24 || run["C.3"] != 2 {
		t.Errorf("%v run, want all 50", run)
	}
}

func TestWycheproofAESGCMSIV(t *testing.T) {
	b := outside.Wycheproof(t, "aes_gcm_siv_test.json")
	var file struct {
		TestGroups []struct {
			Tests []struct {
				Key, IV, AAD, Msg, Ct, Tag, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	valid, invalid := 0, 0
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			checkRaw(t, c.Key, c.IV, c.AAD, c.Ct+c.Tag, c.Msg, c.Result == "valid")
			if c.Result == "valid" {
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
