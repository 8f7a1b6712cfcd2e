package cache

import (
	"slices"

	"coldframe/columnar"
)

// blockSize is what files are counted in.
const blockSize = 4096

// entry is a file of the cache, in the list of use.
type entry struct {
	object     *object
	off, n     int64
	prev, next *entry
}

func (e *entry) end() int64       { return e.off + e.n }
func (e *entry) cost() int64      { return cost(e.n) }
func (e *entry) where() fileRange { return fileRange{e.object.name, e.off, e.n} }

// cost is what a file of n bytes takes.
func cost(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }

func startOf(e *entry, at int64) int {
	switch {
	case e.off < at:
		return -1
	case e.off > at:
		return 1
	}
	return 0
}

// object has the entries of one object. None lies within another, so their ends rise like their beginnings.
type object struct {
	name    columnar.ObjectName
	entries []*entry
}

// covering returns an entry that has the byte at, or nil.
func (o *object) covering(at int64) *entry {
	if o == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(o.entries, at, startOf)
	if found {
		return o.entries[i]
	}
	if i > 0 && o.entries[i-1].end() > at {
		return o.entries[i-1]
	}
	return nil
}

// hole returns how far to fetch from at, which no entry has: to what an entry has, or beyond if those are at most gap bytes, and at most
// to end.
func (o *object) hole(at, end, gap int64) int64 {
	if o == nil {
		return end
	}
	i, _ := slices.BinarySearchFunc(o.entries, at, startOf)
	for i < len(o.entries) && o.entries[i].off < end {
		from, to := o.entries[i].off, o.entries[i].end()
		for i++; i < len(o.entries) && o.entries[i].off <= to; i++ {
			to = o.entries[i].end()
		}
		if to >= end || to-from > gap {
			return from
		}
	}
	return end
}

// index knows all entries, in the order of their use.
type index struct {
	objects map[columnar.ObjectName]*object
	use     entry // the ends of the list: next is the one used last, prev the one that goes first
	count   int
	used    int64 // bytes on disk
}

func newIndex() *index {
	x := &index{objects: map[columnar.ObjectName]*object{}}
	x.use.next, x.use.prev = &x.use, &x.use
	return x
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

// touch makes e the one used last.
func (x *index) touch(e *entry) {
	if e.prev != nil {
		e.unlink()
	}
	e.prev, e.next = &x.use, x.use.next
	e.prev.next, e.next.prev = e, e
}

// add takes a file in and returns those that are not needed any more: others that lie within it, or itself.
func (x *index) add(r fileRange) (useless []fileRange) {
	o := x.objects[r.name]
	if e := o.covering(r.off); e != nil && e.end() >= r.end() {
		x.touch(e)
		if e.off == r.off && e.n == r.n { // it took the place of that file
			return nil
		}
		return []fileRange{r}
	}
	if o == nil {
		o = &object{name: r.name}
		x.objects[r.name] = o
	}
	for _, e := range x.within(r) {
		if e.off >= r.off && e.end() <= r.end() {
			x.remove(e)
			useless = append(useless, e.where())
		}
	}
	x.objects[r.name] = o // removing the last one took it away
	e := &entry{object: o, off: r.off, n: r.n}
	i, _ := slices.BinarySearchFunc(o.entries, e.off, startOf)
	o.entries = slices.Insert(o.entries, i, e)
	x.touch(e)
	x.count++
	x.used += e.cost()
	return useless
}

// within returns the entries that share a byte with a range.
func (x *index) within(r fileRange) []*entry {
	o := x.objects[r.name]
	if o == nil {
		return nil
	}
	from, _ := slices.BinarySearchFunc(o.entries, r.off, func(e *entry, at int64) int {
		if e.end() > at {
			return 1
		}
		return -1
	})
	to, _ := slices.BinarySearchFunc(o.entries, r.end(), startOf)
	return slices.Clone(o.entries[from:max(from, to)])
}

// remove takes an entry out, and reports whether it was there.
func (x *index) remove(e *entry) bool {
	o := e.object
	i, found := slices.BinarySearchFunc(o.entries, e.off, startOf)
	if !found || o.entries[i] != e {
		return false
	}
	o.entries = slices.Delete(o.entries, i, i+1)
	e.unlink()
	x.count--
	x.used -= e.cost()
	if len(o.entries) == 0 {
		delete(x.objects, o.name)
	}
	return true
}

// evict takes out the least recently used entries while more says so.
func (x *index) evict(more func() bool) (out []fileRange) {
	for x.count > 0 && more() {
		e := x.use.prev
		x.remove(e)
		out = append(out, e.where())
	}
	return out
}
