package format

import (
	"encoding/base64"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// cell appends the text of row i of an array, which must not be null.
type cell func(dst []byte, i int) []byte

// plainCell returns the text of a plain array: what textAppender reads back to the same value.
func plainCell(arr arrow.Array) cell {
	switch a := arr.(type) {
	case *array.Boolean:
		return func(dst []byte, i int) []byte { return strconv.AppendBool(dst, a.Value(i)) }
	case *array.String:
		return func(dst []byte, i int) []byte { return append(dst, a.Value(i)...) }
	case *array.Binary:
		return func(dst []byte, i int) []byte { return base64.StdEncoding.AppendEncode(dst, a.Value(i)) }
	case *array.FixedSizeBinary:
		return func(dst []byte, i int) []byte { return base64.StdEncoding.AppendEncode(dst, a.Value(i)) }
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		return func(dst []byte, i int) []byte { return appendDecimal128(dst, a.Value(i), scale) }
	case *array.Decimal256:
		scale := a.DataType().(*arrow.Decimal256Type).Scale
		return func(dst []byte, i int) []byte { return appendDecimal(dst, a.Value(i).BigInt(), scale) }
	case *array.Date32:
		return func(dst []byte, i int) []byte { return appendDate(dst, int64(a.Value(i))) }
	case *array.Time32:
		unit := a.DataType().(*arrow.Time32Type).Unit
		return func(dst []byte, i int) []byte { return appendClock(dst, int64(a.Value(i)), unit) }
	case *array.Time64:
		unit := a.DataType().(*arrow.Time64Type).Unit
		return func(dst []byte, i int) []byte { return appendClock(dst, int64(a.Value(i)), unit) }
	case *array.Timestamp:
		t := a.DataType().(*arrow.TimestampType)
		return func(dst []byte, i int) []byte {
			return appendTimestamp(dst, int64(a.Value(i)), t.Unit, t.TimeZone != "")
		}
	case *array.Dictionary:
		values := plainCell(a.Dictionary())
		return func(dst []byte, i int) []byte { return values(dst, a.GetValueIndex(i)) }
	}
	return numberCell(arr)
}

func numberCell(arr arrow.Array) cell {
	switch a := arr.(type) {
	case *array.Int8:
		return intCell(a.Values())
	case *array.Int16:
		return intCell(a.Values())
	case *array.Int32:
		return intCell(a.Values())
	case *array.Int64:
		return intCell(a.Values())
	case *array.Uint8:
		return intCell(a.Values())
	case *array.Uint16:
		return intCell(a.Values())
	case *array.Uint32:
		return intCell(a.Values())
	case *array.Uint64:
		v := a.Values()
		return func(dst []byte, i int) []byte { return strconv.AppendUint(dst, v[i], 10) }
	case *array.Float16:
		return func(dst []byte, i int) []byte { return appendFloat(dst, float64(a.Value(i).Float32()), 32) }
	case *array.Float32:
		v := a.Values()
		return func(dst []byte, i int) []byte { return appendFloat(dst, float64(v[i]), 32) }
	case *array.Float64:
		v := a.Values()
		return func(dst []byte, i int) []byte { return appendFloat(dst, v[i], 64) }
	}
	panic("format: no text form of " + arr.DataType().Name())
}

func intCell[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](v []T) cell {
	return func(dst []byte, i int) []byte { return strconv.AppendInt(dst, int64(v[i]), 10) }
}

// jsonCell returns the JSON text of an array's rows, nulls included.
func jsonCell(arr arrow.Array) cell {
	if arr.DataType().ID() == arrow.NULL {
		return func(dst []byte, _ int) []byte { return append(dst, "null"...) }
	}
	value := jsonValue(arr)
	if arr.NullN() == 0 {
		return value
	}
	return func(dst []byte, i int) []byte {
		if arr.IsNull(i) {
			return append(dst, "null"...)
		}
		return value(dst, i)
	}
}

func jsonValue(arr arrow.Array) cell {
	switch a := arr.(type) {
	case *array.Struct:
		return structCell(a)
	case *array.Map:
		return mapCell(a)
	case *array.List:
		elem := jsonCell(a.ListValues())
		return func(dst []byte, i int) []byte {
			from, to := a.ValueOffsets(i)
			dst = append(dst, '[')
			for j := from; j < to; j++ {
				if j > from {
					dst = append(dst, ',')
				}
				dst = elem(dst, int(j))
			}
			return append(dst, ']')
		}
	case *array.String:
		return func(dst []byte, i int) []byte { return appendJSONString(dst, a.Value(i)) }
	case *array.Dictionary:
		values := jsonValue(a.Dictionary())
		return func(dst []byte, i int) []byte { return values(dst, a.GetValueIndex(i)) }
	}
	plain := plainCell(arr)
	switch arr.DataType().ID() {
	case arrow.FLOAT16, arrow.FLOAT32, arrow.FLOAT64:
		return floatWords(plain)
	case arrow.BINARY, arrow.FIXED_SIZE_BINARY, arrow.DATE32, arrow.TIME32, arrow.TIME64, arrow.TIMESTAMP:
		return func(dst []byte, i int) []byte { return append(plain(append(dst, '"'), i), '"') }
	}
	return plain
}

// floatWords puts NaN and the infinities, for which JSON has no number, in quotes.
func floatWords(plain cell) cell {
	return func(dst []byte, i int) []byte {
		start := len(dst)
		dst = plain(dst, i)
		if c := dst[len(dst)-1]; c == 'N' || c == 'y' {
			word := string(dst[start:])
			dst = append(append(append(dst[:start], '"'), word...), '"')
		}
		return dst
	}
}

func structCell(a *array.Struct) cell {
	fields := a.DataType().(*arrow.StructType).Fields()
	keys := make([][]byte, len(fields))
	cells := make([]cell, len(fields))
	for i, f := range fields {
		keys[i] = jsonKey(f.Name, i == 0)
		cells[i] = jsonCell(a.Field(i))
	}
	return func(dst []byte, i int) []byte {
		dst = append(dst, '{')
		for j, c := range cells {
			dst = c(append(dst, keys[j]...), i)
		}
		return append(dst, '}')
	}
}

// jsonKey returns the text before a value in an object: comma, quoted name, colon.
func jsonKey(name string, first bool) []byte {
	var k []byte
	if !first {
		k = append(k, ',')
	}
	return append(appendJSONString(k, name), ':')
}

// mapCell writes a map with string keys as an object, any other as a list of {"key": …, "value": …}.
func mapCell(a *array.Map) cell {
	keys, items := jsonCell(a.Keys()), jsonCell(a.Items())
	object := a.DataType().(*arrow.MapType).KeyType().ID() == arrow.STRING
	return func(dst []byte, i int) []byte {
		from, to := a.ValueOffsets(i)
		if object {
			dst = append(dst, '{')
		} else {
			dst = append(dst, '[')
		}
		for j := int(from); j < int(to); j++ {
			if j > int(from) {
				dst = append(dst, ',')
			}
			if object {
				dst = items(append(keys(dst, j), ':'), j)
				continue
			}
			dst = keys(append(dst, `{"key":`...), j)
			dst = append(items(append(dst, `,"value":`...), j), '}')
		}
		if object {
			return append(dst, '}')
		}
		return append(dst, ']')
	}
}

const hexDigits = "0123456789abcdef"

// appendJSONString writes s, which is UTF-8, as a JSON string. Only what JSON demands is escaped, and DEL.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, s[start:]...), '"')
}
