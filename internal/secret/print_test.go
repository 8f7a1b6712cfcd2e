package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Ways to hold a key.
type (
	open     struct{ K Key }
	hidden   struct{ k Key }
	deep     struct{ in struct{ list []hidden } }
	behind   struct{ any any }
	embedded struct{ Key }
)

func nestings(k Key) map[string]any {
	d := deep{}
	d.in.list = []hidden{{k}}
	return map[string]any{
		"itself": k, "pointer": &k, "exported field": open{k}, "unexported field": hidden{k}, "pointer to a struct": &hidden{k},
		"slice": []Key{k}, "map": map[string]Key{"k": k}, "deep": d, "interface": behind{k}, "embedded": embedded{k}, "pointer in interface": behind{&k},
	}
}

// spellings are all forms in which four neighbouring bytes of a key could be printed.
func spellings(key []byte) []string {
	var out []string
	for i := 0; i+4 <= len(key); i++ {
		b := key[i : i+4]
		out = append(out, string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)))
		for _, verb := range []string{"%d", "%x", "%X", "%#x", "%b", "%o", "%U", "%c", "%q"} {
			for _, sep := range []string{" ", ", ", ","} {
				out = append(out, fmt.Sprintf(strings.Repeat(verb+sep, 3)+verb, b[0], b[1], b[2], b[3]))
			}
		}
		if i%3 == 0 {
			out = append(out, base64.StdEncoding.EncodeToString(b[:3]))
		}
	}
	return out
}

var canary = []byte("\x91\xa7\xd3Zq~\xb2\x8fK\xe4\x96Q\xc1|\xf0\x99jW\xdd\x85\xaeV^\xcbR\xb8\xe9\x93fY\xda\xfe")

func leaks(out string) string {
	for _, s := range spellings(canary) {
		if strings.Contains(out, s) {
			return s
		}
	}
	return ""
}

func canaryKey(t *testing.T) Key {
	t.Helper()
	k, err := FromBytes(bytes.Clone(canary))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDetectorSeesALeak(t *testing.T) {
	for _, out := range []string{fmt.Sprintf("%d", canary), fmt.Sprintf("%x", canary), fmt.Sprintf("%#v", canary), string(canary), base64.StdEncoding.EncodeToString(canary)} {
		if leaks(out) == "" {
			t.Errorf("not seen in %q", out)
		}
	}
}

func TestNothingIsPrinted(t *testing.T) {
	printed := 0
	for name, v := range nestings(canaryKey(t)) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%U", "%c", "%e", "%t", "%p", "%T", "%w", "%z", "% x", "%#x"} {
			if s := leaks(fmt.Sprintf(verb, v)); s != "" {
				t.Errorf("%s with %s prints %q", name, verb, s)
			}
			printed++
		}
		if s := leaks(fmt.Sprint(v) + fmt.Errorf("failed: %v", v).Error()); s != "" {
			t.Errorf("%s in an error prints %q", name, s)
		}
	}
	if printed == 0 {
		t.Error("nothing was tried")
	}
}

func TestNothingIsEncoded(t *testing.T) {
	for name, v := range nestings(canaryKey(t)) {
		for format, encode := range map[string]func(any) ([]byte, error){
			"JSON": json.Marshal,
			"XML":  xml.Marshal,
			"gob": func(v any) ([]byte, error) {
				var b bytes.Buffer
				err := gob.NewEncoder(&b).Encode(v)
				return b.Bytes(), err
			},
		} {
			out, err := encode(v)
			if s := leaks(string(out) + fmt.Sprint(err)); s != "" {
				t.Errorf("%s as %s holds %q", name, format, s)
			}
			if err == nil && (name == "itself" || name == "exported field" || name == "slice") {
				t.Errorf("%s as %s is no error: the key would be lost without a word", name, format)
			}
		}
	}
}

func TestNothingIsLogged(t *testing.T) {
	var out bytes.Buffer
	text := slog.New(slog.NewTextHandler(&out, nil))
	js := slog.New(slog.NewJSONHandler(&out, nil))
	for name, v := range nestings(canaryKey(t)) {
		text.Info(name, "v", v, slog.Group("g", "v", v))
		js.Info(name, "v", v, slog.Group("g", "v", v))
	}
	if s := leaks(out.String()); s != "" {
		t.Errorf("the log holds %q", s)
	}
	if !strings.Contains(out.String(), "[key]") {
		t.Error("nothing was logged")
	}
}
