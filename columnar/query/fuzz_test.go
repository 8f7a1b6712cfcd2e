package query

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/internal/fault"
)

// storedTypes are some that columns are stored in.
var storedTypes = []arrow.DataType{
	arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Boolean,
	arrow.BinaryTypes.String, arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Time32ms, arrow.FixedWidthTypes.Time64us,
	arrow.FixedWidthTypes.Timestamp_ms, arrow.FixedWidthTypes.Timestamp_us, arrow.FixedWidthTypes.Timestamp_ns,
	&arrow.Decimal128Type{Precision: 9, Scale: 2}, &arrow.Decimal256Type{Precision: 60, Scale: 2}, arrow.Null, arrow.ListOf(arrow.PrimitiveTypes.Int8),
}

// Whatever the engine sends is a reply or one of four failures, and the columns that it names are in the table.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		`{"confined":{"privileges":true,"files":true,"syscalls":true,"namespaces":true}}`, `{"names":{"tables":["a"],"local":["b"]}}`,
		`{"scans":[{"columns":[0,2,2]},{"all":true,"columns":[]}]}`,
		`{"scans":[{"columns":[0],"where":{"all":[{"any":[{"column":0,"op":"=","type":"DECIMAL","scale":2,"value":"-125"},{"column":1,"op":"null"}]}]}}]}`,
		`{"scans":[{"columns":[0],"where":{"column":0,"op":"<","type":"TIMESTAMP","value":"1500"}}]}`, `{"rows":7}`, `{"error":{"code":"policy","text":"no"}}`, `{"error":{"code":"","text":""}}`,
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
			for c := s.Where; c != nil; {
				for _, stored := range storedTypes {
					if l := c.literal(stored); l != nil && (l.Len() != 1 || !arrow.TypeEqual(l.DataType(), stored)) {
						t.Fatalf("%v for %s", l, stored)
					}
				}
				children := append(c.All, c.Any...)
				if c = nil; len(children) > 0 {
					c = &children[0]
				}
			}
		}
	})
}
