package format

import (
	"math"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
)

// Dates and times as text, after ISO 8601 and RFC 3339, in the proleptic Gregorian calendar. Years from 0 to 9999 have four digits;
// the others, which arrow can hold, have a sign and at least four.

const daySeconds = 86_400

// civil returns year, month and day of a day counted from 1970-01-01. After Howard Hinnant, "chrono-compatible low-level date
// algorithms", civil_from_days.
func civil(day int64) (y int64, m, d int) {
	day += 719_468
	era := floorDiv(day, 146_097)
	doe := day - era*146_097
	yoe := (doe - doe/1460 + doe/36_524 - doe/146_096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = int(doy - (153*mp+2)/5 + 1)
	m = int(mp) + 3
	y = yoe + era*400
	if m > 12 {
		m -= 12
		y++
	}
	return y, m, d
}

// daysOf is the reverse of civil (days_from_civil).
func daysOf(y int64, m, d int) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	era := floorDiv(y, 400)
	yoe := y - era*400
	doy := int64((153*(m-3)+2)/5 + d - 1)
	return era*146_097 + yoe*365 + yoe/4 - yoe/100 + doy - 719_468
}

func monthDays(y int64, m int) int {
	switch {
	case m == 2 && y%4 == 0 && (y%100 != 0 || y%400 == 0):
		return 29
	case m == 2:
		return 28
	}
	return 30 + (m+m/8)&1
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func appendPadded(dst []byte, v int64, width int) []byte {
	var tmp [20]byte
	i := len(tmp)
	for v > 0 || width > 0 {
		i--
		tmp[i] = byte('0' + v%10)
		v /= 10
		width--
	}
	return append(dst, tmp[i:]...)
}

func appendDate(dst []byte, day int64) []byte {
	y, m, d := civil(day)
	if y < 0 {
		dst = append(dst, '-')
		y = -y
	} else if y > 9999 {
		dst = append(dst, '+')
	}
	dst = appendPadded(dst, y, 4)
	return append(dst, '-', byte('0'+m/10), byte('0'+m%10), '-', byte('0'+d/10), byte('0'+d%10))
}

// perSecond returns how many of unit make a second, and the digits of the fraction.
func perSecond(unit arrow.TimeUnit) (n int64, digits int) {
	switch unit {
	case arrow.Second:
		return 1, 0
	case arrow.Millisecond:
		return 1e3, 3
	case arrow.Microsecond:
		return 1e6, 6
	}
	return 1e9, 9
}

// appendClock writes a time of day in units; the fraction is left out when zero.
func appendClock(dst []byte, v int64, unit arrow.TimeUnit) []byte {
	per, digits := perSecond(unit)
	s, frac := v/per, v%per
	h, m := s/3600, s/60%60
	s %= 60
	dst = append(dst, byte('0'+h/10), byte('0'+h%10), ':', byte('0'+m/10), byte('0'+m%10), ':', byte('0'+s/10), byte('0'+s%10))
	if frac != 0 {
		dst = appendPadded(append(dst, '.'), frac, digits)
	}
	return dst
}

func appendTimestamp(dst []byte, v int64, unit arrow.TimeUnit, utc bool) []byte {
	per, _ := perSecond(unit)
	day := floorDiv(v, daySeconds*per)
	dst = append(appendDate(dst, day), 'T')
	dst = appendClock(dst, v-day*daySeconds*per, unit)
	if utc {
		dst = append(dst, 'Z')
	}
	return dst
}

// digits2 reads two digits at b[i:].
func digits2(b []byte, i int) (int, bool) {
	if i+2 > len(b) || b[i]-'0' > 9 || b[i+1]-'0' > 9 {
		return 0, false
	}
	return int(b[i]-'0')*10 + int(b[i+1]-'0'), true
}

// parseDate reads a date at the start of b and returns what follows it.
func parseDate(b []byte) (day int64, rest []byte, ok bool) {
	i, neg, signed := 0, false, false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		neg, signed, i = b[0] == '-', true, 1
	}
	start := i
	var y int64
	for i < len(b) && b[i]-'0' <= 9 && i-start < 10 {
		y = y*10 + int64(b[i]-'0')
		i++
	}
	if n := i - start; n < 4 || !signed && n != 4 {
		return 0, nil, false
	}
	if neg {
		y = -y
	}
	if i+6 > len(b) || b[i] != '-' || b[i+3] != '-' {
		return 0, nil, false
	}
	m, ok1 := digits2(b, i+1)
	d, ok2 := digits2(b, i+4)
	if !ok1 || !ok2 || m < 1 || m > 12 || d < 1 || d > monthDays(y, m) {
		return 0, nil, false
	}
	return daysOf(y, m, d), b[i+6:], true
}

// parseClock reads HH:MM[:SS[.fraction]] at the start of b: seconds, nanoseconds, digits of the fraction, and what follows.
func parseClock(b []byte) (sec, nanos int64, digits int, rest []byte, ok bool) {
	h, ok1 := digits2(b, 0)
	m, ok2 := digits2(b, 3)
	if !ok1 || !ok2 || b[2] != ':' || h > 23 || m > 59 {
		return 0, 0, 0, nil, false
	}
	s := 0
	b = b[5:]
	if len(b) > 0 && b[0] == ':' {
		if s, ok = digits2(b, 1); !ok || s > 59 {
			return 0, 0, 0, nil, false
		}
		b = b[3:]
		if len(b) > 0 && b[0] == '.' {
			b = b[1:]
			for digits < len(b) && b[digits]-'0' <= 9 {
				if digits == 9 {
					return 0, 0, 0, nil, false
				}
				nanos = nanos*10 + int64(b[digits]-'0')
				digits++
			}
			if digits == 0 {
				return 0, 0, 0, nil, false
			}
			for i := digits; i < 9; i++ {
				nanos *= 10
			}
			b = b[digits:]
		}
	}
	return int64(h*3600 + m*60 + s), nanos, digits, b, true
}

// parseOffset reads all of b as Z or a numeric offset, in seconds east of UTC.
func parseOffset(b []byte) (int64, bool) {
	if len(b) == 1 && (b[0] == 'Z' || b[0] == 'z') {
		return 0, true
	}
	if len(b) < 3 || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	h, ok := digits2(b, 1)
	m := 0
	switch {
	case len(b) == 6 && b[3] == ':':
		var ok2 bool
		m, ok2 = digits2(b, 4)
		ok = ok && ok2
	case len(b) == 5:
		var ok2 bool
		m, ok2 = digits2(b, 3)
		ok = ok && ok2
	case len(b) != 3:
		return 0, false
	}
	if !ok || h > 23 || m > 59 {
		return 0, false
	}
	s := int64(h*3600 + m*60)
	if b[0] == '-' {
		s = -s
	}
	return s, true
}

// moment is a timestamp as read from text.
type moment struct {
	sec    int64 // UTC, or local when not zoned
	nanos  int64
	digits int // of the fraction
	zoned  bool
}

func parseMoment(b []byte) (moment, bool) {
	day, b, ok := parseDate(b)
	if !ok || len(b) == 0 || b[0] != 'T' && b[0] != 't' && b[0] != ' ' {
		return moment{}, false
	}
	sec, nanos, digits, b, ok := parseClock(b[1:])
	if !ok {
		return moment{}, false
	}
	t := moment{sec: day*daySeconds + sec, nanos: nanos, digits: digits}
	if len(b) > 0 {
		off, ok := parseOffset(b)
		if !ok {
			return moment{}, false
		}
		t.sec -= off
		t.zoned = true
	}
	return t, true
}

// in returns t in units, if it is exact and fits.
func (t moment) in(unit arrow.TimeUnit) (int64, bool) {
	per, _ := perSecond(unit)
	step := int64(1e9) / per
	if t.nanos%step != 0 {
		return 0, false
	}
	return mulAdd(t.sec, per, t.nanos/step)
}

// mulAdd returns a×b+c for b > 0 and 0 ≤ c < b, if it fits.
func mulAdd(a, b, c int64) (int64, bool) {
	if a < 0 && c > 0 { // (a+1)×b + (c−b): the same, nearer to zero
		a, c = a+1, c-b
	}
	hi, lo := bits.Mul64(uint64(max(a, -a)), uint64(b))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	v := int64(lo)
	if a < 0 {
		v = -v
	}
	if c > 0 && v > math.MaxInt64-c || c < 0 && v < math.MinInt64-c {
		return 0, false
	}
	return v + c, true
}
