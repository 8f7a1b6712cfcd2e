package chunk

import (
	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar/pme"
	"coldframe/internal/parquetguard"
)

const (
	sampleRows = 16 << 10 // are looked at to choose an encoding
	minSample  = 64       // values; below that nothing is worth choosing

	// minReturns is how often a value is there for a dictionary to pay: looking it up costs time.
	minReturns = 8
)

// choice is how a leaf is written.
type choice struct {
	values int // encoding
	codec  int
}

// choose tries the encodings of the leaf on its first rows, and compression on each. The first one wins unless another is 3 % smaller:
// that is the fastest.
//
//	integers, times   DELTA_BINARY_PACKED, dictionary, PLAIN
//	floats            PLAIN, BYTE_STREAM_SPLIT, dictionary
//	strings, bytes    DELTA_LENGTH_BYTE_ARRAY, dictionary, PLAIN
//	other             PLAIN, dictionary
func (l *leaf) choose(s *scratch, arrays []arrow.Array) {
	l.chosen, l.fallback = choice{codec: pme.CodecZstd}, choice{codec: pme.CodecZstd}
	p := l.sample(s, arrays)
	rows := 0
	for _, a := range arrays {
		rows += a.Len()
	}
	if p.values.n < minSample || l.form == formBool {
		return
	}
	size, fallbackSize := 0, 0
	for _, e := range l.candidates() {
		c, n := l.trial(s, p, e, rows)
		if n > 0 && (size == 0 || smaller(n, size)) {
			l.chosen, size = c, n
		}
		if e != encodingDictionary && (fallbackSize == 0 || smaller(n, fallbackSize)) {
			l.fallback, fallbackSize = c, n
		}
	}
}

// smaller reports whether n is at least 3 % less than m.
func smaller(n, m int) bool { return 100*n < 97*m }

func (l *leaf) candidates() []int {
	switch {
	case l.form == formBytes:
		return []int{encodingDeltaLength, encodingDictionary, encodingPlain}
	case (l.form == form32 || l.form == form64) && l.order == orderFloat:
		return []int{encodingPlain, encodingSplit, encodingDictionary}
	case l.form == form32, l.form == form64:
		return []int{encodingDelta, encodingDictionary, encodingPlain}
	}
	return []int{encodingPlain, encodingDictionary}
}

// sample returns the first rows as a page.
func (l *leaf) sample(s *scratch, arrays []arrow.Array) *page {
	s.page.reset()
	room := pageBytes
	for _, a := range arrays {
		if a.Len() == 0 {
			continue
		}
		nodes := l.nodes(a)
		n, size := l.fitting(nodes, 0, room)
		l.add(s, nodes, 0, min(n, sampleRows-s.page.rows))
		if room -= size; n < a.Len() || s.page.rows == sampleRows {
			break
		}
	}
	return &s.page
}

// trial encodes a sample of that many rows in all, compresses it if that pays, and returns the size: 0 where a dictionary does not pay.
// The values of a dictionary are there once for all rows.
func (l *leaf) trial(s *scratch, p *page, encoding, rows int) (choice, int) {
	c, dictionary := choice{encoding, pme.CodecNone}, 0
	s.body = l.appendLevels(s.body[:0], p)
	levels := len(s.body)
	if encoding == encodingDictionary {
		d := &s.dictionary
		d.reset(l)
		numbers, ok := d.add(s.pages.numbers[:0], &p.values)
		s.pages.numbers = numbers
		if !ok || minReturns*d.values.n > p.values.n {
			return c, 0
		}
		s.body = appendNumbers(s.body, numbers, d.values.n)
		dictionary = d.size * p.rows / rows
	} else {
		s.body = l.appendValues(s.body, &p.values, encoding)
	}
	n := len(s.body)
	if packed := s.packedSize(s.body[:levels]) + s.packedSize(s.body[levels:]); smaller(packed, n) {
		c.codec, n = pme.CodecZstd, packed
	}
	return c, n + dictionary
}

// packedSize returns what zstd makes of a part of a page. In a sample it is shorter than what zstd looks at together.
func (s *scratch) packedSize(part []byte) int {
	s.packed = parquetguard.Zstd.Encode(s.packed[:0], part)
	return len(s.packed)
}
