package daemon

import (
	"strings"
	"testing"
)

func FuzzTokenFile(f *testing.F) {
	_, text := newToken(UserTokenID)
	f.Add(append(text, '\n'))
	f.Add([]byte("cf_user_\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := parseTokenFile(b)
		if err != nil {
			return
		}
		if text+"\n" != string(b) {
			t.Fatalf("parsed %q from %q", text, b)
		}
	})
}

func FuzzCredential(f *testing.F) {
	f.Add([]byte("cfu_" + strings.Repeat("a", 52)))
	f.Add([]byte("cfu_" + strings.Repeat("a", 52) + "\n"))
	f.Add([]byte("cfu_"))
	f.Add([]byte("cfu_" + strings.Repeat("a", 51) + "b")) // spare bits that are not zero
	f.Fuzz(func(t *testing.T, b []byte) {
		given := strings.TrimSuffix(string(b), "\n")
		k, err := parseCredential(b)
		if err != nil {
			return
		}
		defer k.Wipe()
		if got := string(encodeCredential(k)); got != given {
			t.Fatalf("parsed %q, encodes to %q", given, got)
		}
	})
}
