package columnar

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"coldframe/internal/fault"
)

// Limits of a condition.
const (
	MaxWhere    = 8 << 10 // bytes
	maxCompares = 100     // comparisons
)

// Where is a condition that rows must fulfil: comparisons of columns with literals, joined by AND. The zero Where is fulfilled by all rows.
//
// A comparison with a null is not true. Strings and bytes are ordered by their unsigned bytes, false is before true, NaN equals itself and
// is above every other number, -0 equals 0: the order of SQL in PostgreSQL and DuckDB.
type Where struct{ terms []term }

// term is one comparison, as written.
type term struct {
	column string
	op     op
	kind   token // what the literal is
	text   string
	at     int // position of the literal, or of the column if there is none
}

type op byte

const (
	opEqual op = iota
	opNotEqual
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
	opIsNull
	opIsNotNull
)

var operators = map[string]op{
	"=": opEqual, "!=": opNotEqual, "<>": opNotEqual, "<": opLess, "<=": opLessEqual, ">": opGreater, ">=": opGreaterEqual,
}

// IsZero reports whether all rows fulfil w.
func (w Where) IsZero() bool { return len(w.terms) == 0 }

// ParseWhere reads a condition:
//
//	where      = comparison { AND comparison }
//	comparison = column ( "=" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ) literal | column IS [ NOT ] NULL
//	column     = a word of letters, digits and "_" that is no keyword, or any name in double quotes, a quote in it doubled
//	literal    = number | 'text', a quote in it doubled | TRUE | FALSE
//
// Keywords may be in lower case. fault.InvalidRequest tells the position of what is wrong, counted in characters from 1.
func ParseWhere(s string) (Where, error) {
	if len(s) > MaxWhere {
		return Where{}, fault.New(fault.TooLarge, "where: longer than %d bytes", MaxWhere)
	}
	if !utf8.ValidString(s) {
		return Where{}, fault.New(fault.InvalidRequest, "where: not valid UTF-8")
	}
	p := whereParser{rest: s, at: 1}
	p.next()
	for {
		t, err := p.comparison()
		if err != nil {
			return Where{}, err
		}
		if p.terms = append(p.terms, t); len(p.terms) > maxCompares {
			return Where{}, fault.New(fault.TooLarge, "where: more than %d comparisons", maxCompares)
		}
		switch {
		case p.token == tokenEnd:
			return Where{terms: p.terms}, nil
		case !p.keyword("AND"):
			return Where{}, p.refuse("AND or the end is expected")
		}
		p.next()
	}
}

type token byte

const (
	tokenEnd token = iota
	tokenWord
	tokenName   // in double quotes
	tokenString // in single quotes
	tokenNumber
	tokenOperator
	tokenUnknown // wrong says why
)

// whereParser is at one token and has the rest of the text before it.
type whereParser struct {
	rest  string
	at    int // characters before rest, plus one
	terms []term

	token token
	text  string // of the token: what is between the quotes, quotes in it undoubled
	start int    // of the token
	wrong string
}

func (p *whereParser) refuse(why string) error {
	if p.token == tokenUnknown {
		why = p.wrong
	}
	return fault.New(fault.InvalidRequest, "where: position %d: %s", p.start, why)
}

func (p *whereParser) keyword(word string) bool {
	return p.token == tokenWord && strings.EqualFold(p.text, word)
}

func (p *whereParser) reserved() bool {
	for _, k := range []string{"AND", "OR", "NOT", "IS", "NULL", "TRUE", "FALSE"} {
		if p.keyword(k) {
			return true
		}
	}
	return false
}

func (p *whereParser) comparison() (term, error) {
	if p.token != tokenName && (p.token != tokenWord || p.reserved()) {
		return term{}, p.refuse("the name of a column is expected")
	}
	t := term{column: p.text, at: p.start}
	p.next()
	if p.keyword("IS") {
		p.next()
		return p.nullness(t)
	}
	var ok bool
	if t.op, ok = operators[p.text]; !ok || p.token != tokenOperator {
		return term{}, p.refuse("one of = != <> < <= > >= or IS is expected")
	}
	p.next()
	t.kind, t.text, t.at = p.token, p.text, p.start
	switch {
	case p.keyword("NULL"):
		return term{}, p.refuse("nothing compares with NULL: IS NULL, or IS NOT NULL")
	case p.token != tokenString && p.token != tokenNumber && !p.keyword("TRUE") && !p.keyword("FALSE"):
		return term{}, p.refuse("a number, a text in single quotes, TRUE or FALSE is expected")
	}
	p.next()
	return t, nil
}

func (p *whereParser) nullness(t term) (term, error) {
	t.op = opIsNull
	if p.keyword("NOT") {
		t.op = opIsNotNull
		p.next()
	}
	if !p.keyword("NULL") {
		return term{}, p.refuse("NULL is expected")
	}
	p.next()
	return t, nil
}

// next reads the next token.
func (p *whereParser) next() {
	p.take(len(p.rest) - len(strings.TrimLeft(p.rest, " \t\r\n")))
	p.start, p.text = p.at, ""
	c, _ := utf8.DecodeRuneInString(p.rest)
	switch {
	case p.rest == "":
		p.token = tokenEnd
	case c == '\'':
		p.quoted(tokenString, "'")
	case c == '"':
		p.quoted(tokenName, `"`)
	case strings.ContainsRune("=<>!", c):
		p.token, p.text = tokenOperator, p.take(prefixOf(p.rest, func(c rune) bool { return strings.ContainsRune("=<>!", c) }))
	case strings.ContainsRune("+-.0123456789", c):
		p.number()
	case inWord(c):
		p.token, p.text = tokenWord, p.take(prefixOf(p.rest, inWord))
	default:
		p.unknown("this character belongs to nothing")
	}
}

func (p *whereParser) unknown(why string) { p.token, p.wrong = tokenUnknown, why }

// take moves on by n bytes and returns them.
func (p *whereParser) take(n int) string {
	s := p.rest[:n]
	p.rest, p.at = p.rest[n:], p.at+utf8.RuneCountInString(s)
	return s
}

// quoted reads a text up to the quote that ends it; a doubled one stands for itself.
func (p *whereParser) quoted(kind token, quote string) {
	end := 1
	for {
		i := strings.Index(p.rest[end:], quote)
		if i < 0 {
			p.unknown("a quote that does not end")
			return
		}
		if end += i + 1; !strings.HasPrefix(p.rest[end:], quote) {
			break
		}
		end++
	}
	s := p.take(end)
	p.token, p.text = kind, strings.ReplaceAll(s[1:len(s)-1], quote+quote, quote)
}

// number reads digits with a sign, a point and an exponent, as far as they are there.
func (p *whereParser) number() {
	s := p.rest
	i := sign(s)
	whole := digits(s[i:])
	i += whole
	if strings.HasPrefix(s[i:], ".") {
		n := digits(s[i+1:])
		i, whole = i+1+n, whole+n
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		e := sign(s[i+1:])
		if n := digits(s[i+1+e:]); n > 0 {
			i += 1 + e + n
		}
	}
	if after, _ := utf8.DecodeRuneInString(s[i:]); whole == 0 || i < len(s) && (inWord(after) || after == '.') {
		p.unknown("not a number")
		return
	}
	p.token, p.text = tokenNumber, p.take(i)
}

func sign(s string) int {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return 1
	}
	return 0
}

func digits(s string) int { return prefixOf(s, func(c rune) bool { return c >= '0' && c <= '9' }) }

func inWord(c rune) bool {
	return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c)
}

// prefixOf returns how many bytes at the start of s are characters in the set.
func prefixOf(s string, in func(rune) bool) int {
	if i := strings.IndexFunc(s, func(c rune) bool { return !in(c) }); i >= 0 {
		return i
	}
	return len(s)
}
