package server

import (
	"strings"
	"testing"

	"coldframe/daemon"
	"coldframe/internal/apicheck"
	"coldframe/internal/httpapi/httpapitest"
)

// TestRoutesAreThoseOfTheSpecification holds the table, the document and the generated router against one another, in all directions.
func TestRoutesAreThoseOfTheSpecification(t *testing.T) {
	inTable := map[string]bool{}
	for _, r := range routes {
		inTable[r.operation] = true
		op := checks[r.operation]
		if op == nil {
			t.Errorf("%s is in the table but not in the document", r.operation)
			continue
		}
		flag := func(name string) bool { b, _ := op.Flags[name].(bool); return b }
		if op.Method != r.method || op.Path != r.path || op.Scope != string(r.scope) || flag("x-streaming") != r.streaming || flag("x-password") != r.password {
			t.Errorf("%s differs: table %+v, document %s %s %s", r.operation, r, op.Method, op.Path, op.Scope)
		}
		if (op.Body != nil) != (r.body == jsonBody) || changes(r.method) == (r.body == noBody) {
			t.Errorf("%s: the bodies differ", r.operation)
		}
		if r.password && !requires(op, "password") {
			t.Errorf("%s wants the password again, but its schema does not", r.operation)
		}
		if max, ok := op.Flags["x-max-body"]; ok && toInt(t, max) != r.maxBody {
			t.Errorf("%s: x-max-body is %v", r.operation, max)
		}
		if r.scope != scopeNone && r.scope != scopeAny && !knownScope(r.scope) {
			t.Errorf("%s has the unknown scope %s", r.operation, r.scope)
		}
	}
	for id := range checks {
		if !inTable[id] {
			t.Errorf("%s is in the document but not in the table", id)
		}
	}
	router := map[string]bool{}
	for _, r := range newRouter(&benchAPI{}).Routes() {
		router[r.Method+" "+r.Path] = true
	}
	for _, r := range routes {
		at := r.method + " " + echoPath(r.path)
		if !router[at] {
			t.Errorf("the router has no %s", at)
		}
		delete(router, at)
	}
	for at := range router {
		t.Errorf("the router has %s, the table does not", at)
	}
}

func requires(op *apicheck.Operation, field string) bool {
	s := op.Body
	for s.Ref != nil {
		s = s.Ref
	}
	for _, f := range s.Required {
		if f == field {
			return true
		}
	}
	return false
}

func knownScope(s daemon.Scope) bool {
	for _, k := range daemon.Scopes() {
		if k == s {
			return true
		}
	}
	return false
}

func toInt(t *testing.T, v any) int64 {
	n, ok := v.(interface{ Int64() (int64, error) })
	if !ok {
		t.Fatalf("%v is no number", v)
	}
	i, err := n.Int64()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func echoPath(path string) string {
	out := ""
	for _, c := range path {
		switch c {
		case '{':
			out += ":"
		case '}':
		default:
			out += string(c)
		}
	}
	return out
}

// TestGeneratedFilesAreUpToDate generates again and compares the bytes.
func TestGeneratedFilesAreUpToDate(t *testing.T) { httpapitest.GeneratedIsUpToDate(t) }

// What a person gives in the wrong form is refused in words, not by a regular expression.
func TestWrongFormsAreSaidInWords(t *testing.T) {
	for _, c := range []struct{ operation, body, want string }{
		{"addContact", `{"user":"grace"}`, "must be an id"},
		{"verifyContact", `{"number":"` + strings.Repeat("x", 60) + `"}`, "must be digits"},
		{"verifyContact", `{"code":"not base64"}`, "must be base64"},
		{"sendSecret", `{"to":"00000000-0000-4000-8000-000000000000","title":"t","body":"AAAA","id":"1"}`, "hexadecimal digits"},
		{"connectCoordinator", `{"url":"https://a","password":"p","invitation":"x"}`, "must be an invitation"},
	} {
		err := checks[c.operation].CheckBody([]byte(c.body))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "^") {
			t.Errorf("%s %s: %v", c.operation, c.body, err)
		}
	}
}
