package chunk

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// byteStrings collects strings of any length: offsets and the bytes of all. Where they are indices into a dictionary, those stand in the
// place of the offsets until it is known how long all are together.
type byteStrings struct {
	*decoder
	offsets growing
	data    growing
	used    int // bytes of data, without slack

	dict        growing // the bytes of its values
	dictEntries growing // of each, where in dict and how long, in 32 bits each; behind them that of an empty one, for nulls
	entries     []uint64

	pending, slots int // slots from one to the other are still indices
	sum            int // bytes of their values
}

func newStrings(d *decoder) *byteStrings {
	out := growing{mem: d.mem}
	return &byteStrings{decoder: d, offsets: out, data: out, dict: out, dictEntries: out}
}

const offsetBytes = 4

func (v *byteStrings) release() {
	v.releaseDict()
	v.offsets.release()
	v.data.release()
}

func (v *byteStrings) releaseDict() {
	v.dict.release()
	v.dictEntries.release()
	v.entries = nil
}

func (v *byteStrings) buffers(n int) []*memory.Buffer {
	v.flush(0)
	v.releaseDict()
	v.offsets.grow((n+1)*offsetBytes, 0)
	return []*memory.Buffer{v.offsets.buffer((n + 1) * offsetBytes), v.data.buffer(v.used)}
}

func (v *byteStrings) dictionary(body []byte, n int) error {
	if n > len(body)/offsetBytes {
		return errShort
	}
	v.dict.grow(len(body)+slack, 0)
	copy(v.dict.b, body)
	v.dictEntries.grow(8*(n+1), 0)
	v.entries = arrow.Uint64Traits.CastFromBytes(v.dictEntries.b)
	at := 0
	for i := range n {
		size, ok := length(body, at)
		if !ok {
			return errShort
		}
		at += offsetBytes
		v.entries[i] = uint64(at)<<32 | uint64(size)
		at += size
	}
	return nil
}

// length returns the length of the value that lies behind it in b from at on, and whether it is there.
func length(b []byte, at int) (int, bool) {
	if len(b)-at < offsetBytes {
		return 0, false
	}
	n := binary.LittleEndian.Uint32(b[at:])
	return int(n), uint64(n) <= uint64(len(b)-at-offsetBytes)
}

func (v *byteStrings) page(encoding int64, body []byte, s slotRange) error {
	v.offsets.grow((s.at+s.n+1)*offsetBytes, s.more*offsetBytes)
	var err error
	switch encoding {
	case encodingDictionary, encodingPlainDict:
		err = v.indices(body, s)
	case encodingPlain:
		err = v.plain(body, s)
	case encodingDeltaLength:
		err = v.behindLengths(body, s)
	default:
		err = errEncoding(encoding)
	}
	v.slots = s.at + s.n
	return err
}

// indices puts indices into slots.
func (v *byteStrings) indices(body []byte, s slotRange) error {
	index := arrow.Uint32Traits.CastFromBytes(v.offsets.b)[s.at+1 : s.at+1+s.n]
	if s.valid > 0 {
		if v.entries == nil {
			return errIndex
		}
		r, err := indices(body)
		if err != nil {
			return err
		}
		if err := readRuns(&r, index[:s.valid]); err != nil {
			return err
		}
		n := uint32(len(v.entries) - 1)
		for _, x := range index[:s.valid] {
			if x >= n {
				return errIndex
			}
			v.sum += int(uint32(v.entries[x]))
		}
	}
	if s.validity != nil {
		spread(index, s, uint32(max(len(v.entries)-1, 0)))
	}
	return nil
}

// flush puts values in the place of their indices. There will be room for more bytes after them.
func (v *byteStrings) flush(more int) {
	if v.pending == v.slots {
		return
	}
	if v.entries == nil { // all are null
		v.entries = make([]uint64, 1)
	}
	v.data.grow(v.used+v.sum+slack, more)
	index := arrow.Uint32Traits.CastFromBytes(v.offsets.b)[v.pending+1 : v.slots+1]
	data, dict, at := v.data.b, v.dict.b, v.used
	for i, x := range index {
		e := v.entries[x]
		from, n := int(e>>32), int(uint32(e))
		copyValue(data[at:], dict[from:], n)
		at += n
		index[i] = uint32(at)
	}
	v.used, v.pending, v.sum = at, v.slots, 0
}

// plain puts values, each behind its length, into slots.
func (v *byteStrings) plain(body []byte, s slotRange) error {
	size := len(body) - offsetBytes*s.valid
	if size < 0 {
		return errShort
	}
	v.reserve(size, s)
	offsets := arrow.Uint32Traits.CastFromBytes(v.offsets.b)[s.at+1 : s.at+1+s.n]
	data, at, from := v.data.b, v.used, 0
	for i := range offsets {
		if s.validity == nil || s.has(i) {
			n, ok := length(body, from)
			if !ok {
				return errShort
			}
			from += offsetBytes
			copyValue(data[at:], body[from:], n)
			at += n
			from += n
		}
		offsets[i] = uint32(at)
	}
	v.used, v.pending = at, s.at+s.n
	return nil
}

// reserve makes room for size bytes in these slots, and for as many in later ones as there may be.
func (v *byteStrings) reserve(size int, s slotRange) {
	v.flush(size + s.moreRaw)
	more := min(s.moreRaw, (v.used+size)*s.more/max(s.at+s.n, 1)*17/16)
	v.data.grow(v.used+size+slack, more)
}

// behindLengths puts values, which stand without anything between them behind the lengths of all, into slots.
func (v *byteStrings) behindLengths(body []byte, s slotRange) error {
	v.reserve(len(body), s)
	offsets := arrow.Uint32Traits.CastFromBytes(v.offsets.b)[s.at+1 : s.at+1+s.n]
	if s.valid > 0 {
		var err error
		if body, err = unpackDeltas(offsets[:s.valid], body); err != nil {
			return err
		}
		sum := uint64(0)
		for _, n := range offsets[:s.valid] {
			sum += uint64(n)
		}
		if sum > uint64(len(body)) {
			return errShort
		}
		copy(v.data.b[v.used:], body[:sum])
	}
	if s.validity != nil {
		spread(offsets, s, 0)
	}
	for i, n := range offsets {
		v.used += int(n)
		offsets[i] = uint32(v.used)
	}
	v.pending = s.at + s.n
	return nil
}

// copyValue copies n bytes from src to dst. If they are few it takes more along, since then their number need not be looked at; dst has
// room for slack more.
func copyValue(dst, src []byte, n int) {
	const few = 16
	switch {
	case n <= few && len(src) >= few:
		*(*[few]byte)(dst) = *(*[few]byte)(src)
	case n <= slack && len(src) >= slack:
		to, from := dst[:slack], src[:slack]
		*(*[few]byte)(to) = *(*[few]byte)(from)
		*(*[few]byte)(to[few:]) = *(*[few]byte)(from[few:])
		*(*[few]byte)(to[2*few:]) = *(*[few]byte)(from[2*few:])
		*(*[few]byte)(to[3*few:]) = *(*[few]byte)(from[3*few:])
	default:
		copy(dst, src[:n])
	}
}
