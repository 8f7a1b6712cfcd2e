package format

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonError is what is wrong with a JSON text, without a place.
type jsonError string

func (e jsonError) Error() string { return string(e) }

// jsonScan cuts a JSON text (RFC 8259) into tokens. The text is UTF-8.
type jsonScan struct {
	b       []byte
	i       int
	scratch []byte // unescaped strings of this text
}

func (s *jsonScan) reset(b []byte) {
	s.b, s.i, s.scratch = b, 0, s.scratch[:0]
}

// peek skips blanks and returns the next byte, 0 at the end.
func (s *jsonScan) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// take consumes c if it is the next byte that is not blank.
func (s *jsonScan) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

func (s *jsonScan) want(c byte) error {
	if !s.take(c) {
		return s.unexpected(string(rune(c)))
	}
	return nil
}

func (s *jsonScan) unexpected(want string) error {
	if s.i >= len(s.b) {
		return jsonError("not JSON: the text ends where " + want + " should be")
	}
	return jsonError(fmt.Sprintf("not JSON: expected %s at byte %d", want, s.i+1))
}

// atEnd fails unless only blanks are left.
func (s *jsonScan) atEnd() error {
	if s.peek(); s.i < len(s.b) {
		return s.unexpected("the end")
	}
	return nil
}

// word consumes one of null, true and false.
func (s *jsonScan) word(w string) error {
	if end := s.i + len(w); end <= len(s.b) && string(s.b[s.i:end]) == w {
		s.i = end
		return nil
	}
	return s.unexpected("a value")
}

// number consumes a number and returns its text.
func (s *jsonScan) number() ([]byte, error) {
	b, i := s.b, s.i
	if i < len(b) && b[i] == '-' {
		i++
	}
	digits := func() bool {
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	whole := i
	ok := digits() && (b[whole] != '0' || i == whole+1)
	if ok && i < len(b) && b[i] == '.' {
		i++
		ok = digits()
	}
	if ok && i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		ok = digits()
	}
	if !ok {
		return nil, s.unexpected("a value")
	}
	t := b[s.i:i]
	s.i = i
	return t, nil
}

// str consumes a string and returns its value, a view into the text or the scratch memory.
func (s *jsonScan) str() ([]byte, error) {
	if !s.take('"') {
		return nil, s.unexpected("a string")
	}
	b := s.b
	for i := s.i; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			v := b[s.i:i]
			s.i = i + 1
			return v, nil
		case c == '\\':
			return s.escaped(i)
		case c < ' ':
			return nil, jsonError("not JSON: a control character in a string must be escaped")
		}
	}
	s.i = len(b)
	return nil, s.unexpected("a closing quote")
}

// escaped reads on from the first backslash of a string, at i.
func (s *jsonScan) escaped(i int) ([]byte, error) {
	start := len(s.scratch)
	out := append(s.scratch, s.b[s.i:i]...)
	for i < len(s.b) {
		c := s.b[i]
		switch {
		case c == '"':
			s.scratch, s.i = out, i+1
			return out[start:], nil
		case c < ' ':
			return nil, jsonError("not JSON: a control character in a string must be escaped")
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		r, n := unescape(s.b[i:])
		if n == 0 {
			return nil, jsonError("not JSON: a wrong escape in a string")
		}
		out = utf8.AppendRune(out, r)
		i += n
	}
	s.i = len(s.b)
	return nil, s.unexpected("a closing quote")
}

// unescape reads the escape at the start of b: its character and length, 0 for none.
func unescape(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default:
		return 0, 0
	}
	r, ok := hex4(b[2:])
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
		return 0, 0
	}
	low, ok := hex4(b[8:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
