package chunk

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar/pme"
)

// slotRange is some slots of a leaf: as many values as are valid stand in a page one behind the other, and belong into those slots whose
// bits are set in validity.
type slotRange struct {
	at, n, valid int
	validity     []byte // nil: all are valid
	more         int    // slots that may follow in later pages
	moreRaw      int    // bytes of those pages
}

func (s *slotRange) has(i int) bool { return s.validity[(s.at+i)>>3]>>((s.at+i)&7)&1 != 0 }

// valueDecoder collects what the pages of a leaf hold.
type valueDecoder interface {
	// dictionary takes n values that later pages count.
	dictionary(body []byte, n int) error
	// page puts values into slots.
	page(encoding int64, body []byte, s slotRange) error
	// buffers returns the values of n slots.
	buffers(n int) []*memory.Buffer
	release()
}

// direct are values that may be decompressed to where they belong.
type direct interface {
	place(encoding int64, s slotRange, size int) []byte // nil: not these
}

// leafDecoder decodes a leaf.
type leafDecoder struct {
	*decoder
	node     *layoutNode
	sum      pageSum
	values   valueDecoder
	validity growing
	entries  int // so far
	slots    int // so far
	raw      int // bytes of data pages so far
	nulls    int
	levels   *levels // nil: the leaf is not nested, an entry is a slot
}

func (d *decoder) leaf(n *layoutNode) (arrow.ArrayData, error) {
	chunk := d.column.Leaves[n.leaf]
	l := leafDecoder{decoder: d, node: n, validity: growing{mem: d.mem}}
	var err error
	if l.sum, err = sumPages(chunk.Pages); err != nil {
		return nil, err
	}
	switch {
	case n.nested:
		l.levels = d.newLevels(n, l.sum.entries)
	case l.sum.entries != d.column.Rows:
		return nil, damaged("a column of %d rows in a row group of %d", l.sum.entries, d.column.Rows)
	}
	if l.values, err = d.valuesOf(n); err != nil {
		return nil, err
	}
	data, err := l.read(chunk)
	if err != nil {
		l.values.release()
		l.validity.release()
	}
	return data, err
}

func (l *leafDecoder) read(chunk Leaf) (arrow.ArrayData, error) {
	for pages := chunk.Pages; len(pages) > 0; {
		p, rest, err := pme.NextPage(pages)
		if err != nil {
			return nil, err
		}
		if err := l.page(p, chunk.Compressed); err != nil {
			return nil, err
		}
		pages = rest
	}
	buffers := l.values.buffers(l.slots)
	if l.node.typ.ID() == arrow.NULL {
		l.validity.release()
		return array.NewData(arrow.Null, l.slots, []*memory.Buffer{nil}, nil, l.slots, 0), nil
	}
	defer releaseBuffers(buffers)
	var validity *memory.Buffer
	if l.nulls > 0 {
		validity = l.validity.buffer(bytesOf(l.slots))
		defer validity.Release()
	} else {
		l.validity.release()
	}
	return array.NewData(l.node.typ, l.slots, append([]*memory.Buffer{validity}, buffers...), nil, l.nulls, 0), nil
}

func releaseBuffers(buffers []*memory.Buffer) {
	for _, b := range buffers {
		b.Release()
	}
}

func bytesOf(bits int) int { return (bits + 7) / 8 }

func (l *leafDecoder) page(p pme.Page, compressed bool) error {
	if l.levels == nil && l.node.def == 0 && !p.Dictionary && compressed {
		if done, err := l.direct(p); done || err != nil {
			return err
		}
	}
	body, give, err := l.unpack(p, compressed)
	if err != nil {
		return err
	}
	defer give()
	if p.Dictionary {
		return l.values.dictionary(body, p.Values)
	}
	l.sum.raw -= p.RawSize
	l.raw += p.RawSize
	s, body, err := l.slotsOf(p, body)
	if err != nil {
		return err
	}
	s.moreRaw = l.sum.raw
	if err := l.values.page(p.Encoding, body, s); err != nil {
		return err
	}
	l.slots += s.n
	l.nulls += s.n - s.valid
	return nil
}

// direct decompresses a page without levels to where its values belong, if they are there as the page has them.
func (l *leafDecoder) direct(p pme.Page) (done bool, err error) {
	v, ok := l.values.(direct)
	if !ok {
		return false, nil
	}
	s := slotRange{at: l.slots, n: p.Values, valid: p.Values, more: l.sum.entries - l.entries - p.Values}
	to := v.place(p.Encoding, s, p.RawSize)
	if to == nil {
		return false, nil
	}
	l.entries += p.Values
	l.slots += p.Values
	l.sum.raw -= p.RawSize
	return true, decompress(to, p.Body)
}

// slotsOf reads the levels at the start of a page and returns its slots, and what lies behind the levels.
func (l *leafDecoder) slotsOf(p pme.Page, body []byte) (s slotRange, rest []byte, err error) {
	s = slotRange{at: l.slots, n: p.Values, valid: p.Values}
	l.entries += p.Values
	s.more = l.sum.entries - l.entries
	switch {
	case l.levels != nil:
		return l.nestedSlots(p, body)
	case l.node.def == 0:
		return s, body, nil
	}
	bits, rest, err := cutLevels(body)
	if err != nil {
		return s, nil, err
	}
	l.validity.grow(bytesOf(l.slots+p.Values)+wordBytes, bytesOf(s.more))
	if err := (&runs{b: bits, width: 1}).bits(l.validity.b, l.slots, p.Values); err != nil {
		return s, nil, err
	}
	s.valid = bitutil.CountSetBits(l.validity.b, l.slots, p.Values)
	if s.valid < s.n {
		s.validity = l.validity.b
	}
	return s, rest, nil
}
