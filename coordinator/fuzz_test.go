package coordinator

import (
	"strings"
	"testing"

	"coldframe/internal/sse"
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
		s := sse.NewReader[Event](strings.NewReader(in), "", eventFormat)
		for s.Next() {
			if id := s.ID; id != "" && !validEventID(id) || len(id) > maxEventID {
				t.Fatalf("%q gave the id %q", in, id)
			}
		}
		if s.Err == nil {
			t.Fatal("the end is no error")
		}
	})
}
