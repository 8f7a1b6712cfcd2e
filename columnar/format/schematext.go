package format

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
)

// Schema text, in EBNF:
//
//	schema = field { "," field }
//	field  = name type [ "not" "null" ]
//	name   = letter-or-underscore { letter | digit | "_" } | JSON string
//	type   = "null" | "bool" | "int8" … "int64" | "uint8" … "uint64" | "float16" | "float32" | "float64" | "string" | "binary"
//	       | "fixed_size_binary" "(" width ")" | "decimal" "(" precision "," scale ")" | "date"
//	       | "time" "[" ("ms"|"us"|"ns") "]" | "timestamp" "[" ("ms"|"us"|"ns") [ "," zone ] "]"
//	       | "list" "<" type [ "not" "null" ] ">" | "struct" "<" schema ">" | "map" "<" type "," type [ "not" "null" ] ">"
//	       | "dictionary" "<" ("string"|"binary") [ "," "ordered" ] ">"
//
// Blanks between words do not matter.

const maxSchemaText = 1 << 20

var plainTypes = map[string]arrow.DataType{
	"null": arrow.Null, "bool": arrow.FixedWidthTypes.Boolean,
	"int8": arrow.PrimitiveTypes.Int8, "int16": arrow.PrimitiveTypes.Int16, "int32": arrow.PrimitiveTypes.Int32, "int64": arrow.PrimitiveTypes.Int64,
	"uint8": arrow.PrimitiveTypes.Uint8, "uint16": arrow.PrimitiveTypes.Uint16, "uint32": arrow.PrimitiveTypes.Uint32, "uint64": arrow.PrimitiveTypes.Uint64,
	"float16": arrow.FixedWidthTypes.Float16, "float32": arrow.PrimitiveTypes.Float32, "float64": arrow.PrimitiveTypes.Float64,
	"string": arrow.BinaryTypes.String, "binary": arrow.BinaryTypes.Binary, "date": arrow.FixedWidthTypes.Date32,
}

var units = map[string]arrow.TimeUnit{"ms": arrow.Millisecond, "us": arrow.Microsecond, "ns": arrow.Nanosecond}

// ParseSchema reads schema text into a canonical schema. Error: fault.InvalidRequest, with the place in the text.
func ParseSchema(text string) (*arrow.Schema, error) {
	if len(text) > maxSchemaText {
		return nil, fault.New(fault.TooLarge, "schema: longer than %d bytes", maxSchemaText)
	}
	if !utf8.ValidString(text) {
		return nil, fault.New(fault.InvalidRequest, "schema: not UTF-8")
	}
	p := schemaParser{text: text}
	fields := p.fields(1)
	p.blanks()
	if p.err == nil && p.pos < len(text) {
		p.fail("a comma or the end")
	}
	if p.err != nil {
		return nil, p.err
	}
	return Canonical(arrow.NewSchema(fields, nil))
}

type schemaParser struct {
	text  string
	pos   int
	count int
	err   error
}

func (p *schemaParser) fail(want string) {
	if p.err == nil {
		p.err = fault.New(fault.InvalidRequest, "schema: at character %d: expected %s", utf8.RuneCountInString(p.text[:p.pos])+1, want)
		p.pos = len(p.text)
	}
}

func (p *schemaParser) blanks() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// take skips blanks and consumes c if it is next.
func (p *schemaParser) take(c byte) bool {
	p.blanks()
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *schemaParser) want(c byte) {
	if !p.take(c) {
		p.fail(strconv.QuoteRune(rune(c)))
	}
}

// span consumes bytes as long as ok says so.
func (p *schemaParser) span(ok func(byte) bool) string {
	p.blanks()
	start := p.pos
	for p.pos < len(p.text) && ok(p.text[p.pos]) {
		p.pos++
	}
	return p.text[start:p.pos]
}

func (p *schemaParser) name() string {
	p.blanks()
	if p.pos < len(p.text) && p.text[p.pos] == '"' {
		return p.quoted()
	}
	n := p.span(isNameByte)
	if n == "" || n[0]-'0' < 10 {
		p.fail("a column name (in double quotes unless it is letters, digits and _)")
	}
	return n
}

func (p *schemaParser) quoted() string {
	for end := p.pos + 1; end < len(p.text); end++ {
		switch p.text[end] {
		case '\\':
			end++
		case '"':
			var s string
			if json.Unmarshal([]byte(p.text[p.pos:end+1]), &s) != nil {
				p.fail("a name quoted as in JSON")
				return ""
			}
			p.pos = end + 1
			return s
		}
	}
	p.fail("a closing double quote")
	return ""
}

func (p *schemaParser) number() int {
	n, err := strconv.Atoi(p.span(func(c byte) bool { return c-'0' < 10 }))
	if err != nil || n > 1<<30 {
		p.fail("a number")
	}
	return n
}

func (p *schemaParser) fields(depth int) []arrow.Field {
	var out []arrow.Field
	for {
		name := p.name()
		out = append(out, p.field(name, depth))
		if p.err != nil || !p.take(',') {
			return out
		}
	}
}

// field reads a type and its nullability.
func (p *schemaParser) field(name string, depth int) arrow.Field {
	if p.count++; p.count > maxColumns || depth > maxDepth {
		p.fail(fmt.Sprintf("no more than %d columns and %d levels", maxColumns, maxDepth))
		return arrow.Field{Name: name, Type: arrow.Null}
	}
	f := arrow.Field{Name: name, Type: p.dataType(depth), Nullable: true}
	mark := p.pos
	if p.span(isNameByte) == "not" {
		if p.span(isNameByte) != "null" {
			p.fail("null")
		}
		f.Nullable = false
	} else {
		p.pos = mark
	}
	return f
}

func (p *schemaParser) dataType(depth int) arrow.DataType {
	p.blanks()
	mark := p.pos
	word := p.span(isNameByte)
	if t, ok := plainTypes[word]; ok {
		return t
	}
	switch word {
	case "fixed_size_binary":
		p.want('(')
		t := &arrow.FixedSizeBinaryType{ByteWidth: p.number()}
		p.want(')')
		return t
	case "decimal":
		return p.decimal()
	case "time", "timestamp":
		return p.temporal(word)
	case "list", "struct", "map", "dictionary":
		p.want('<')
		t := p.nested(word, depth)
		p.want('>')
		return t
	}
	p.pos = mark
	p.fail("a type")
	return arrow.Null
}

func (p *schemaParser) decimal() arrow.DataType {
	p.want('(')
	precision := p.number()
	p.want(',')
	scale := p.number()
	p.want(')')
	if precision > 38 {
		return &arrow.Decimal256Type{Precision: int32(precision), Scale: int32(scale)}
	}
	return &arrow.Decimal128Type{Precision: int32(precision), Scale: int32(scale)}
}

func (p *schemaParser) temporal(word string) arrow.DataType {
	p.want('[')
	mark := p.pos
	unit, ok := units[p.span(isNameByte)]
	if !ok {
		p.pos = mark
		p.fail("a unit: ms, us or ns")
	}
	zone := ""
	if word == "timestamp" && p.take(',') {
		if zone = p.span(func(c byte) bool { return validZone(string(c)) }); zone == "" {
			p.fail("a time zone")
		}
	}
	p.want(']')
	switch {
	case word == "timestamp":
		return &arrow.TimestampType{Unit: unit, TimeZone: zone}
	case unit == arrow.Millisecond:
		return arrow.FixedWidthTypes.Time32ms
	}
	return &arrow.Time64Type{Unit: unit}
}

func (p *schemaParser) nested(word string, depth int) arrow.DataType {
	switch word {
	case "struct":
		return arrow.StructOf(p.fields(depth + 1)...)
	case "list":
		return arrow.ListOfField(p.field("element", depth+1))
	case "map":
		k := p.field("key", depth+1)
		p.want(',')
		v := p.field("value", depth+1)
		k.Nullable = false
		return arrow.MapOfFields(k, v)
	}
	mark := p.pos
	t := p.dataType(depth + 1)
	if t.ID() != arrow.STRING && t.ID() != arrow.BINARY {
		p.pos = mark
		p.fail("string or binary")
	}
	d := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: t}
	if p.take(',') {
		if d.Ordered = p.span(isNameByte) == "ordered"; !d.Ordered {
			p.fail("ordered")
		}
	}
	return d
}

// FormatSchema writes a canonical schema as schema text. It panics on a type that is not canonical.
func FormatSchema(s *arrow.Schema) string {
	return string(appendFields(nil, s.Fields()))
}

// FormatType writes one canonical type as schema text.
func FormatType(t arrow.DataType) string { return string(appendType(nil, t)) }

func appendFields(dst []byte, fields []arrow.Field) []byte {
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendName(dst, f.Name)
		dst = append(dst, ' ')
		dst = appendNullable(appendType(dst, f.Type), f)
	}
	return dst
}

func appendNullable(dst []byte, f arrow.Field) []byte {
	if !f.Nullable {
		return append(dst, " not null"...)
	}
	return dst
}

func appendName(dst []byte, name string) []byte {
	bare := name != "" && name[0]-'0' >= 10
	for i := range len(name) {
		bare = bare && isNameByte(name[i])
	}
	if bare {
		return append(dst, name...)
	}
	return appendJSONString(dst, name)
}

func appendType(dst []byte, t arrow.DataType) []byte {
	switch t := t.(type) {
	case *arrow.FixedSizeBinaryType:
		return fmt.Appendf(dst, "fixed_size_binary(%d)", t.ByteWidth)
	case arrow.DecimalType:
		return fmt.Appendf(dst, "decimal(%d,%d)", t.GetPrecision(), t.GetScale())
	case *arrow.Date32Type:
		return append(dst, "date"...)
	case *arrow.Time32Type:
		return fmt.Appendf(dst, "time[%s]", t.Unit)
	case *arrow.Time64Type:
		return fmt.Appendf(dst, "time[%s]", t.Unit)
	case *arrow.TimestampType:
		if t.TimeZone == "" {
			return fmt.Appendf(dst, "timestamp[%s]", t.Unit)
		}
		return fmt.Appendf(dst, "timestamp[%s, %s]", t.Unit, t.TimeZone)
	case *arrow.StructType:
		return append(appendFields(append(dst, "struct<"...), t.Fields()), '>')
	case *arrow.MapType:
		dst = append(appendType(append(dst, "map<"...), t.KeyType()), ", "...)
		return append(appendNullable(appendType(dst, t.ItemType()), t.ItemField()), '>')
	case *arrow.ListType:
		return append(appendNullable(appendType(append(dst, "list<"...), t.Elem()), t.ElemField()), '>')
	case *arrow.DictionaryType:
		dst = appendType(append(dst, "dictionary<"...), t.ValueType)
		if t.Ordered {
			dst = append(dst, ", ordered"...)
		}
		return append(dst, '>')
	}
	for name, plain := range plainTypes {
		if plain.ID() == t.ID() {
			return append(dst, name...)
		}
	}
	panic("format: type " + t.Name() + " is not canonical")
}
