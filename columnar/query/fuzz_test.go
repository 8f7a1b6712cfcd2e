package query

import (
	"bytes"
	"testing"

	"coldframe/internal/fault"
)

// Whatever the engine sends is a reply or one of four failures, and the columns that it names are in the table.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		`{"confined":{"privileges":true,"files":true,"syscalls":true,"namespaces":true}}`, `{"names":{"tables":["a"],"local":["b"]}}`,
		`{"scans":[{"columns":[0,2,2]},{"all":true,"columns":[]}]}`, `{"rows":7}`, `{"error":{"code":"policy","text":"no"}}`, `{"error":{"code":"","text":""}}`,
	} {
		f.Add(append([]byte{0, 0, 0, byte(len(s))}, s...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readReply(bytes.NewReader(b))
		if err != nil {
			switch fault.CodeOf(err) {
			case fault.Internal, fault.Policy, fault.TooLarge, fault.InvalidRequest:
			default:
				t.Fatalf("a failure of code %s", fault.CodeOf(err))
			}
			return
		}
		for _, s := range m.Scans {
			columns, err := s.columns(3)
			for i, c := range columns {
				if err == nil && (c < 0 || c >= 3 || i > 0 && c <= columns[i-1]) {
					t.Fatalf("columns %v", columns)
				}
			}
		}
	})
}
