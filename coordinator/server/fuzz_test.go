package server

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"coldframe/internal/apicheck"
)

// FuzzBody gives bytes to the check of each operation: what passes is JSON that the handler's type takes, and encodes back to what passes again.
func FuzzBody(f *testing.F) {
	var all []*apicheck.Operation
	for _, r := range routes {
		if r.body {
			all = append(all, checks[r.operation])
		}
	}
	for i := range all {
		for _, s := range []string{
			`{}`, ``, `{"email_hash":"` + strings.Repeat("A", 43) + `="}`, `{"request":"00000000-0000-4000-8000-000000000000"}`, `{"sequence":1,"link":"AAAA"}`,
			`{"messages":[{"sequence":1,"id":"00000000-0000-4000-8000-000000000000"}]}`, `{"sequence":1,"bundle":"AAAA","one_time":["AAAA"]}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}",
		} {
			f.Add(uint8(i), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		op := all[int(i)%len(all)]
		if len(b) > 1<<16 || op.CheckBody(b) != nil {
			return
		}
		var v map[string]any
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%q passed but is not an object: %v", b, err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := op.CheckBody(again); err != nil {
			t.Fatalf("%q passed, %q did not: %v", b, again, err)
		}
	})
}
