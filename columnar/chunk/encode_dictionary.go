package chunk

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar/pme"
)

// maxDictionary bounds the dictionary of a column chunk in bytes. Beyond it the chunk gets none.
const maxDictionary = 512 << 10

// dictionary numbers the different values of a chunk.
type dictionary struct {
	values values
	starts []int32  // of values.bytes
	table  []uint32 // numbers from 1 on, found by hash
	size   int
	width  int // of values in values.bytes; 0: they differ
	form   form
}

const firstTable = 1 << 10

func (d *dictionary) reset(l *leaf) {
	d.values.reset()
	d.starts, d.size, d.form, d.width = append(d.starts[:0], 0), 0, l.form, l.width
	if cap(d.table) < firstTable {
		d.table = make([]uint32, firstTable)
	}
	d.table = d.table[:firstTable]
	clear(d.table)
}

// add appends the numbers of values to dst; false: they are too many.
func (d *dictionary) add(dst []uint32, v *values) ([]uint32, bool) {
	switch d.form {
	case form32:
		for _, x := range v.halves {
			n := find(d.table, mix(uint64(x)), d.values.halves, x)
			if *n == 0 {
				d.values.halves = append(d.values.halves, x)
				dst = append(dst, d.insert(n, 4))
				continue
			}
			dst = append(dst, *n-1)
		}
	case form64:
		for _, x := range v.words {
			n := find(d.table, mix(x), d.values.words, x)
			if *n == 0 {
				d.values.words = append(d.values.words, x)
				dst = append(dst, d.insert(n, 8))
				continue
			}
			dst = append(dst, *n-1)
		}
	default:
		return d.addSlices(dst, v)
	}
	return dst, d.size <= maxDictionary
}

func (d *dictionary) addSlices(dst []uint32, v *values) ([]uint32, bool) {
	rest, size := v.bytes, d.width
	for i := range v.n {
		if d.width == 0 {
			size = int(v.lengths[i])
		}
		x := rest[:size]
		rest = rest[size:]
		n := d.findSlice(hash(x), x)
		if *n > 0 {
			dst = append(dst, *n-1)
			continue
		}
		d.values.bytes = append(d.values.bytes, x...)
		d.values.lengths = append(d.values.lengths, int32(size))
		d.starts = append(d.starts, int32(len(d.values.bytes)))
		dst = append(dst, d.insert(n, size+4))
		if d.size > maxDictionary {
			return dst, false
		}
	}
	return dst, true
}

// find returns the place in the table of a value, which is 0 if it is new.
func find[T uint32 | uint64](table []uint32, hash uint64, values []T, x T) *uint32 {
	mask := uint64(len(table) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if n := table[i]; n == 0 || values[n-1] == x {
			return &table[i]
		}
	}
}

func (d *dictionary) findSlice(hash uint64, x []byte) *uint32 {
	mask := uint64(len(d.table) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if n := d.table[i]; n == 0 || string(d.at(n-1)) == string(x) {
			return &d.table[i]
		}
	}
}

func (d *dictionary) at(n uint32) []byte { return d.values.bytes[d.starts[n]:d.starts[n+1]] }

// insert puts the value that was appended last into its place, and returns its number.
func (d *dictionary) insert(place *uint32, size int) uint32 {
	n := uint32(d.values.n)
	d.values.n++
	d.size += size
	*place = n + 1
	if 2*d.values.n > len(d.table) {
		d.rehash()
	}
	return n
}

func (d *dictionary) rehash() {
	d.table = make([]uint32, 4*len(d.table))
	mask := uint64(len(d.table) - 1)
	for n := range uint32(d.values.n) {
		i := d.hash(n) & mask
		for d.table[i] > 0 {
			i = (i + 1) & mask
		}
		d.table[i] = n + 1
	}
}

// hash returns that of a value by its number.
func (d *dictionary) hash(n uint32) uint64 {
	switch d.form {
	case form32:
		return mix(uint64(d.values.halves[n]))
	case form64:
		return mix(d.values.words[n])
	}
	return hash(d.at(n))
}

var (
	seed   = maphash.MakeSeed()
	secret = maphash.String(seed, "mix") // nobody chooses values that meet in the table
)

func mix(x uint64) uint64 {
	high, low := bits.Mul64(x^secret, 0xe7037ed1a0b428db)
	return high ^ low
}

func hash(b []byte) uint64 {
	switch n := len(b); {
	case n > 16:
		return maphash.Bytes(seed, b)
	case n >= 8:
		return mix(mix(binary.LittleEndian.Uint64(b)) ^ binary.LittleEndian.Uint64(b[n-8:]) + uint64(n))
	case n >= 4:
		return mix(uint64(binary.LittleEndian.Uint32(b))<<32 | uint64(binary.LittleEndian.Uint32(b[n-4:])) + uint64(n))
	}
	x := uint64(len(b))
	for _, c := range b {
		x = x<<8 | uint64(c)
	}
	return mix(x)
}

// dictionaryPages are the pages of a chunk until its dictionary is complete.
type dictionaryPages struct {
	levels  []byte
	numbers []uint32
	pages   []dictionaryPage
}

// dictionaryPage is a page: its slots, and where its levels and numbers end.
type dictionaryPage struct{ slots, levels, numbers int }

// encodeDictionary seals the chunk of a leaf with a dictionary. false: it has too many values, and nothing was sealed.
func (l *leaf) encodeDictionary(to *pme.ColumnSealer, s *scratch, arrays []arrow.Array) (bool, error) {
	d, ps := &s.dictionary, &s.pages
	d.reset(l)
	ps.levels, ps.numbers, ps.pages = ps.levels[:0], ps.numbers[:0], ps.pages[:0]
	st := statistics{leaf: l}
	err := l.eachPage(s, arrays, func(p *page) error {
		var ok bool
		if ps.numbers, ok = d.add(ps.numbers, &p.values); !ok {
			return errTooMany
		}
		ps.levels = l.appendLevels(ps.levels, p)
		ps.pages = append(ps.pages, dictionaryPage{p.slots, len(ps.levels), len(ps.numbers)})
		st.nulls += int64(p.slots - p.values.n)
		return nil
	})
	if errors.Is(err, errTooMany) {
		return false, nil
	}
	if err == nil {
		if st.add(&d.values); st.nans > 0 {
			st.nans = -1 // how often they are there was not counted
		}
		err = l.sealDictionary(to, s, &st)
	}
	return true, err
}

var errTooMany = errors.New("chunk: too many values for a dictionary")

func (l *leaf) sealDictionary(to *pme.ColumnSealer, s *scratch, st *statistics) error {
	d, ps := &s.dictionary, &s.pages
	to.BeginChunk(l.chosen.codec)
	s.body = l.appendPlain(s.body[:0], &d.values)
	if err := s.seal(to, l.chosen, pme.Page{Dictionary: true, Encoding: encodingPlain, Values: d.values.n}, s.body); err != nil {
		return err
	}
	var before dictionaryPage
	for _, p := range ps.pages {
		s.body = append(s.body[:0], ps.levels[before.levels:p.levels]...)
		s.body = appendNumbers(s.body, ps.numbers[before.numbers:p.numbers], d.values.n)
		if err := s.seal(to, l.chosen, pme.Page{Encoding: encodingDictionary, Values: p.slots}, s.body); err != nil {
			return err
		}
		before = p
	}
	return to.EndChunk(l.info(st, encodingPlain, encodingDictionary))
}

// appendNumbers appends numbers of a dictionary of n values.
func appendNumbers(dst []byte, numbers []uint32, n int) []byte {
	width := max(bits.Len(uint(max(n-1, 0))), 1)
	return appendRuns(append(dst, byte(width)), numbers, width)
}
