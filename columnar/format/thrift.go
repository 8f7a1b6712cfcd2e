package format

import (
	"encoding/binary"
)

// compact walks Thrift's compact protocol (thrift-compact-protocol.md) without building anything. arrow-go's decoder trusts the
// length of a list and allocates for it; what walked through here holds at least a byte for each element that it declares.
type compact struct {
	b    []byte
	i    int
	bad  bool
	cost int64 // bytes that arrow-go's decoder takes for what was walked through, about
}

// What a decoded struct and an element of a list take beside what is in them. The structs of a footer have 100 to 260 bytes; those from
// smallDepth on are counts of pages.
const (
	structCost  = 170
	smallCost   = 32
	smallDepth  = 6
	elementCost = 16
)

const maxThriftDepth = 32

func (c *compact) byte() byte {
	if c.bad || c.i >= len(c.b) {
		c.bad = true
		return 0
	}
	c.i++
	return c.b[c.i-1]
}

func (c *compact) varint() uint64 {
	if c.bad {
		return 0
	}
	v, n := binary.Uvarint(c.b[c.i:])
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.i += n
	return v
}

// zigzag reads a signed number.
func (c *compact) zigzag() int64 {
	v := c.varint()
	return int64(v>>1) ^ -int64(v&1)
}

func (c *compact) skip(n uint64) {
	if c.bad || n > uint64(len(c.b)-c.i) {
		c.bad = true
		return
	}
	c.i += int(n)
}

// Types of the compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// fields walks a struct and calls field for each of its fields, which consumes the value.
func (c *compact) fields(field func(id int, kind byte)) {
	id := 0
	for !c.bad {
		head := c.byte()
		if head == 0 {
			return
		}
		if delta := int(head >> 4); delta > 0 {
			id += delta
		} else {
			id = int(int16(c.zigzag()))
		}
		field(id, head&15)
	}
}

// value consumes a value of a kind. In a list a boolean takes a byte; as a field it is in the head.
func (c *compact) value(kind byte, depth int, inList bool) {
	if depth > maxThriftDepth {
		c.bad = true
	}
	if c.bad {
		return
	}
	switch kind {
	case thriftTrue, thriftFalse:
		if inList {
			c.byte()
		}
	case thriftByte:
		c.byte()
	case thriftI16, thriftI32, thriftI64:
		c.varint()
	case thriftDouble:
		c.skip(8)
	case thriftBinary:
		n := c.varint()
		if c.skip(n); !c.bad {
			c.cost += int64(n)
		}
	case thriftList, thriftSet:
		c.list(depth)
	case thriftMap:
		c.mapping(depth)
	case thriftStruct:
		if c.cost += structCost; depth >= smallDepth {
			c.cost += smallCost - structCost
		}
		c.fields(func(_ int, kind byte) { c.value(kind, depth+1, false) })
	default:
		c.bad = true
	}
}

func (c *compact) list(depth int) {
	head := c.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = c.varint()
	}
	if n > uint64(len(c.b)-c.i) {
		c.bad = true
	}
	for ; n > 0 && !c.bad; n-- {
		c.cost += elementCost
		c.value(head&15, depth+1, true)
	}
}

func (c *compact) mapping(depth int) {
	n := c.varint()
	if n == 0 {
		return
	}
	kinds := c.byte()
	for ; n > 0 && !c.bad; n-- {
		c.value(kinds>>4, depth+1, true)
		c.value(kinds&15, depth+1, true)
	}
}
