package localapi

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coldframe/internal/sse"
)

// FuzzEventStream: what the client reads encodes back to a stream that gives the same events.
func FuzzEventStream(f *testing.F) {
	for _, s := range []string{
		"id: 1\nevent: x\ndata: {\"type\":\"x\",\"time\":\"2026-01-01T00:00:00Z\"}\n\n", ":\n\n", "retry: 1\n\n", "data: {\ndata: }\n\n", "data: {}\r\n\r\n", "id\n\n", "data:{}\n\n", "data: x\n\n",
	} {
		f.Add(s)
	}
	read := func(s string) (out []Notice) {
		r := sse.NewReader[Event](strings.NewReader(s), "", eventFormat)
		for r.Next() {
			out = append(out, Notice{ID: r.ID, Event: r.Event})
		}
		return out
	}
	f.Fuzz(func(t *testing.T, s string) {
		first := read(s)
		var again strings.Builder
		for _, n := range first {
			b, err := json.Marshal(n.Event)
			if err != nil {
				return // a year that JSON cannot write
			}
			fmt.Fprintf(&again, "id: %s\ndata: %s\n\n", n.ID, b)
		}
		second := read(again.String())
		if len(second) != len(first) {
			t.Fatalf("%q gave %d events, then %d", s, len(first), len(second))
		}
		for i := range first {
			if first[i].ID != second[i].ID || first[i].Event.Type != second[i].Event.Type {
				t.Fatalf("%q: %+v, then %+v", s, first[i], second[i])
			}
		}
	})
}

// FuzzTokenFile: what is taken is one line of visible ASCII, as it stands in the file.
func FuzzTokenFile(f *testing.F) {
	for _, s := range []string{"", "\n", "cf_user_x\n", "cf_user_x", "a b\n", "a\x00\n", "ä\n", "a\n\n", strings.Repeat("a", 300)} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "token")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := ReadTokenFile(path)
		if err == nil && (token == "" || token != strings.TrimSuffix(string(b), "\n") || strings.ContainsAny(token, " \n\x00")) {
			t.Fatalf("%q became %q", b, token)
		}
	})
}

func TestColumnsWithCommas(t *testing.T) {
	for want, names := range map[string][]string{"": nil, "a,b": {"a", "b"}, `"a,b",c`: {"a,b", "c"}, `"say ""x"""`: {`say "x"`}} {
		if got := joinColumns(names); got != want {
			t.Errorf("%q: %q, want %q", names, got, want)
		}
	}
}
