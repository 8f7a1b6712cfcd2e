package chunk

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar/pme"
)

// levels are those of each entry of a nested leaf. rep is nil if no list is above the leaf.
type levels struct {
	def, rep []uint8
	taken    int64
}

func (d *decoder) newLevels(n *layoutNode, entries int) *levels {
	l := &d.levels[n.leaf]
	each := 1
	if n.slotRep > 0 {
		each++
	}
	d.mem.Take(int64(each * entries))
	l.taken = int64(each * entries)
	b := make([]uint8, each*entries)
	l.def = b[:0:entries]
	if n.slotRep > 0 {
		l.rep = b[entries:entries]
	}
	return l
}

// drop lets the levels of leaves go.
func (d *decoder) drop(first, end int) {
	for i := first; i < end; i++ {
		d.mem.Give(d.levels[i].taken)
		d.levels[i] = levels{}
	}
}

// nestedSlots is slotsOf for a nested leaf.
func (l *leafDecoder) nestedSlots(p pme.Page, body []byte) (s slotRange, rest []byte, err error) {
	if l.levels.rep != nil {
		if l.levels.rep, body, err = readLevels(l.levels.rep, body, p.Values, l.node.slotRep); err != nil {
			return s, nil, err
		}
		if len(l.levels.rep) > 0 && l.levels.rep[0] != 0 {
			return s, nil, errLevels
		}
	}
	before := len(l.levels.def)
	if l.node.def > 0 {
		if l.levels.def, body, err = readLevels(l.levels.def, body, p.Values, l.node.def); err != nil {
			return s, nil, err
		}
	} else {
		l.levels.def = l.levels.def[:before+p.Values]
	}
	return l.spacedSlots(l.levels.def[before:], body)
}

var errLevels = damaged("levels that make no rows")

// readLevels appends the n levels at the start of body to out and returns what lies behind them.
func readLevels(out []uint8, body []byte, n int, highest uint8) ([]uint8, []byte, error) {
	b, rest, err := cutLevels(body)
	if err != nil {
		return out, nil, err
	}
	added := out[len(out) : len(out)+n]
	if err := readRuns(&runs{b: b, width: levelWidth(highest)}, added); err != nil {
		return out, nil, err
	}
	if highest&(highest+1) != 0 { // else no level is higher
		for _, l := range added {
			if l > highest {
				return out, nil, errLevels
			}
		}
	}
	return out[:len(out)+n], rest, nil
}

// spacedSlots finds the slots of entries with these definition levels.
func (l *leafDecoder) spacedSlots(def []uint8, rest []byte) (slotRange, []byte, error) {
	s := slotRange{at: l.slots}
	for _, d := range def {
		s.n += count(d >= l.node.slotDef)
		s.valid += count(d == l.node.def)
	}
	s.more = l.ahead(s.at + s.n)
	l.validity.grow(bytesOf(s.at+s.n), bytesOf(s.more))
	if s.valid == s.n {
		bitutil.SetBitsTo(l.validity.b, int64(s.at), int64(s.n), true)
		return s, rest, nil
	}
	setBits(l.validity.b, s.at, def, l.node.slotDef, l.node.def)
	s.validity = l.validity.b
	return s, rest, nil
}

// aheadBytes bounds the room for slots that may never come.
const aheadBytes = 4 << 20

// ahead returns for how many more slots there should be room: as many as those so far promise, by entries and by bytes. Later pages may be
// null lists only, and all leaves have one budget.
func (l *leafDecoder) ahead(slots int) int {
	left := l.sum.entries - l.entries
	promised := func(left, past int) int { return int(int64(left) * int64(slots) / int64(max(past, 1)) * 17 / 16) }
	width := 1
	if t, ok := l.node.typ.(arrow.FixedWidthDataType); ok {
		width = max(t.BitWidth()/8, 1)
	}
	return min(left, promised(left, l.entries), promised(l.sum.raw, l.raw), max(slots, aheadBytes/width))
}

// setBits has a bit in a bitmap, which is zero from bit at on, for each level of at least slot, and sets it if it is at least valid.
func setBits(bitmap []byte, at int, def []uint8, slot, valid uint8) {
	for _, d := range def {
		if d < slot {
			continue
		}
		bitmap[at>>3] |= byte(count(d >= valid)) << (at & 7)
		at++
	}
}

// array decodes a node and all below it. The levels of its first leaf stay.
func (d *decoder) array(n *layoutNode) (arrow.ArrayData, error) {
	if len(n.children) == 0 {
		return d.leaf(n)
	}
	children := make([]arrow.ArrayData, 0, len(n.children))
	defer func() {
		for _, c := range children {
			c.Release()
		}
	}()
	for _, c := range n.children {
		data, err := d.array(c)
		if err != nil {
			return nil, err
		}
		children = append(children, data)
		if c.leaf > n.leaf {
			d.drop(c.leaf, c.leaf+1)
		}
	}
	if n.typ.ID() == arrow.STRUCT {
		return d.structs(n, children)
	}
	return d.lists(n, children[0])
}

func (d *decoder) structs(n *layoutNode, children []arrow.ArrayData) (arrow.ArrayData, error) {
	l := d.levels[n.leaf]
	validity := growing{mem: d.mem}
	validity.grow(bytesOf(children[0].Len()+1), 0)
	slots, nulls := 0, 0
	for i, def := range l.def {
		if def < n.slotDef || l.rep != nil && l.rep[i] > n.slotRep {
			continue
		}
		if slots == children[0].Len() {
			return nil, errLevels
		}
		valid := count(def >= n.def)
		validity.b[slots>>3] |= byte(valid) << (slots & 7)
		nulls += 1 - valid
		slots++
	}
	for _, c := range children {
		if c.Len() != slots {
			return nil, errLevels
		}
	}
	return finish(n.typ, slots, nulls, &validity, nil, children), nil
}

// lists makes the lists of elements.
func (d *decoder) lists(n *layoutNode, elements arrow.ArrayData) (arrow.ArrayData, error) {
	l := d.levels[n.leaf]
	inner, total, nulls := n.slotRep+1, 0, 0 // an entry of a repetition level of inner is another element
	for i, def := range l.def {
		begins := count(def >= n.slotDef) & count(l.rep[i] < inner)
		total += begins
		nulls += begins & count(def < n.def)
	}
	validity, offsets := growing{mem: d.mem}, growing{mem: d.mem}
	offsets.grow((total+1)*offsetBytes, 0)
	ends := arrow.Int32Traits.CastFromBytes(offsets.b)[1:]
	slot, end := -1, int32(0)
	had, wrong := 0, 0 // whether the entry before had an element of a list here; whether one went on with a list that had none, or had none to go on with
	for i, def := range l.def {
		rep := l.rep[i]
		if rep > inner { // within a list in this one
			continue
		}
		goesOn, has := count(rep == inner), count(def > n.def)
		wrong |= goesOn & (1 - had&has)
		had = has
		if def < n.slotDef { // no list here
			continue
		}
		slot += 1 - goesOn
		end += int32(has)
		if uint(slot) >= uint(len(ends)) {
			return nil, errLevels
		}
		ends[slot] = end
	}
	if nulls > 0 {
		validity.grow(bytesOf(total), 0)
		l.begins(validity.b, n)
	}
	if wrong != 0 || elements.Len() != int(end) {
		return nil, errLevels
	}
	return finish(n.typ, total, nulls, &validity, offsets.buffer((total+1)*offsetBytes), []arrow.ArrayData{elements}), nil
}

// begins sets a bit for each list of a node that is not null.
func (l *levels) begins(bitmap []byte, n *layoutNode) {
	slot := 0
	for i, def := range l.def {
		if def < n.slotDef || l.rep[i] > n.slotRep {
			continue
		}
		bitmap[slot>>3] |= byte(count(def >= n.def)) << (slot & 7)
		slot++
	}
}

// finish puts the data of a nested array together.
func finish(t arrow.DataType, n, nulls int, validity *growing, offsets *memory.Buffer, children []arrow.ArrayData) arrow.ArrayData {
	buffers := []*memory.Buffer{nil}
	if nulls > 0 {
		buffers[0] = validity.buffer(bytesOf(n))
		defer buffers[0].Release()
	} else {
		validity.release()
	}
	if offsets != nil {
		buffers = append(buffers, offsets)
		defer offsets.Release()
	}
	return array.NewData(t, n, buffers, children, nulls, 0)
}
