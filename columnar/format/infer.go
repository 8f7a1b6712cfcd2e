package format

import (
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
)

// class is the narrowest reading of one CSV field.
type class int

const (
	classText   class = iota
	classBool         // true, false
	classInt          // a whole number that an int64 holds
	classBigInt       // a whole number of at most 38 digits that no int64 holds
	classFloat        // a number with a point or exponent, or -0
	classWord         // NaN, Infinity
	classDate         // 2006-01-02
	classMoment       // 2006-01-02 15:04
	classes
)

// guess gathers the classes of a column's values.
type guess struct {
	n           [classes]int
	total       int
	zoned       int  // moments with a zone
	nanos       bool // a moment needs nanoseconds
	beyondNanos bool // a moment that timestamp[ns] cannot hold
	wide        bool // a whole number that a float64 may not hold
}

// add looks at one value that is not null.
func (g *guess) add(b []byte) {
	g.total++
	c := classText
	if len(b) > 0 && len(b) <= maxDecimalText {
		switch first := b[0]; {
		case first-'0' <= 9 || first == '-' || first == '.':
			c = g.numeric(b)
		case first|0x20 == 't' || first|0x20 == 'f':
			if _, ok := parseBool(b); ok {
				c = classBool
			}
		}
		if c == classText && isFloatWord(b) {
			c = classWord
		}
	}
	g.n[c]++
}

func isFloatWord(b []byte) bool {
	switch string(b) {
	case "NaN", "nan", "Infinity", "-Infinity", "inf", "-inf", "Inf", "-Inf":
		return true
	}
	return false
}

// numeric classes a value that begins like a number or a date.
func (g *guess) numeric(b []byte) class {
	if len(b) >= 10 && b[4] == '-' && b[0] != '-' {
		if _, rest, ok := parseDate(b); ok && len(rest) == 0 {
			return classDate
		}
		m, ok := parseMoment(b)
		if !ok {
			return classText
		}
		if m.zoned {
			g.zoned++
		}
		g.nanos = g.nanos || m.digits > 6
		if _, ok := m.in(arrow.Nanosecond); !ok {
			g.beyondNanos = true
		}
		return classMoment
	}
	return g.number(b)
}

func (g *guess) number(b []byte) class {
	d := b
	if d[0] == '-' {
		d = d[1:]
	}
	whole := 0
	for whole < len(d) && d[whole]-'0' <= 9 {
		whole++
	}
	if whole > 1 && d[0] == '0' { // leading zero: an identifier
		return classText
	}
	if whole < len(d) || whole == 1 && d[0] == '0' && len(d) < len(b) {
		if !looksDecimal(d[whole:], whole) {
			return classText
		}
		if _, ok := parseFloat(b, 64); !ok {
			return classText
		}
		return classFloat
	}
	if v, err := strconv.ParseInt(text(b), 10, 64); err == nil {
		g.wide = g.wide || v > 1<<53 || v < -1<<53
		return classInt
	}
	if whole >= 1 && whole <= 38 {
		return classBigInt
	}
	return classText
}

// looksDecimal reports whether rest, which follows whole digits, is [.digits][e[±]digits] with a digit before or after the point.
func looksDecimal(rest []byte, whole int) bool {
	i, digits := 0, whole
	if i < len(rest) && rest[i] == '.' {
		for i++; i < len(rest) && rest[i]-'0' <= 9; i++ {
			digits++
		}
	}
	if digits == 0 {
		return false
	}
	if i < len(rest) && rest[i]|0x20 == 'e' {
		i++
		if i < len(rest) && (rest[i] == '-' || rest[i] == '+') {
			i++
		}
		from := i
		for i < len(rest) && rest[i]-'0' <= 9 {
			i++
		}
		return i == len(rest) && i > from
	}
	return i == len(rest)
}

// result returns the type that holds every value seen without loss of text, or string.
func (g *guess) result() arrow.DataType {
	only := func(cs ...class) bool {
		n := 0
		for _, c := range cs {
			n += g.n[c]
		}
		return n == g.total && n > 0
	}
	switch {
	case only(classBool):
		return arrow.FixedWidthTypes.Boolean
	case only(classInt):
		return arrow.PrimitiveTypes.Int64
	case only(classInt, classBigInt):
		return &arrow.Decimal128Type{Precision: 38}
	case only(classInt, classFloat, classWord) && !g.wide && g.n[classInt]+g.n[classFloat] > 0:
		return arrow.PrimitiveTypes.Float64
	case only(classDate):
		return arrow.FixedWidthTypes.Date32
	case only(classMoment):
		return g.moment()
	}
	return arrow.BinaryTypes.String
}

func (g *guess) moment() arrow.DataType {
	t := &arrow.TimestampType{Unit: arrow.Microsecond}
	switch {
	case g.zoned != 0 && g.zoned != g.total, g.nanos && g.beyondNanos:
		return arrow.BinaryTypes.String
	case g.nanos:
		t.Unit = arrow.Nanosecond
	}
	if g.zoned > 0 {
		t.TimeZone = "UTC"
	}
	return t
}
