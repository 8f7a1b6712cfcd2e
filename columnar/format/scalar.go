package format

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/float16"
)

// textAppender returns a function that reads a value of a plain (not nested) canonical type from its text and appends it to b. It
// reports false, having appended nothing, if the text is no value of the type. The text is not kept.
func textAppender(t arrow.DataType, b array.Builder) func([]byte) bool {
	switch t := t.(type) {
	case *arrow.NullType:
		return func([]byte) bool { return false }
	case *arrow.BooleanType:
		return appender(parseBool, b.(*array.BooleanBuilder).Append)
	case *arrow.StringType:
		sb := b.(*array.StringBuilder)
		return func(v []byte) bool {
			if !utf8.Valid(v) {
				return false
			}
			sb.BinaryBuilder.Append(v)
			return true
		}
	case *arrow.BinaryType:
		return base64Appender(-1, b.(*array.BinaryBuilder).Append)
	case *arrow.FixedSizeBinaryType:
		return base64Appender(t.ByteWidth, b.(*array.FixedSizeBinaryBuilder).Append)
	case *arrow.DictionaryType:
		db := b.(*array.BinaryDictionaryBuilder)
		add := func(v []byte) {
			if v == nil { // which would be null
				v = []byte{}
			}
			_ = db.Append(v) // fails only for types that are not binary
		}
		if t.ValueType.ID() == arrow.BINARY {
			return base64Appender(-1, add)
		}
		return func(v []byte) bool {
			if !utf8.Valid(v) {
				return false
			}
			add(v)
			return true
		}
	case *arrow.Decimal128Type:
		p := &decimalParser{precision: t.Precision, scale: t.Scale}
		return appender(p.parse128, b.(*array.Decimal128Builder).Append)
	case *arrow.Decimal256Type:
		p := &decimalParser{precision: t.Precision, scale: t.Scale}
		return appender(p.parse256, b.(*array.Decimal256Builder).Append)
	case *arrow.Date32Type, *arrow.Time32Type, *arrow.Time64Type, *arrow.TimestampType:
		return temporalAppender(t, b)
	}
	return numberAppender(b)
}

func appender[T any](parse func([]byte) (T, bool), add func(T)) func([]byte) bool {
	return func(b []byte) bool {
		v, ok := parse(b)
		if ok {
			add(v)
		}
		return ok
	}
}

func numberAppender(b array.Builder) func([]byte) bool {
	switch b := b.(type) {
	case *array.Int64Builder:
		return appender(parseInt, b.Append)
	case *array.Int32Builder:
		return intAppender(b.Append)
	case *array.Int16Builder:
		return intAppender(b.Append)
	case *array.Int8Builder:
		return intAppender(b.Append)
	case *array.Uint64Builder:
		return appender(parseUint, b.Append)
	case *array.Uint32Builder:
		return intAppender(b.Append)
	case *array.Uint16Builder:
		return intAppender(b.Append)
	case *array.Uint8Builder:
		return intAppender(b.Append)
	case *array.Float64Builder:
		return appender(func(v []byte) (float64, bool) { return parseFloat(v, 64) }, b.Append)
	case *array.Float32Builder:
		return appender(func(v []byte) (float32, bool) {
			f, ok := parseFloat(v, 32)
			return float32(f), ok
		}, b.Append)
	case *array.Float16Builder:
		return appender(parseFloat16, b.Append)
	}
	panic("format: no text form of " + b.Type().Name())
}

func intAppender[T int8 | int16 | int32 | uint8 | uint16 | uint32](add func(T)) func([]byte) bool {
	return func(b []byte) bool {
		v, ok := parseInt(b)
		if !ok || int64(T(v)) != v {
			return false
		}
		add(T(v))
		return true
	}
}

func parseFloat16(b []byte) (float16.Num, bool) {
	f, ok := parseFloat(b, 32)
	n := float16.New(float32(f))
	if n.IsInf() && f-f == 0 { // finite, and too large for the type
		return n, false
	}
	return n, ok
}

func parseBool(b []byte) (v, ok bool) {
	switch string(b) {
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	return false, false
}

// base64Appender reads base64 of n bytes, or of any number for n < 0.
func base64Appender(n int, add func([]byte)) func([]byte) bool {
	var buf []byte
	return func(b []byte) bool {
		v, err := base64.StdEncoding.Strict().AppendDecode(buf[:0], b)
		buf = v
		if err != nil || n >= 0 && len(v) != n {
			return false
		}
		add(v)
		return true
	}
}

func temporalAppender(t arrow.DataType, b array.Builder) func([]byte) bool {
	switch t := t.(type) {
	case *arrow.Date32Type:
		return appender(func(v []byte) (arrow.Date32, bool) {
			day, rest, ok := parseDate(v)
			return arrow.Date32(day), ok && len(rest) == 0 && int64(int32(day)) == day
		}, b.(*array.Date32Builder).Append)
	case *arrow.Time32Type:
		return appender(func(v []byte) (arrow.Time32, bool) {
			n, ok := parseTime(v, t.Unit)
			return arrow.Time32(n), ok
		}, b.(*array.Time32Builder).Append)
	case *arrow.Time64Type:
		return appender(func(v []byte) (arrow.Time64, bool) {
			n, ok := parseTime(v, t.Unit)
			return arrow.Time64(n), ok
		}, b.(*array.Time64Builder).Append)
	}
	ts := t.(*arrow.TimestampType)
	return appender(func(v []byte) (arrow.Timestamp, bool) {
		m, ok := parseMoment(v)
		if !ok || m.zoned != (ts.TimeZone != "") && (m.zoned || ts.TimeZone != "UTC") {
			return 0, false
		}
		n, ok := m.in(ts.Unit)
		return arrow.Timestamp(n), ok
	}, b.(*array.TimestampBuilder).Append)
}

func parseTime(b []byte, unit arrow.TimeUnit) (int64, bool) {
	if len(b) < 5 {
		return 0, false
	}
	sec, nanos, _, rest, ok := parseClock(b)
	if !ok || len(rest) > 0 {
		return 0, false
	}
	return moment{sec: sec, nanos: nanos}.in(unit)
}

// rawWidth is about what one row of a column of type t takes in memory, variable parts not counted.
func rawWidth(t arrow.DataType) int {
	switch t := t.(type) {
	case *arrow.StructType:
		n := 1
		for _, f := range t.Fields() {
			n += rawWidth(f.Type)
		}
		return n
	case arrow.FixedWidthDataType:
		return t.Bytes() + 1
	}
	return 5
}
