package chunk

import (
	"fmt"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"coldframe/columnar/pme"
	"coldframe/internal/parquetguard"
)

// pageBytes is about how long the values of a page are in memory. A page ends with a row. Tests change it.
var pageBytes = 1 << 20

const (
	// chooseEvery is after how many row groups the encoding is chosen anew.
	chooseEvery = 16

	// maxKept bounds each buffer that is kept for the next column; only pages of one very long row need longer ones.
	maxKept = 4 << 20
)

// Encoder encodes one top-level column, row group by row group. It is for one goroutine at a time.
type Encoder struct {
	leaves []*leaf
	groups int
}

// NewEncoder returns the encoder of column f of a schema that has nothing but what Parquet has, whose leaves are columns. It panics if
// these are others.
func NewEncoder(f arrow.Field, columns []*schema.Column) *Encoder {
	e := &Encoder{}
	e.walk(f.Type, f.Nullable, nil)
	if len(e.leaves) != len(columns) {
		panic(fmt.Sprintf("chunk: %d leaves for %d columns", len(e.leaves), len(columns)))
	}
	for i, l := range e.leaves {
		l.describe(columns[i])
	}
	return e
}

// walk adds the leaves of a type, which path leads to.
func (e *Encoder) walk(t arrow.DataType, nullable bool, path []step) {
	down := func(s step, f arrow.Field) {
		s.nullable = nullable
		e.walk(f.Type, f.Nullable, append(slices.Clone(path), s))
	}
	switch t := t.(type) {
	case *arrow.MapType:
		list := append(slices.Clone(path), step{list: true, nullable: nullable})
		for i, f := range t.Elem().(*arrow.StructType).Fields() { // of entries, which are never null
			e.walk(f.Type, i > 0, append(slices.Clone(list), step{field: i}))
		}
	case *arrow.ListType:
		down(step{list: true}, t.ElemField())
	case *arrow.StructType:
		for i, f := range t.Fields() {
			down(step{field: i}, f)
		}
	default:
		e.leaves = append(e.leaves, newLeaf(t, nullable, path))
	}
}

// scratch is the memory of one column at work.
type scratch struct {
	spans        []span
	slots, outer slots
	page         page
	body, packed []byte
	dictionary   dictionary
	pages        dictionaryPages
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) free() {
	v := &s.page.values
	if max(cap(s.body), cap(s.packed), cap(v.bytes), 8*cap(v.words), 4*cap(v.halves), 4*cap(v.lengths), cap(s.page.def), cap(s.page.rep),
		8*cap(s.spans), 4*cap(s.slots.at), 4*cap(s.outer.at), cap(s.pages.levels), 4*cap(s.pages.numbers)) <= maxKept {
		scratches.Put(s)
	}
}

// Encode seals the rows of a row group. arrays have one type, that of the column.
func (e *Encoder) Encode(to *pme.ColumnSealer, arrays []arrow.Array) error {
	s := scratches.Get().(*scratch)
	defer s.free()
	again := e.groups%chooseEvery == 0
	e.groups++
	for _, l := range e.leaves {
		if again {
			l.choose(s, arrays)
		}
		if err := l.encode(to, s, arrays); err != nil {
			return err
		}
	}
	return nil
}

// encode seals the chunk of a leaf.
func (l *leaf) encode(to *pme.ColumnSealer, s *scratch, arrays []arrow.Array) error {
	if l.chosen.values == encodingDictionary {
		done, err := l.encodeDictionary(to, s, arrays)
		if done || err != nil {
			return err
		}
		l.chosen = l.fallback
	}
	to.BeginChunk(l.chosen.codec)
	st := statistics{leaf: l}
	err := l.eachPage(s, arrays, func(p *page) error {
		st.add(&p.values)
		st.nulls += int64(p.slots - p.values.n)
		s.body = l.appendLevels(s.body[:0], p)
		s.body = l.appendValues(s.body, &p.values, l.chosen.values)
		return s.seal(to, l.chosen, pme.Page{Encoding: int64(l.chosen.values), Values: p.slots}, s.body)
	})
	if err != nil {
		return err
	}
	return to.EndChunk(l.info(&st, l.chosen.values))
}

// seal compresses the body of a page, if its chunk is compressed, and seals it.
func (s *scratch) seal(to *pme.ColumnSealer, c choice, p pme.Page, body []byte) error {
	p.RawSize, p.Body = len(body), body
	if c.codec == pme.CodecZstd {
		s.packed = parquetguard.Zstd.Encode(s.packed[:0], body)
		p.Body = s.packed
	}
	return to.Page(p)
}

func (l *leaf) info(st *statistics, encodings ...int) pme.ChunkInfo {
	if l.maxDef > 0 {
		encodings = append(encodings, encodingRLE)
	}
	return pme.ChunkInfo{Physical: l.physical, Encodings: encodings, Statistics: st.result()}
}
