package chunk

import (
	"encoding/binary"
	"math/bits"
)

// span is a run of elements of an array, half open.
type span struct{ from, to int32 }

// appendValid appends the runs of valid elements among [from, to).
func (n *node) appendValid(spans []span, from, to int) []span {
	if n.valid == nil {
		return append(spans, span{int32(from), int32(to)})
	}
	start := -1
	for i := from; i < to; {
		w, size := bitsFrom(n.valid, n.shift+i, to-i)
		if start < 0 {
			zeros := min(bits.TrailingZeros64(w), size)
			i += zeros
			if zeros < size {
				start = i
			}
			continue
		}
		ones := min(bits.TrailingZeros64(^w), size)
		i += ones
		if ones < size {
			spans = append(spans, span{int32(start), int32(i)})
			start = -1
		}
	}
	if start >= 0 {
		spans = append(spans, span{int32(start), int32(to)})
	}
	return spans
}

// bitsFrom returns up to 57 bits of a bitmap from bit at on, and how many they are: at most n.
func bitsFrom(b []byte, at, n int) (uint64, int) {
	at, shift := at/8, at%8
	var w uint64
	if at+8 <= len(b) {
		w = binary.LittleEndian.Uint64(b[at:])
	} else {
		for i, c := range b[at:] {
			w |= uint64(c) << (8 * i)
		}
	}
	return w >> shift, min(n, 57)
}

// slots are what levels are of: the elements of an array on the way to the leaf, and what has none there.
type slots struct {
	rep, def []byte
	at       []int32 // element of the array; -1: null or an empty list, here or above
}

func (s *slots) reset() { s.rep, s.def, s.at = s.rep[:0], s.def[:0], s.at[:0] }

func (s *slots) add(rep, def byte, at int32) {
	s.rep, s.def, s.at = append(s.rep, rep), append(s.def, def), append(s.at, at)
}

// addNested adds rows of a nested column: their levels, and the runs of leaf elements that they have.
func (l *leaf) addNested(s *scratch, nodes []node, from, to int) {
	s.slots.reset()
	for i := from; i < to; i++ {
		s.slots.add(0, 0, int32(i))
	}
	depth := byte(0)
	for i := range l.path {
		n := &nodes[i]
		if n.step.nullable {
			s.slots.mask(n)
		}
		if n.step.list {
			depth++
			s.outer, s.slots = s.slots, s.outer
			s.slots.expand(&s.outer, n.offsets, depth)
		}
	}
	if l.nullable {
		s.slots.mask(&nodes[len(nodes)-1])
	}
	s.spans = s.spans[:0]
	if l.form != formNull {
		s.spans = s.slots.appendSpans(s.spans)
	}
	p := &s.page
	p.rep, p.def = append(p.rep, s.slots.rep...), append(p.def, s.slots.def...)
	p.slots += len(s.slots.def)
}

// mask raises the definition level of the elements that are there, and takes the others out.
func (s *slots) mask(n *node) {
	all := n.valid == nil
	if n.arr.NullN() == n.arr.Len() && n.valid == nil && n.arr.Len() > 0 { // the null type has no bitmap
		for i := range s.at {
			s.at[i] = -1
		}
		return
	}
	for i, at := range s.at {
		switch {
		case at < 0:
		case all || n.isValid(int(at)):
			s.def[i]++
		default:
			s.at[i] = -1
		}
	}
}

// expand makes s the elements of the lists that outer has.
func (s *slots) expand(outer *slots, offsets []int32, depth byte) {
	s.reset()
	for i, at := range outer.at {
		rep, def := outer.rep[i], outer.def[i]
		if at < 0 || offsets[at] == offsets[at+1] {
			s.add(rep, def, -1)
			continue
		}
		for e := offsets[at]; e < offsets[at+1]; e++ {
			s.add(rep, def+1, e)
			rep = depth
		}
	}
}

// appendSpans appends the runs of elements.
func (s *slots) appendSpans(spans []span) []span {
	for _, at := range s.at {
		switch last := len(spans) - 1; {
		case at < 0:
		case last >= 0 && spans[last].to == at:
			spans[last].to++
		default:
			spans = append(spans, span{at, at + 1})
		}
	}
	return spans
}
