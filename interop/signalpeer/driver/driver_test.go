package driver

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

// ask sends one line and returns the answer.
func (d *driver) ask(t *testing.T, line string) map[string]any {
	t.Helper()
	b, _ := d.answer([]byte(line))
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil || bytes.ContainsRune(b, '\n') {
		t.Fatalf("no JSON line: %q", b)
	}
	return out
}

// want asks that a line succeeds.
func (d *driver) want(t *testing.T, line string) map[string]any {
	t.Helper()
	a := d.ask(t, line)
	if a["ok"] != true || a["error"] != nil || a["detail"] != nil {
		t.Fatalf("%.200s: %v", line, a)
	}
	return a
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pair returns two peers, the first of which has begun a session with the second.
func pair(t *testing.T) (a, b *driver) {
	t.Helper()
	a, b = &driver{}, &driver{}
	a.want(t, `{"cmd":"init","name":"ada"}`)
	b.want(t, `{"cmd":"init","name":"bob","device":3}`)
	bundle := b.want(t, `{"cmd":"bundle","one_time":true}`)["bundle"]
	a.want(t, `{"cmd":"process_bundle","bundle":`+text(t, bundle)+`}`)
	return a, b
}

const toBob, toAda = `"remote":{"name":"bob","device":3}`, `"remote":{"name":"ada","device":1}`

// sends has one peer write and the other read.
func sends(t *testing.T, from, to *driver, toName, fromName string) {
	t.Helper()
	m := from.want(t, `{"cmd":"encrypt",`+toName+`,"plaintext":"68656c6c6f"}`)
	request := `{"cmd":"decrypt",` + fromName + `,"type":` + text(t, m["type"]) + `,"ciphertext":` + text(t, m["ciphertext"]) + `}`
	if a := to.want(t, request); a["plaintext"] != "68656c6c6f" {
		t.Fatalf("read %v", a)
	}
	if a := to.ask(t, request); a["ok"] != false || a["error"] != "replayed" {
		t.Fatalf("a second time: %v", a)
	}
}

func TestConversation(t *testing.T) {
	a, b := pair(t)
	if s := a.want(t, `{"cmd":"session",`+toBob+`}`); s["unacknowledged"] != true || s["epoch"] != 1.0 || s["archived"] != 0.0 {
		t.Errorf("%v", s)
	}
	if s := b.want(t, `{"cmd":"session",`+toAda+`}`); s["exists"] != false {
		t.Errorf("%v", s)
	}
	for range 3 {
		sends(t, a, b, toBob, toAda)
		sends(t, b, a, toAda, toBob)
	}
	s := a.want(t, `{"cmd":"session",`+toBob+`}`)
	if identity := s["remote_identity"].(string); s["unacknowledged"] != false || len(identity) != 66 || !strings.HasPrefix(identity, "05") {
		t.Errorf("%v", s)
	}
}

func TestInitTakesWhatItIsGiven(t *testing.T) {
	d := &driver{}
	private := strings.Repeat("40", 32)
	line := `{"cmd":"init","name":"ada","device":127,"registration_id":0,"identity_private":"` + private + `"}`
	first, second := d.want(t, line), d.want(t, line)
	if text(t, first) != text(t, second) || first["device"] != 127.0 || first["registration_id"] != 0.0 {
		t.Errorf("%v and %v", first, second)
	}
	bundle := d.want(t, `{"cmd":"bundle"}`)["bundle"].(map[string]any)
	if bundle["one_time_prekey"] != nil || bundle["device_id"] != 127.0 || bundle["identity_key"] != first["identity_key"] {
		t.Errorf("%v", bundle)
	}
	var kem [2]string
	for i := range kem {
		bundle := d.want(t, `{"cmd":"bundle","kyber_last_resort":true}`)["bundle"].(map[string]any)
		kem[i] = text(t, bundle["kyber_prekey"])
	}
	if kem[0] != kem[1] {
		t.Error("two last-resort prekeys")
	}
}

// dump and load may come at any point: also between process_bundle and the first message.
func TestDumpAndLoad(t *testing.T) {
	a, b := pair(t)
	for range 4 {
		for _, d := range []**driver{&a, &b} {
			state := (*d).want(t, `{"cmd":"dump"}`)["state"].(string)
			next := &driver{}
			next.want(t, `{"cmd":"load","state":"`+state+`"}`)
			if again := next.want(t, `{"cmd":"dump"}`)["state"]; again != state {
				t.Fatal("another state after load")
			}
			*d = next
		}
		sends(t, a, b, toBob, toAda)
		sends(t, b, a, toAda, toBob)
	}
}

// Whatever is wrong with a request is refused, the id is repeated, and nothing has changed.
func TestBadRequests(t *testing.T) {
	a, _ := pair(t)
	bundle := text(t, a.want(t, `{"cmd":"bundle","one_time":true}`)["bundle"])
	before := a.want(t, `{"cmd":"dump"}`)["state"]
	for _, line := range []string{
		`nonsense`, `null`, `[]`, `"init"`, `{}`, `{"cmd":1}`, `{"cmd":null}`, `{"cmd":"no such"}`, `{"cmd":"dump"} {"cmd":"quit"}`,
		`{"cmd":"init"}`, `{"cmd":"init","name":null}`, `{"cmd":"init","name":1}`,
		`{"cmd":"init","Name":"x"}`,
		`{"cmd":"init","name":"x","device":0}`, `{"cmd":"init","name":"x","device":128}`, `{"cmd":"init","name":"x","device":-1}`,
		`{"cmd":"init","name":"x","device":1.5}`, `{"cmd":"init","name":"x","registration_id":4294967296}`,
		`{"cmd":"init","name":"x","identity_private":"00"}`, `{"cmd":"init","name":"x","identity_private":"zz"}`,
		`{"cmd":"bundle","one_time":"yes"}`,
		`{"cmd":"process_bundle"}`, `{"cmd":"process_bundle","bundle":{}}`, `{"cmd":"process_bundle","bundle":7}`,
		`{"cmd":"process_bundle","bundle":` + strings.Replace(bundle, `"device_id":1`, `"device_id":0`, 1) + `}`,
		`{"cmd":"process_bundle","bundle":` + strings.Replace(bundle, `"registration_id"`, `"registration"`, 1) + `}`,
		`{"cmd":"encrypt"}`, `{"cmd":"encrypt",` + toBob + `}`, `{"cmd":"encrypt",` + toBob + `,"plaintext":"0"}`,
		`{"cmd":"encrypt",` + toBob + `,"plaintext":"xx"}`, `{"cmd":"encrypt","remote":{},"plaintext":""}`,
		`{"cmd":"encrypt","remote":{"name":"bob","device":300},"plaintext":""}`,
		`{"cmd":"decrypt",` + toBob + `,"type":4,"ciphertext":""}`, `{"cmd":"decrypt",` + toBob + `,"type":"2","ciphertext":""}`,
		`{"cmd":"decrypt",` + toBob + `,"type":2}`, `{"cmd":"session"}`, `{"cmd":"session","remote":"bob"}`,
		`{"cmd":"fingerprint","remote_identity":"05","local_id":"","remote_id":""}`,
		`{"cmd":"load"}`, `{"cmd":"load","state":"00"}`, `{"cmd":"load","state":"7b7d"}`, `{"cmd":"load","state":{}}`,
	} {
		if a := a.ask(t, line); a["ok"] != false || a["error"] != "invalid_request" || a["detail"] == "" {
			t.Errorf("%.100s: %v", line, a)
		}
		if strings.HasPrefix(line, "{\"") && strings.Count(line, `"cmd"`) == 1 {
			if a := a.ask(t, `{"id":"seven",`+line[1:]); a["id"] != "seven" || a["ok"] != false {
				t.Errorf("%.100s with an id: %v", line, a)
			}
		}
	}
	if after := a.want(t, `{"cmd":"dump"}`)["state"]; after != before {
		t.Error("refused requests changed the state")
	}
	for _, line := range []string{`{"cmd":"bundle"}`, `{"cmd":"dump"}`, `{"cmd":"session",` + toBob + `}`} {
		if a := (&driver{}).ask(t, line); a["error"] != "invalid_request" {
			t.Errorf("before init, %s: %v", line, a)
		}
	}
}

// Refusals of package ratchet keep their codes.
func TestRefusals(t *testing.T) {
	a, b := pair(t)
	made := text(t, b.want(t, `{"cmd":"bundle"}`)["bundle"])
	var bundle map[string]any
	with := func(change func()) string {
		bundle = nil
		if err := json.Unmarshal([]byte(made), &bundle); err != nil {
			t.Fatal(err)
		}
		change()
		return `{"cmd":"process_bundle","bundle":` + text(t, bundle) + `}`
	}
	key := func(name string) map[string]any { return bundle[name].(map[string]any) }
	for what, c := range map[string]struct{ line, code string }{
		"no session":        {`{"cmd":"encrypt","remote":{"name":"eve","device":1},"plaintext":""}`, "not_found"},
		"nothing to read":   {`{"cmd":"decrypt",` + toBob + `,"type":2,"ciphertext":""}`, "not_authentic"},
		"no KEM prekey":     {with(func() { delete(bundle, "kyber_prekey") }), "policy"},
		"another KEM":       {with(func() { k := key("kyber_prekey"); k["public"] = "0a" + k["public"].(string)[2:] }), "policy"},
		"a false signature": {with(func() { key("signed_prekey")["signature"] = strings.Repeat("00", 64) }), "not_authentic"},
		"swapped KEM":       {with(func() { key("kyber_prekey")["signature"] = key("signed_prekey")["signature"] }), "not_authentic"},
	} {
		if a := a.ask(t, c.line); a["ok"] != false || a["error"] != c.code {
			t.Errorf("%s: %v, not %s", what, a, c.code)
		}
	}
	sends(t, a, b, toBob, toAda)
}

// Lines with bytes changed at random get an answer each, and none of them says that we failed.
func TestChangedLines(t *testing.T) {
	a, b := pair(t)
	sends(t, a, b, toBob, toAda)
	m := a.want(t, `{"cmd":"encrypt",`+toBob+`,"plaintext":"00"}`)
	lines := []string{
		`{"cmd":"decrypt",` + toAda + `,"type":` + text(t, m["type"]) + `,"ciphertext":` + text(t, m["ciphertext"]) + `}`,
		`{"cmd":"process_bundle","bundle":` + text(t, a.want(t, `{"cmd":"bundle","one_time":true}`)["bundle"]) + `}`,
		`{"cmd":"load","state":` + text(t, b.want(t, `{"cmd":"dump"}`)["state"]) + `}`,
		`{"cmd":"fingerprint","remote_identity":"05` + hex.EncodeToString(make([]byte, 32)) + `","local_id":"00","remote_id":"01"}`,
	}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 4000 {
		line := []byte(lines[i%len(lines)])
		for range 1 + random.IntN(3) {
			at := random.IntN(len(line))
			line[at] = "0123456789abcdef\"{}:,"[random.IntN(21)]
		}
		a := b.ask(t, string(line))
		if a["error"] == "internal" || a["ok"] == nil {
			t.Fatalf("%v for %s", a, line)
		}
	}
}

// Serve answers line by line, skips empty ones, and ends with quit or the input.
func TestServe(t *testing.T) {
	in := "{\"cmd\":\"init\",\"name\":\"ada\",\"id\":1}\n\r\n  \nx\n{\"cmd\":\"quit\",\"id\":[2]}\n{\"cmd\":\"dump\"}\n"
	var out strings.Builder
	if err := Serve(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"id":1`) || !strings.Contains(lines[1], `"ok":false`) {
		t.Fatalf("%q", lines)
	}
	if lines[2] != `{"id":[2],"ok":true}` {
		t.Error(lines[2])
	}
	out.Reset()
	if err := Serve(strings.NewReader(`{"cmd":"init","name":"ada"}`), &out); err != nil || !strings.Contains(out.String(), `"ok":true`) {
		t.Errorf("a last line without its end: %v, %s", err, out.String())
	}
}
