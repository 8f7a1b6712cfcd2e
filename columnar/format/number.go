package format

import (
	"math"
	"math/big"
	"strconv"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
)

// text is b as a string, for a call that does not keep it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parseInt reads [+-]digits.
func parseInt(b []byte) (int64, bool) {
	neg := false
	d := b
	if len(d) > 0 && (d[0] == '-' || d[0] == '+') {
		neg = d[0] == '-'
		d = d[1:]
	}
	if len(d) == 0 || len(d) > 18 {
		v, err := strconv.ParseInt(text(b), 10, 64)
		return v, err == nil
	}
	var v int64
	for _, c := range d {
		c -= '0'
		if c > 9 {
			return 0, false
		}
		v = v*10 + int64(c)
	}
	if neg {
		v = -v
	}
	return v, true
}

func parseUint(b []byte) (uint64, bool) {
	if len(b) > 0 && b[0] == '+' {
		b = b[1:]
	}
	v, err := strconv.ParseUint(text(b), 10, 64)
	return v, err == nil
}

var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// parseFloat reads a decimal number, or one of the words NaN, Infinity, inf with a sign, whatever their case. A number too large for
// the type is refused; other numbers go to the nearest value.
func parseFloat(b []byte, bits int) (float64, bool) {
	if bits == 64 {
		if v, ok := shortFloat(b); ok {
			return v, true
		}
	}
	for _, c := range b {
		if c == '_' || c|0x20 == 'x' || c|0x20 == 'p' { // what only Go's syntax allows
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(text(b), bits)
	return v, err == nil
}

// shortFloat is exact for numbers of at most 15 digits without an exponent: both the digits and the power of ten are then exact in
// a float64, and one division rounds once (Clinger 1990).
func shortFloat(b []byte) (float64, bool) {
	i, neg := 0, false
	if len(b) > 0 && b[0] == '-' {
		neg, i = true, 1
	}
	if n := len(b) - i; n == 0 || n > 16 {
		return 0, false
	}
	var v uint64
	point, digits := -1, 0
	for ; i < len(b); i++ {
		c := b[i] - '0'
		switch {
		case c <= 9:
			v = v*10 + uint64(c)
			digits++
		case b[i] == '.' && point < 0:
			point = digits
		default:
			return 0, false
		}
	}
	if digits == 0 || digits > 15 {
		return 0, false
	}
	f := float64(v)
	if point >= 0 {
		f /= pow10[digits-point]
	}
	if neg {
		f = -f
	}
	return f, true
}

// appendFloat writes the shortest text that reads back as v; a whole number keeps a ".0" so that it stays a float.
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	start := len(dst)
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, bits)
	}
	dst = strconv.AppendFloat(dst, v, 'f', -1, bits)
	for _, c := range dst[start:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

// decimalText is a decimal number taken apart: ±digits × 10^exp. digits is a view without the point only if there was none.
type decimalText struct {
	neg    bool
	digits []byte // without leading zeros; empty for zero
	exp    int
}

const maxDecimalText = 400 // bytes; no decimal of 76 digits needs more

// splitDecimal reads [+-]digits[.digits][e[+-]digits]. buf is scratch of maxDecimalText bytes.
func splitDecimal(b, buf []byte) (t decimalText, ok bool) {
	if len(b) > maxDecimalText {
		return t, false
	}
	i := 0
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		t.neg = b[i] == '-'
		i++
	}
	t.digits = buf[:0]
	seen, point := 0, false
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c-'0' <= 9:
			seen++
			if point {
				t.exp--
			}
			if c != '0' || len(t.digits) > 0 {
				t.digits = append(t.digits, c)
			}
			continue
		case c == '.' && !point:
			point = true
			continue
		}
		break
	}
	if seen == 0 {
		return t, false
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		e, ok := parseInt(b[i+1:])
		if !ok || e < -1000 || e > 1000 {
			return t, false
		}
		t.exp += int(e)
		i = len(b)
	}
	return t, i == len(b)
}

// scaled returns the digits of t × 10^scale as text of a whole number, if t has no digit below that scale and fits precision digits.
func (t decimalText) scaled(precision, scale int32, buf []byte) (digits []byte, ok bool) {
	digits = t.digits
	if len(digits) == 0 {
		return append(buf[:0], '0'), true
	}
	shift := t.exp + int(scale)
	for shift < 0 && len(digits) > 0 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
		shift++
	}
	if shift < 0 || len(digits)+shift > int(precision) {
		return nil, false
	}
	buf = append(buf[:0], digits...)
	for range shift {
		buf = append(buf, '0')
	}
	return buf, true
}

// decimalParser reads decimals of one type; it keeps scratch memory.
type decimalParser struct {
	precision, scale int32
	a, b             [maxDecimalText + 80]byte
	n                big.Int
}

func (p *decimalParser) digits(b []byte) (digits []byte, neg, ok bool) {
	t, ok := splitDecimal(b, p.a[:])
	if !ok {
		return nil, false, false
	}
	digits, ok = t.scaled(p.precision, p.scale, p.b[:])
	return digits, t.neg, ok
}

func (p *decimalParser) big(digits []byte, neg bool) *big.Int {
	p.n.SetString(text(digits), 10)
	if neg {
		p.n.Neg(&p.n)
	}
	return &p.n
}

func (p *decimalParser) parse128(b []byte) (decimal128.Num, bool) {
	digits, neg, ok := p.digits(b)
	if !ok {
		return decimal128.Num{}, false
	}
	if len(digits) <= 18 {
		v, _ := parseInt(digits)
		if neg {
			v = -v
		}
		return decimal128.FromI64(v), true
	}
	return decimal128.FromBigInt(p.big(digits, neg)), true
}

func (p *decimalParser) parse256(b []byte) (decimal256.Num, bool) {
	digits, neg, ok := p.digits(b)
	if !ok {
		return decimal256.Num{}, false
	}
	return decimal256.FromBigInt(p.big(digits, neg)), true
}

// appendDecimal writes a whole number n × 10^-scale with exactly scale digits after the point.
func appendDecimal(dst []byte, n *big.Int, scale int32) []byte {
	if n.Sign() < 0 {
		dst = append(dst, '-')
		n = new(big.Int).Neg(n)
	}
	return appendPoint(dst, n.Append(nil, 10), scale)
}

// appendPoint writes digits with a point before the last scale of them.
func appendPoint(dst, digits []byte, scale int32) []byte {
	for len(digits) <= int(scale) {
		digits = append([]byte{'0'}, digits...)
	}
	whole := len(digits) - int(scale)
	dst = append(dst, digits[:whole]...)
	if scale > 0 {
		dst = append(append(dst, '.'), digits[whole:]...)
	}
	return dst
}

func appendDecimal128(dst []byte, n decimal128.Num, scale int32) []byte {
	lo := n.LowBits()
	// Not the sign extension of an int64, or the int64 that has no negative:
	if h := n.HighBits(); h != int64(lo)>>63 || int64(lo) == math.MinInt64 {
		return appendDecimal(dst, n.BigInt(), scale)
	}
	v := int64(lo)
	if v < 0 {
		dst = append(dst, '-')
		v = -v
	}
	var tmp [24]byte
	return appendPoint(dst, strconv.AppendInt(tmp[:0], v, 10), scale)
}
