package query

import (
	"math"
	"math/big"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar"
)

// condition is one of: All of some, Any of some, or a column of the table compared with a literal.
type condition struct {
	All    []condition `json:"all"`
	Any    []condition `json:"any"`
	Column int         `json:"column"`
	Op     string      `json:"op"`    // = != < <= > >= null not_null
	Type   string      `json:"type"`  // of the column and the literal, as DuckDB calls it
	Scale  int         `json:"scale"` // of a decimal
	Value  string      `json:"value"` // a text, or a number: days, microseconds, nanoseconds, hundredths for a scale of 2
}

// maxComparisons bounds those of a scan. A condition with more is not looked at.
var maxComparisons = 100

func (c *condition) comparisons() int {
	n := 0
	for _, child := range append(c.All[:len(c.All):len(c.All)], c.Any...) {
		n += child.comparisons()
	}
	return max(n, 1)
}

// rows returns what the condition of a scan means for an image. What is not understood is true of all rows.
func (s scan) rows(image *columnar.Image) columnar.Condition {
	if s.Where == nil || s.Where.comparisons() > maxComparisons {
		return columnar.Condition{}
	}
	return s.Where.bind(image)
}

func (c *condition) bind(image *columnar.Image) columnar.Condition {
	switch {
	case len(c.All) > 0:
		return columnar.All(bindEach(c.All, image)...)
	case len(c.Any) > 0:
		return columnar.Any(bindEach(c.Any, image)...)
	case c.Column < 0 || c.Column >= image.Schema().NumFields():
		return columnar.Condition{}
	case c.Op == "null" || c.Op == "not_null":
		return image.IsNull(c.Column, c.Op == "not_null")
	}
	stored, err := image.Stored(c.Column)
	if err != nil {
		return columnar.Condition{}
	}
	literal := c.literal(stored)
	if literal == nil {
		return columnar.Condition{}
	}
	out, _ := image.Compare(c.Column, c.Op, literal) // or true of all rows
	return out
}

func bindEach(list []condition, image *columnar.Image) []columnar.Condition {
	var out []columnar.Condition
	for _, c := range list {
		out = append(out, c.bind(image))
	}
	return out
}

// sameTypes are DuckDB's types whose values are those of the stored type, written alike.
var sameTypes = map[string]arrow.Type{
	"BOOLEAN": arrow.BOOL, "TINYINT": arrow.INT8, "SMALLINT": arrow.INT16, "INTEGER": arrow.INT32, "BIGINT": arrow.INT64,
	"UTINYINT": arrow.UINT8, "USMALLINT": arrow.UINT16, "UINTEGER": arrow.UINT32, "UBIGINT": arrow.UINT64, "VARCHAR": arrow.STRING,
}

// literal returns the value as one of the type that a column is stored in; nil unless it is exactly that.
func (c *condition) literal(stored arrow.DataType) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, stored)
	defer b.Release()
	var ok bool
	switch stored := stored.(type) {
	case *arrow.Float32Type:
		v, err := strconv.ParseFloat(c.Value, 64)
		ok = c.Type == "FLOAT" && err == nil && float64(float32(v)) == v
		b.(*array.Float32Builder).Append(float32(v))
	case *arrow.Float64Type:
		v, err := strconv.ParseFloat(c.Value, 64)
		ok = c.Type == "DOUBLE" && err == nil && !math.IsNaN(v)
		b.(*array.Float64Builder).Append(v)
	case *arrow.Date32Type:
		v, err := strconv.ParseInt(c.Value, 10, 32)
		ok = c.Type == "DATE" && err == nil
		b.(*array.Date32Builder).Append(arrow.Date32(v))
	case *arrow.Time32Type:
		var v int64
		v, ok = c.time(stored.Unit, "TIME")
		b.(*array.Time32Builder).Append(arrow.Time32(v))
		ok = ok && v == int64(int32(v))
	case *arrow.Time64Type:
		var v int64
		v, ok = c.time(stored.Unit, "TIME")
		b.(*array.Time64Builder).Append(arrow.Time64(v))
	case *arrow.TimestampType:
		var v int64
		v, ok = c.time(stored.Unit, timestampType(stored))
		b.(*array.TimestampBuilder).Append(arrow.Timestamp(v))
	case arrow.DecimalType:
		ok = c.decimal(stored, b)
	default:
		id, known := sameTypes[c.Type]
		ok = known && id == stored.ID() && b.AppendValueFromString(c.Value) == nil
	}
	if !ok {
		return nil
	}
	return b.NewArray()
}

// timestampType returns the type as which DuckDB reads a timestamp.
func timestampType(t *arrow.TimestampType) string {
	switch {
	case t.TimeZone != "" && t.Unit != arrow.Nanosecond:
		return "TIMESTAMP WITH TIME ZONE"
	case t.TimeZone != "":
		return "" // cut to microseconds
	case t.Unit == arrow.Nanosecond:
		return "TIMESTAMP_NS"
	}
	return "TIMESTAMP"
}

// time returns a time, which DuckDB counts in microseconds (in nanoseconds, for TIMESTAMP_NS), in a unit that is as fine or coarser.
func (c *condition) time(unit arrow.TimeUnit, typ string) (int64, bool) {
	v, err := strconv.ParseInt(c.Value, 10, 64)
	if err != nil || c.Type != typ || typ == "" {
		return 0, false
	}
	switch unit {
	case arrow.Nanosecond:
		return v, typ == "TIMESTAMP_NS"
	case arrow.Microsecond:
		return v, true
	case arrow.Millisecond:
		return v / 1000, v%1000 == 0
	}
	return 0, false
}

func (c *condition) decimal(t arrow.DecimalType, b array.Builder) bool {
	if len(c.Value) > len("-")+maxDigits { // reading millions of them takes minutes
		return false
	}
	v, ok := new(big.Int).SetString(c.Value, 10)
	if !ok || c.Type != "DECIMAL" || int32(c.Scale) != t.GetScale() || v.BitLen() > 127 {
		return false
	}
	switch b := b.(type) {
	case *array.Decimal128Builder:
		b.Append(decimal128.FromBigInt(v))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromBigInt(v))
	default:
		return false
	}
	return true
}
