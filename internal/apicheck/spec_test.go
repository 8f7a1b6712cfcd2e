package apicheck

import (
	"errors"
	"net/http"
	"testing"

	"coldframe/internal/fault"
)

const document = `{"openapi":"3.1.0","paths":{"/v1/things/{name}":{
	"parameters":[{"name":"name","in":"path","schema":{"$ref":"#/components/schemas/Name"}}],
	"post":{"operationId":"change","x-scope":"write",
		"parameters":[{"name":"n","in":"query","schema":{"type":"integer","minimum":1}},{"name":"all","in":"query","schema":{"type":"boolean"}},{"name":"X-Mark","in":"header","schema":{"type":"string","pattern":"^[a-z]+$"}}],
		"requestBody":{"required":true,"content":{"application/json":{"schema":{"type":"object","additionalProperties":false,"required":["a"],"properties":{"a":{"$ref":"#/components/schemas/Name"}}}}}}},
	"get":{"operationId":"read"}}},
	"components":{"schemas":{"Name":{"type":"string","pattern":"^[a-z]{1,8}$"}}}}`

func TestChecks(t *testing.T) {
	all, err := Compile([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	op := all["change"]
	if len(all) != 2 || op.Method != "POST" || op.Path != "/v1/things/{name}" || op.Scope != "write" || all["read"].Body != nil {
		t.Fatalf("%+v", all)
	}
	for _, c := range []struct {
		what string
		err  error
		ok   bool
	}{
		{"a name", op.CheckPath("name", "abc"), true},
		{"no name", op.CheckPath("name", "A"), false},
		{"another parameter", op.CheckPath("id", "abc"), false},
		{"a query", op.CheckQuery("n=1&all=true"), true},
		{"out of range", op.CheckQuery("n=0"), false},
		{"no number", op.CheckQuery("n=x"), false},
		{"given twice", op.CheckQuery("n=1&n=1"), false},
		{"unknown", op.CheckQuery("m=1"), false},
		{"no boolean", op.CheckQuery("all=1"), false},
		{"a header", op.CheckHeaders(http.Header{"X-Mark": {"abc"}}), true},
		{"no header", op.CheckHeaders(http.Header{}), true},
		{"another header", op.CheckHeaders(http.Header{"X-Mark": {"1"}}), false},
		{"a body", op.CheckBody([]byte(`{"a":"abc"}`)), true},
		{"no body", op.CheckBody(nil), false},
		{"a field too many", op.CheckBody([]byte(`{"a":"abc","b":1}`)), false},
		{"a field twice", op.CheckBody([]byte(`{"a":"abc","a":"abc"}`)), false},
		{"two bodies", op.CheckBody([]byte(`{"a":"abc"}{}`)), false},
	} {
		if (c.err == nil) != c.ok || !c.ok && !errors.Is(c.err, fault.InvalidRequest) {
			t.Errorf("%s: %v", c.what, c.err)
		}
	}
	if e, ok := errors.AsType[*FieldError](op.CheckBody([]byte(`{"a":"SECRET"}`))); !ok || e.Field != "/a" || e.Error() != "invalid_request: /a: must match ^[a-z]{1,8}$" {
		t.Errorf("%v", e)
	}
}

func TestBrokenDocuments(t *testing.T) {
	for _, s := range []string{``, `{`, `{"paths":{"/x":{"get":{"operationId":"a","parameters":[{"name":"n","in":"query","schema":{"type":"nothing"}}]}}}}`} {
		if _, err := Compile([]byte(s)); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}
