package cache

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"coldframe/columnar"
)

// patience is how long a reader waits for bytes that another one fetches, while none come.
const patience = 500 * time.Millisecond

// flight is a fetch that is under way.
type flight struct {
	off, end int64
	moved    atomic.Int64
	once     sync.Once
	done     chan struct{}
}

// step is what a reader does next: read a file, wait for the fetch of another, or fetch.
type step struct {
	file  *entry
	other *flight
	own   *flight
}

// find says how to go on at a position of a range that ends at end. A reader that is alone waits for nobody.
func (c *Cache) find(name columnar.ObjectName, at, end int64, alone bool) step {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.index.objects[name]
	if e := o.covering(at); e != nil {
		c.index.touch(e)
		return step{file: e}
	}
	f := &flight{off: at, end: o.hole(at, end, c.joinGap), done: make(chan struct{})}
	for _, other := range c.flights[name] {
		switch {
		case alone:
		case other.off <= at && at < other.end:
			return step{other: other}
		case at < other.off:
			f.end = min(f.end, other.off)
		}
	}
	c.flights[name] = append(c.flights[name], f)
	return step{own: f}
}

// land ends the wait for a fetch: it brought all, or broke, or is not kept.
func (c *Cache) land(name columnar.ObjectName, f *flight) {
	f.once.Do(func() { c.landed(name, f) })
}

func (c *Cache) landed(name columnar.ObjectName, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := slices.DeleteFunc(c.flights[name], func(other *flight) bool { return other == f })
	if len(left) == 0 {
		delete(c.flights, name)
	} else {
		c.flights[name] = left
	}
	close(f.done)
}

// wait returns true once the fetch has ended, and false if it stands still: whoever began it may not read on for long.
func (f *flight) wait(ctx context.Context) (bool, error) {
	t := time.NewTicker(patience)
	defer t.Stop()
	for moved := int64(-1); ; {
		before := moved
		if moved = f.moved.Load(); moved == before {
			return false, nil
		}
		select {
		case <-f.done:
			return true, nil
		case <-ctx.Done():
			return false, stopped(ctx)
		case <-t.C:
		}
	}
}
