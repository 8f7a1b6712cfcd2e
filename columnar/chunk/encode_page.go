package chunk

import (
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
)

// page gathers the rows of a data page.
type page struct {
	rows   int
	slots  int    // values, nulls and empty lists
	def    []byte // levels; in a flat column a bit each
	rep    []byte // levels
	values values
}

func (p *page) reset() {
	p.rows, p.slots, p.def, p.rep = 0, 0, p.def[:0], p.rep[:0]
	p.values.reset()
}

// eachPage cuts the rows of a leaf into pages. fn must not keep them.
func (l *leaf) eachPage(s *scratch, arrays []arrow.Array, fn func(*page) error) error {
	p := &s.page
	p.reset()
	room := pageBytes
	for _, a := range arrays {
		nodes := l.nodes(a)
		for row := 0; row < a.Len(); {
			n, size := l.fitting(nodes, row, room)
			if n == 0 && p.rows > 0 {
				if err := fn(p); err != nil {
					return err
				}
				p.reset()
				room = pageBytes
				continue
			}
			n = max(n, 1) // a row longer than a page
			l.add(s, nodes, row, row+n)
			room -= size
			row += n
		}
	}
	if p.rows == 0 {
		return nil
	}
	return fn(p)
}

// add adds rows to the page.
func (l *leaf) add(s *scratch, nodes []node, from, to int) {
	p := &s.page
	p.rows += to - from
	if len(l.path) == 0 {
		l.addFlat(s, &nodes[0], from, to)
	} else {
		l.addNested(s, nodes, from, to)
	}
	l.gather(&p.values, &nodes[len(nodes)-1], s.spans)
}

func (l *leaf) addFlat(s *scratch, n *node, from, to int) {
	p := &s.page
	s.spans = s.spans[:0]
	if l.form != formNull {
		s.spans = n.appendValid(s.spans, from, to)
	}
	if l.nullable {
		p.def = grow(p.def, (p.slots+to-from+7)/8)
		switch {
		case l.form == formNull:
			bitutil.SetBitsTo(p.def, int64(p.slots), int64(to-from), false)
		case n.valid == nil:
			bitutil.SetBitsTo(p.def, int64(p.slots), int64(to-from), true)
		default:
			bitutil.CopyBitmap(n.valid, n.shift+from, to-from, p.def, p.slots)
		}
	}
	p.slots += to - from
}

// grow returns b with length n, whose further bytes are anything.
func grow(b []byte, n int) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

// appendLevels appends the levels of a page, each kind behind its length.
func (l *leaf) appendLevels(dst []byte, p *page) []byte {
	if l.maxRep > 0 {
		dst = sized(dst, func(dst []byte) []byte { return appendRuns(dst, p.rep, bits.Len(uint(l.maxRep))) })
	}
	if l.maxDef == 0 {
		return dst
	}
	return sized(dst, func(dst []byte) []byte {
		if len(l.path) == 0 {
			return appendBitRuns(dst, p.def, p.slots)
		}
		return appendRuns(dst, p.def, bits.Len(uint(l.maxDef)))
	})
}

func sized(dst []byte, fill func([]byte) []byte) []byte {
	at := len(dst)
	dst = fill(append(dst, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}
