package coordinator

import (
	"strings"
	"testing"
)

// FuzzEventStream: whatever a coordinator sends, events come out with ids that fit into a header, or an error.
func FuzzEventStream(f *testing.F) {
	for _, s := range []string{
		"id: ABC-1\nevent: message\ndata: {\"type\":\"message\",\"number\":1}\n\n", ":\n\n", "retry: 1000\n\n", "data: {\n\n", "id: a\r\ndata: {}\r\n\r\n",
		"data:{\ndata:}\n\n", strings.Repeat("x", 5000),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s := newEventScanner(strings.NewReader(in), "", func() {})
		for s.next() {
			if id := s.notice.ID; id != "" && !validEventID(id) || len(id) > maxEventID {
				t.Fatalf("%q gave the id %q", in, id)
			}
		}
		if s.err == nil {
			t.Fatal("the end is no error")
		}
	})
}
