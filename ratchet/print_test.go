package ratchet_test

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

	"coldframe/ratchet"
)

// canary is what every part in this test is made of. No four of its bytes in a row come up by chance.
var canary = []byte("\x91\xa7\xd3Zq~\xb2\x8fK\xe4\x96Q\xc1|\xf0\x99jW\xdd\x85\xaeV^\xcbR\xb8\xe9\x93fY\xda\xfe")

// leak returns in which form out has bytes of the canary, "" if in none.
func leak(out string) string {
	for i := 0; i+4 <= len(canary); i++ {
		b := canary[i : i+4]
		spelled := []string{string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b))}
		for _, verb := range []string{"%d", "%x", "%#x", "%X", "%c", "%q"} {
			for _, between := range []string{" ", ", ", ","} {
				spelled = append(spelled, fmt.Sprintf(strings.Repeat(verb+between, 3)+verb, b[0], b[1], b[2], b[3]))
			}
		}
		if i%3 == 0 {
			spelled = append(spelled, base64.StdEncoding.EncodeToString(b[:3]))
		}
		for _, s := range spelled {
			if strings.Contains(out, s) {
				return s
			}
		}
	}
	return ""
}

// Neither a format, nor a log, nor an encoder shows a byte of changes and parts, wherever they are.
func TestChangesAndPartsShowNothing(t *testing.T) {
	part := ratchet.Part{ID: 12, Body: canary}
	change := ratchet.Change{Counter: 34, Put: []ratchet.Part{part}, Drop: []ratchet.PartID{1}, PreKeys: canary, PreKeysCounter: 2}
	if fmt.Sprint(part) != "[part 12]" || fmt.Sprint(change) != "[change 34]" {
		t.Errorf("%v, %v", part, change)
	}
	for name, v := range map[string]any{
		"part": part, "its pointer": &part, "change": change,
		"prekeys alone": ratchet.Change{PreKeys: canary}, "pointer": &change, "parts": []ratchet.Part{part}, "put": change.Put,
		"field": struct{ C ratchet.Change }{change}, "field of a pointer": &struct{ P *ratchet.Part }{&part},
		"map": map[string]ratchet.Change{"c": change}, "any": []any{change, &part},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%c"} {
			if s := leak(fmt.Sprintf(verb, v)); s != "" {
				t.Errorf("%s: %s shows %q", name, verb, s)
			}
		}
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("text", "it", v, slog.Group("in", "it", v))
		}
		if s := leak(out.String()); s != "" || out.Len() == 0 {
			t.Errorf("%s: a log shows %q", name, s)
		}
		for encoder, encode := range map[string]func() ([]byte, error){
			"json":          func() ([]byte, error) { return json.Marshal(v) },
			"json indented": func() ([]byte, error) { return json.MarshalIndent(v, "", " ") },
			"xml":           func() ([]byte, error) { return xml.Marshal(v) },
			"gob":           func() ([]byte, error) { var b bytes.Buffer; err := gob.NewEncoder(&b).Encode(v); return b.Bytes(), err },
		} {
			b, err := encode()
			if err == nil {
				t.Errorf("%s: %s makes %q of it", name, encoder, b)
			}
			if s := leak(string(b) + fmt.Sprint(err)); s != "" {
				t.Errorf("%s: %s shows %q", name, encoder, s)
			}
		}
	}
	if leak(fmt.Sprintf("%x", canary)) == "" || leak(fmt.Sprintf("%d", canary)) == "" ||
		leak(base64.StdEncoding.EncodeToString(canary)) == "" {
		t.Error("this test finds nothing")
	}
}

// The same for whole objects, and for what is in them.
func TestObjectsEncodeToNothing(t *testing.T) {
	alice, bob := meet(t)
	for _, v := range []any{session(t, alice, bob), alice.PreKeys, *session(t, alice, bob), alice.Local.Identity} {
		if b, err := json.Marshal(v); err == nil && string(b) != "{}" {
			t.Errorf("%T: json makes %s of it", v, b)
		}
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(v); err == nil {
			t.Errorf("%T: gob makes %d bytes of it", v, b.Len())
		}
	}
}
