package cache

import (
	"fmt"

	"coldframe/columnar"
)

// System is the real file system.
var System Files = system{}

// SetBounds makes files and gaps small.
func SetBounds(c *Cache, file, gap int64) { c.maxFile, c.joinGap = file, gap }

// CheckIndex compares what the index says of itself with what is in it.
func CheckIndex(c *Cache) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.index
	inUse, sum := 0, int64(0)
	for e := x.use.next; e != &x.use; e = e.next {
		inUse++
		if e.next.prev != e {
			return fmt.Errorf("the list is broken at %v", e.where())
		}
	}
	count := 0
	for name, o := range x.objects {
		if len(o.entries) == 0 || o.name != name {
			return fmt.Errorf("object %s has no entries, or another name", name)
		}
		for i, e := range o.entries {
			count++
			sum += e.cost()
			if i > 0 && (o.entries[i-1].off >= e.off || o.entries[i-1].end() >= e.end()) {
				return fmt.Errorf("%v lies within %v", e.where(), o.entries[i-1].where())
			}
		}
	}
	if count != x.count || inUse != count || sum != x.used {
		return fmt.Errorf("%d entries of %d bytes, %d in use, counted %d of %d", count, sum, inUse, x.count, x.used)
	}
	if c.writing == 0 && c.reserved != 0 || x.used+c.reserved > c.limit {
		return fmt.Errorf("%d files being written, %d bytes reserved, %d used of %d", c.writing, c.reserved, x.used, c.limit)
	}
	return nil
}

// Idle reports whether no fetch is under way.
func Idle(c *Cache) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.flights) == 0 && c.writing == 0 && c.reserved == 0
}

// Fill puts n entries of one byte into the index, without files.
func Fill(c *Cache, n int, name func() string) {
	for range n {
		c.index.add(fileRange{name: columnar.ObjectName(name()), n: 1})
	}
}

// FileName parses the name of a file and writes it again.
func FileName(s string) (string, bool) {
	r, ok := parseFileName(s)
	if !ok {
		return "", false
	}
	if r.off < 0 || r.n < 1 || r.end() < r.off {
		panic("a range that is none")
	}
	return r.fileName(), true
}
