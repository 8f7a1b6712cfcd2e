package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"coldframe/coordinator/state"
)

// document is openapi.yaml with the schemas of its answers. Every answer that a test of this package gets by bench.send is held against them.
type document struct {
	doc      any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	compiled map[string]*jsonschema.Schema
}

var theDocument = sync.OnceValue(func() *document {
	text, err := decodeSpec()
	if err != nil {
		panic(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic(err)
	}
	d := &document{doc: doc, compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	if err := d.compiler.AddResource("openapi.json", doc); err != nil {
		panic(err)
	}
	return d
})

// response is what the document says of an operation's answer with a status, and where it says so. Failures have one shape.
func (d *document) response(method, path string, status int) (content map[string]any, at []string) {
	at = []string{"components", "responses", "Problem"}
	if status < 400 {
		at = []string{"paths", path, strings.ToLower(method), "responses", fmt.Sprint(status)}
	}
	v := d.doc
	for _, name := range at {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	m, _ := v.(map[string]any)
	if m == nil {
		return nil, nil
	}
	content, _ = m["content"].(map[string]any)
	return content, append(at, "content")
}

func (d *document) schema(at ...string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, name := range at {
		at[i] = url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	where := "openapi.json#/" + strings.Join(at, "/")
	if s := d.compiled[where]; s != nil {
		return s, nil
	}
	s, err := d.compiler.Compile(where)
	d.compiled[where] = s
	return s, err
}

// check holds an answer against the document: its type is one that is named there, its body fits the schema, and has nothing that the schema does not know.
func (d *document) check(method, path string, r *http.Response, body []byte) error {
	operation, pattern := "", ""
	if rt, _, _, _ := findRoute(method, path); rt != nil {
		operation, pattern = rt.operation, rt.path
	}
	content, at := d.response(method, pattern, r.StatusCode)
	if at == nil {
		return fmt.Errorf("%q has no answer with status %d", operation, r.StatusCode)
	}
	kind := r.Header.Get("Content-Type")
	if content == nil {
		if kind != "" || len(body) > 0 {
			return fmt.Errorf("%q has a body: %s %q", operation, kind, body)
		}
		return nil
	}
	if content[kind] == nil {
		return fmt.Errorf("%q has no answer of type %q", operation, kind)
	}
	if !strings.HasSuffix(kind, "json") {
		return nil
	}
	s, err := d.schema(append(slices.Clone(at), kind, "schema")...)
	if err != nil {
		return err
	}
	return fits(s, body)
}

func fits(s *jsonschema.Schema, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		return err
	}
	return known(s, v, "")
}

// known wants every member of every object to be one that the schema names.
func known(s *jsonschema.Schema, v any, at string) error {
	for s.Ref != nil {
		s = s.Ref
	}
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			below := s.Properties[name]
			if below == nil {
				return fmt.Errorf("the document does not know %s/%s", at, name)
			}
			if err := known(below, member, at+"/"+name); err != nil {
				return err
			}
		}
	case []any:
		items, _ := s.Items.(*jsonschema.Schema)
		if s.Items2020 != nil {
			items = s.Items2020
		}
		for i := range v {
			if err := known(items, v[i], fmt.Sprint(at, "/", i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Every operation answers what the document says, in a success and in a refusal.
func TestAnswersConform(t *testing.T) {
	b := newBench(t, open, Options{})
	done := map[string]bool{}
	as := func(token, method, path string, body any, want int) reply {
		t.Helper()
		r := b.send(method, path, token, body)
		if r.StatusCode != want {
			t.Errorf("%s %s: %d %s", method, path, r.StatusCode, r.body)
		}
		if want < 300 {
			done[Operation(method, path)] = true
		}
		return r
	}
	done["register"] = true
	alice, bob := b.user(1), b.user(2)
	for _, path := range []string{"/healthz", "/v1/info"} {
		as("", "GET", path, nil, 200)
	}
	a := alice.AccessToken
	as(a, "PUT", "/v1/prekeys", PreKeyUpload{Sequence: 1, Bundle: []byte("bundle"), OneTime: [][]byte{[]byte("one")}}, 200)
	as(bob.AccessToken, "POST", "/v1/users/"+alice.User+"/prekeys", PreKeyRequest{Request: userID(7)}, 200)
	as(bob.AccessToken, "POST", "/v1/users/"+alice.User+"/prekeys", PreKeyRequest{Request: userID(8)}, 200) // none is left
	as(bob.AccessToken, "POST", "/v1/users/"+alice.User+"/messages", OutgoingMessage{Id: userID(7), Body: []byte("mail")}, 204)
	as(bob.AccessToken, "POST", "/v1/users/"+userID(9)+"/messages", OutgoingMessage{Id: userID(8), Body: []byte("mail")}, 404)
	as(a, "POST", "/v1/lookup", LookupRequest{EmailHash: fill(2, 32)}, 200)
	swap := vault(100)
	v := into[Swapped](t, as(a, "POST", "/v1/blobs", swap, 200)).Versions[0]
	second := Swap{Name: "vault", Counter: 2, Previous: v.Hash, Nonce: fill(8, 16), Body: []byte("x"), Keep: optional(1)}
	as(a, "POST", "/v1/blobs", SwapRequest{Swaps: []Swap{second}}, 200)
	as(a, "POST", "/v1/blobs", SwapRequest{Swaps: []Swap{second}}, 200) // again
	gone := vault(5)
	gone.Swaps[0].Name = "gone"
	v = into[Swapped](t, as(a, "POST", "/v1/blobs", gone, 200)).Versions[0]
	as(a, "POST", "/v1/blobs", SwapRequest{Swaps: []Swap{{Name: "gone", Counter: 2, Previous: v.Hash, Nonce: fill(8, 16), Body: []byte{}, Delete: optional(true)}}}, 200)
	for _, body := range []string{`{}`, `{"bodies":true}`, `{"since":0,"epoch":"ABCDEFGHIJKLMNOPQRSTUVWXYZ"}`, `{"names":["vault","gone","never"],"bodies":true,"limit":1}`} {
		as(a, "POST", "/v1/blobs/read", body, 200)
	}
	as(a, "POST", "/v1/devices", DeviceLink{Sequence: 1, Link: []byte("link")}, 204)
	as(a, "POST", "/v1/messages/acknowledge", Acknowledgements{Messages: []Acknowledgement{{Sequence: 9, Id: userID(7)}}}, 200)
	as(a, "PUT", "/v1/senders", Senders{Sequence: 1, Allowed: []UserID{}, Blocked: []UserID{userID(2)}}, 204)
	for _, path := range []string{"/v1/sessions", "/v1/account", "/v1/prekeys/status", "/v1/senders", "/v1/messages", "/v1/blobs/vault", "/v1/blobs/vault?counter=1", "/v1/users/" + bob.User + "/devices", "/v1/users/" + alice.User + "/devices"} {
		as(a, "GET", path, nil, 200)
	}
	as(bob.AccessToken, "GET", "/v1/prekeys/status", nil, 200) // without any
	as(a, "PUT", "/v1/account/recovery", RecoveryChange{Proof: fill(1, 32), RecoveryProof: fill(3, 32)}, 204)
	as(a, "PUT", "/v1/account/proof", ProofChange{Proof: fill(1, 32), NewProof: fill(4, 32)}, 204)
	login := Login{User: &alice.User, Device: deviceID(5), Proof: fill(4, 32), Credential: optional2(fill(6, 32))}
	other := into[Tokens](t, as("", "POST", "/v1/sessions", login, 200))
	login.Proof = fill(5, 32)
	as("", "POST", "/v1/sessions", login, 401)
	other = into[Tokens](t, as("", "POST", "/v1/sessions/refresh", RefreshRequest{RefreshToken: other.RefreshToken, Request: userID(6)}, 200))
	as(a, "GET", "/v1/sessions", nil, 200)
	as(other.AccessToken, "DELETE", "/v1/sessions", nil, 204)
	as(a, "DELETE", "/v1/sessions/"+deviceID(5), nil, 204)
	b.checkEvents(a)
	done["streamEvents"] = true
	as(a, "POST", "/v1/prekeys/withdraw", PreKeyWithdrawal{Proof: fill(4, 32)}, 204)
	as(a, "POST", "/v1/account/delete", AccountDeletion{Proof: fill(4, 32)}, 204)
	for _, r := range routes {
		if !done[r.operation] {
			t.Errorf("%s was not asked for", r.operation)
		}
	}
}

// checkEvents holds the events that a stream begins with against the document.
func (b *bench) checkEvents(token string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+"/v1/events", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Last-Event-ID", b.state.Epoch()+"-0")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := theDocument().check(http.MethodGet, "/v1/events", res, nil); err != nil {
		b.t.Error(err)
	}
	schema, err := theDocument().schema("components", "schemas", "Event")
	if err != nil {
		b.t.Fatal(err)
	}
	all, err := b.state.Events(b.t.Context(), state.UserID(userID(1)), b.state.Epoch(), 0)
	if err != nil {
		b.t.Fatal(err)
	}
	in, seen := bufio.NewScanner(res.Body), map[string]bool{}
	for n := 0; n < len(all) && in.Scan(); {
		text, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok {
			continue
		}
		n++
		if err := fits(schema, []byte(text)); err != nil {
			b.t.Errorf("%s: %v", text, err)
		}
		var e Event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			b.t.Error(err)
		}
		seen[e.Type] = true
	}
	for _, kind := range []string{"message", "blobs", "devices", "prekeys_low"} {
		if !seen[kind] {
			b.t.Errorf("no event %s", kind)
		}
	}
}
