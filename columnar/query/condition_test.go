package query

import (
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// An engine that says numbers of millions of digits holds up nobody: reading one would take minutes, and nothing would end it.
func TestLongNumbers(t *testing.T) {
	begun := time.Now()
	digits := strings.Repeat("7", 2<<20)
	for typ, stored := range map[string]arrow.DataType{
		"DECIMAL": &arrow.Decimal128Type{Precision: 38}, "DOUBLE": arrow.PrimitiveTypes.Float64, "UBIGINT": arrow.PrimitiveTypes.Uint64,
		"TIMESTAMP": arrow.FixedWidthTypes.Timestamp_us,
	} {
		c := condition{Op: "=", Type: typ, Value: digits}
		if c.Type != "DOUBLE" && c.literal(stored) != nil {
			t.Errorf("%s: taken", typ)
		}
		c.Value = "-" + digits[:38]
		if typ == "DECIMAL" && c.literal(stored) == nil {
			t.Error("38 digits and a sign are refused")
		}
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("%s", took)
	}
}
