package server

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"coldframe/columnar/format"
	"coldframe/daemon"
	"coldframe/internal/apicheck"
	"coldframe/internal/fault"
)

// jsonRoutes are the operations that take a JSON body, in a fixed order.
func jsonRoutes() []*apicheck.Operation {
	var names []string
	for _, r := range routes {
		if r.body == jsonBody {
			names = append(names, r.operation)
		}
	}
	slices.Sort(names)
	var out []*apicheck.Operation
	for _, n := range names {
		out = append(out, checks[n])
	}
	return out
}

func TestBodiesAreChecked(t *testing.T) {
	for _, c := range []struct{ operation, body, field, why string }{
		{"unlock", `{"password":"x","passwort":"y"}`, "", "there is no field passwort"},
		{"unlock", `{}`, "", "missing: password"},
		{"unlock", ``, "", "not JSON"},
		{"unlock", `{"password":"x","password":"y"}`, "/password", "more than once"},
		{"unlock", `{"password":1}`, "/password", "type string"},
		{"unlock", `{"password":""}`, "/password", "at least 1"},
		{"unlock", `{"password":"x"} {}`, "", "goes on"},
		{"unlock", `{"Password":"x"}`, "", "there is no field Password"},
		{"unlock", "{\"password\":\"\xff\"}", "", "UTF-8"},
		{"unlock", `[]`, "", "type object"},
		{"unlock", strings.Repeat(`[`, 100000), "", "nested"},
		{"unlock", `{"a":` + strings.Repeat(`{"a":`, 20) + `1` + strings.Repeat(`}`, 21), "", "nested"},
		{"unlock", `[` + strings.Repeat(`1,`, 20000) + `1]`, "", "too many"},
		{"lock", `{"x":1}`, "", "there is no field x"},
		{"createApp", `{"name":"x","scopes":["root"]}`, "/scopes/0", "one of"},
		{"createApp", `{"name":"x","scopes":[]}`, "/scopes", "minItems"},
		{"createApp", `{"name":"x","scopes":["read"],"datasets":["../x"]}`, "/datasets/0", "match"},
		{"setStore", `{"kind":"s3","password":"x","s3":{"bucket":"bbb","secret":"y"}}`, "/s3", "there is no field secret"},
	} {
		err := checks[c.operation].CheckBody([]byte(c.body))
		e, ok := errors.AsType[*apicheck.FieldError](err)
		if !ok || e.Field != c.field || !strings.Contains(e.Error(), c.why) || !errors.Is(err, fault.InvalidRequest) {
			t.Errorf("%s %.60q: %v (field %q)", c.operation, c.body, err, e.Field)
		}
	}
	for operation, body := range map[string]string{"lock": "", "checkStore": "{}", "unlock": `{"password":"x","accept_rollback":true}`} {
		if err := checks[operation].CheckBody([]byte(body)); err != nil {
			t.Errorf("%s %q: %v", operation, body, err)
		}
	}
}

func TestParametersAreChecked(t *testing.T) {
	for _, c := range []struct {
		operation, query string
		ok               bool
	}{
		{"readData", "columns=a,b&version=1&limit=0&format=csv", true},
		{"readData", "", true},
		{"readData", "where=a+%3D+%27b%27&limit=1", true},
		{"readData", "where=", false},
		{"readData", "where=a%3D1&where=b%3D1", false},
		{"readData", "where=" + strings.Repeat("x", 8193), false},
		{"readData", "colums=a", false},
		{"readData", "version=0", false},
		{"readData", "version=1&version=2", false},
		{"readData", "version=1.0", false},
		{"readData", "version=+1", false},
		{"readData", "version=1e3", false},
		{"readData", "version=", false},
		{"readData", "limit=-1", false},
		{"readData", "limit=99999999999999999999", false},
		{"readData", "format=xml", false},
		{"readData", "a;b", false},
		{"readData", "%zz=1", false},
		{"replaceData", "allow_new_layout=true&header=false&null=NA&delimiter=%3B&expect=0&transfer=t-1", true},
		{"replaceData", "allow_new_layout=1", false},
		{"replaceData", "transfer=../x", false},
		{"getStatus", "x=1", false},
	} {
		if err := checks[c.operation].CheckQuery(c.query); (err == nil) != c.ok {
			t.Errorf("%s?%s: %v", c.operation, c.query, err)
		}
	}
}

func TestAcceptNegotiation(t *testing.T) {
	for _, c := range []struct {
		format, accept string
		want           format.Kind
		code           fault.Code
	}{
		{"", "", format.CSV, ""},
		{"", "*/*", format.CSV, ""},
		{"", "application/json, */*", format.CSV, ""},
		{"", "text/*", format.CSV, ""},
		{"", "application/*", format.Arrow, ""},
		{"", "application/x-ndjson", format.NDJSON, ""},
		{"", "application/vnd.apache.parquet;q=0.5, application/vnd.apache.arrow.stream;q=0.6", format.Arrow, ""},
		{"", "*/*;q=0.1, application/vnd.apache.parquet", format.Parquet, ""},
		{"", "*/*, text/csv;q=0", format.Arrow, ""},
		{"", "TEXT/CSV", format.CSV, ""},
		{"", "text/csv;q=0", "", fault.UnsupportedMediaType},
		{"", "text/html", "", fault.UnsupportedMediaType},
		{"", "text", "", fault.InvalidRequest},
		{"", "text/csv;q=2", "", fault.InvalidRequest},
		{"", "text/csv;q=0.1234", "", fault.InvalidRequest},
		{"", "*/csv", "", fault.InvalidRequest},
		{"parquet", "text/html", format.Parquet, ""},
		{"xml", "", "", fault.InvalidRequest},
	} {
		got, err := chooseFormat(c.format, []string{c.accept})
		if got != c.want || (err != nil) != (c.code != "") || err != nil && !errors.Is(err, c.code) {
			t.Errorf("%q %q: %q, %v", c.format, c.accept, got, err)
		}
	}
}

// FuzzBody gives bytes to the check of each operation: what passes is JSON that an ordinary decoder reads, and encodes back to what passes again.
func FuzzBody(f *testing.F) {
	all := jsonRoutes()
	for i := range all {
		for _, s := range []string{
			`{}`, ``, `{"password":"x"}`, `{"title":"x"}`, `{"name":"n","scopes":["read"]}`, `{"kind":"s3","password":"x","s3":{"bucket":"bbb"}}`, `{"a":{"a":[1,null,true]}}`,
			`{"email":"a@b","password":"x","password_only":true}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", `{"password":"\ud800"}`,
		} {
			f.Add(uint8(i), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		c := all[int(i)%len(all)]
		if len(b) > maxBody || c.CheckBody(b) != nil || len(b) == 0 {
			return
		}
		var v map[string]any
		if strings.TrimSpace(string(b)) == "" {
			return
		}
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%q passed but is not an object: %v", b, err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CheckBody(again); err != nil {
			t.Fatalf("%q passed, %q did not: %v", b, again, err)
		}
	})
}

// FuzzAccept: whatever the header, the answer is one of the four types or a refusal, and the weights that were read encode back.
func FuzzAccept(f *testing.F) {
	for _, s := range []string{"", "*/*", "text/csv;q=0.5, */*;q=0.1", "application/*;q=1.000", "a/b;c=d;q=0", ",,,", "text/csv;q=", "*/x", "\x00/\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := chooseFormat("", []string{s})
		if (err == nil) != slices.Contains(format.Kinds(), k) {
			t.Fatalf("%q: %q, %v", s, k, err)
		}
		ranges, err := parseAccept(s)
		if err != nil {
			return
		}
		var out []string
		for _, r := range ranges {
			out = append(out, r.main+"/"+r.sub+";q="+strconv.FormatFloat(float64(r.q)/1000, 'f', -1, 64))
		}
		again, err := parseAccept(strings.Join(out, ","))
		if err != nil || !slices.Equal(again, ranges) {
			t.Fatalf("%q: %v, %v, %v", s, ranges, again, err)
		}
	})
}

// FuzzEventID: an id that is taken encodes back to itself, leading zeros aside.
func FuzzEventID(f *testing.F) {
	for _, s := range []string{"0", "1", "9999999999999999999", "18446744073709551615", "-1", "x", "", "007"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseEventID(&s)
		if err != nil {
			return
		}
		want := strings.TrimLeft(s, "0")
		if want == "" {
			want = "0"
		}
		if id == daemon.FromNow || strconv.FormatUint(id, 10) != want {
			t.Fatalf("%q became %d", s, id)
		}
	})
}
