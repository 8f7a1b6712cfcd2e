package columnar

import (
	"strings"
	"testing"
)

func TestObjectNames(t *testing.T) {
	seen := map[ObjectName]bool{}
	for range 1000 {
		n := NewObjectName()
		if p, err := ParseObjectName(string(n)); err != nil || p != n || seen[n] {
			t.Fatalf("%q: %v, seen before: %v", n, err, seen[n])
		}
		seen[n] = true
	}
	good := strings.Repeat("a", 26)
	for _, bad := range []string{
		"", "a", good[1:], good + "a", strings.ToUpper(good), "../" + good[3:], good[:25] + "/", good[:25] + "\x00", good[:25] + "0",
		good[:25] + "1", good[:25] + "=", good[:25] + "b", // bits that are not used are zero
		"\n" + good[1:], good[:13] + "\r\n" + good[15:],
	} {
		if _, err := ParseObjectName(bad); err == nil {
			t.Errorf("%q was taken as a name", bad)
		}
	}
}

func FuzzParseObjectName(f *testing.F) {
	f.Add(string(NewObjectName()))
	f.Add("")
	f.Add("../../etc/passwd")
	f.Add(strings.Repeat("a", 25) + "\n")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseObjectName(s)
		if err != nil {
			return
		}
		if string(n) != s || len(s) != ObjectNameSize || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Fatalf("%q was taken as %q", s, n)
		}
		b, err := objectNameCoding.DecodeString(s)
		if err != nil || objectNameCoding.EncodeToString(b) != s {
			t.Fatalf("%q has another spelling", s)
		}
	})
}
