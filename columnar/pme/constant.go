package pme

import "encoding/binary"

// Numbers of parquet.thrift.
const (
	repetitionOptional, repetitionRepeated = 1, 2

	physicalBoolean, physicalInt32, physicalInt64, physicalFloat, physicalDouble, physicalBytes = 0, 1, 2, 4, 5, 6

	cmEncodingStats = 13
)

// maxConstant bounds a value of fixed length that a constant chunk repeats.
const maxConstant = 1 << 10

// Constant returns plain, uncompressed pages that stand in for the chunk of a leaf whose rows nobody wants, in at most room bytes. They have as
// many rows as the row group, all alike, in agreement with its statistics: null (of a list: absent or empty) where they allow one, and
// else the least value that they name, or zero if they name none. Not every chunk has such a stand-in.
func (f *File) Constant(rowGroupOrdinal, leaf int, room int64) (pages []byte, p Place, ok bool) {
	l, g := f.meta.schema.levels(leaf), f.groups[rowGroupOrdinal]
	c := constantChunk{leaf: l, rows: g.rows}
	s := f.Statistics(rowGroupOrdinal, leaf)
	if f.leaves[leaf].hidden || g.rows <= 0 || g.rows > MaxChunkValues {
		return nil, p, false
	}
	if l.definition == 0 || l.flat && s.Nulls == 0 {
		if c.value, ok = l.plain(s.Min); !ok {
			return nil, p, false
		}
	}
	data := c.dictionary()
	c.data()
	p = Place{Data: int64(data), Size: int64(len(c.e.b)), Constant: true}
	return c.e.b, p, p.Size <= room
}

// leafLevels is what the pages of a leaf depend on.
type leafLevels struct {
	definition, repetition int // greatest levels
	flat                   bool
	physical, length       int64
}

// levels returns those of a leaf.
func (t *schemaTree) levels(leaf int) leafLevels {
	column := t.columns[t.leaves[leaf].Column]
	at, next := column.elements[0], column.leaves[0]
	var found leafLevels
	var walk func(l leafLevels)
	walk = func(l leafLevels) {
		e := t.elements[at]
		at++
		repetition := int64(0)
		_ = fields(e.raw, func(f field) (err error) { // parsed before
			switch f.id {
			case 2:
				l.length, err = f.integer(tI32)
			case 3:
				repetition, err = f.integer(tI32)
			}
			return err
		})
		switch repetition {
		case repetitionOptional:
			l.definition++
		case repetitionRepeated:
			l.definition++
			l.repetition++
		}
		if e.children == 0 {
			if l.physical = e.physical; next == leaf {
				found = l
			}
			next++
			return
		}
		l.flat = false
		for range e.children {
			walk(l)
		}
	}
	walk(leafLevels{flat: true})
	found.flat = found.flat && found.repetition == 0
	return found
}

// plain returns a value in the plain encoding, zero if there is none; not ok if that is none of this type.
func (l leafLevels) plain(value []byte) (out []byte, ok bool) {
	size := int64(0)
	switch l.physical {
	case physicalBoolean:
		size = 1
	case physicalInt32, physicalFloat:
		size = 4
	case physicalInt64, physicalDouble:
		size = 8
	case physicalFixed:
		size = l.length
	case physicalBytes:
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(value))), value...), true
	}
	if value == nil && size <= maxConstant {
		value = make([]byte, size)
	}
	return value, size > 0 && int64(len(value)) == size
}

// constantChunk writes the pages.
type constantChunk struct {
	leaf  leafLevels
	rows  int64
	value []byte // nil: null
	e     encoder
}

// inDictionary reports whether the value is in a dictionary, as all but booleans can be.
func (c *constantChunk) inDictionary() bool {
	return c.value != nil && c.leaf.physical != physicalBoolean
}

// dictionary writes a dictionary of the one value, and returns its length with the header.
func (c *constantChunk) dictionary() int {
	if !c.inDictionary() {
		return 0
	}
	c.header(pageDict, len(c.value))
	c.e.begin(phDict)
	c.e.integer(1, tI32, 1)
	c.e.integer(2, tI32, encodingPlain)
	c.e.end()
	c.e.end()
	c.e.b = append(c.e.b, c.value...)
	return len(c.e.b)
}

func (c *constantChunk) header(kind int64, size int) {
	c.e.last = 0
	c.e.integer(phType, tI32, kind)
	c.e.integer(phRaw, tI32, int64(size))
	c.e.integer(phSize, tI32, int64(size))
}

// data writes one data page, of version 2, whose levels stand before its values and have a length of their own.
func (c *constantChunk) data() {
	var repetition, definition, values []byte
	nulls, encoding := c.rows, int64(encodingPlain)
	if c.leaf.repetition > 0 {
		repetition = c.run(0)
	}
	if c.leaf.definition > 0 && c.value == nil {
		definition = c.run(0)
	}
	if c.value != nil {
		nulls = 0
		if c.leaf.definition > 0 {
			definition = c.run(1) // of a flat column, which has no higher level
		}
		encoding, values = encodingDict, append([]byte{1}, c.run(0)...)
		if !c.inDictionary() {
			run := c.run(c.value[0] & 1)
			encoding, values = encodingRLE, append(binary.LittleEndian.AppendUint32(nil, uint32(len(run))), run...)
		}
	}
	c.header(pageDataV2, len(repetition)+len(definition)+len(values))
	c.e.begin(phDataV2)
	for i, n := range []int64{c.rows, nulls, c.rows, encoding, int64(len(definition)), int64(len(repetition))} {
		c.e.integer(int16(i+1), tI32, n)
	}
	c.e.boolean(7, false) // not compressed
	c.e.end()
	c.e.end()
	c.e.b = append(append(append(c.e.b, repetition...), definition...), values...)
}

// run is all rows at one value of less than 8 bits.
func (c *constantChunk) run(value byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(c.rows)<<1), value)
}

// constant returns the ColumnMetaData of a chunk in whose place constant pages stand.
func (m *chunkMeta) constant(rows int64) chunkMeta {
	var e encoder
	_ = fields(m.raw, func(f field) error {
		switch f.id {
		case cmCodec:
			e.integer(f.id, tI32, CodecNone)
		case cmValues:
			e.integer(f.id, tI64, rows)
		case cmEncodingStats:
		default:
			e.field(f)
		}
		return nil
	})
	e.end()
	out := *m
	out.raw = e.b
	return out
}
