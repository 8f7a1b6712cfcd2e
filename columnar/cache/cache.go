package cache

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

const (
	// MaxEntries bounds the files, and with them the memory.
	MaxEntries = 200_000

	// DefaultMinFree is how many bytes the cache leaves free on the disk.
	DefaultMinFree = 512 << 20

	// maxFile is how many bytes a file has at most: a longer fetch becomes several.
	maxFile = 16 << 20

	// joinGap is how many cached bytes between two holes are fetched again with them, at most: a request costs more.
	joinGap = 1 << 20

	// shrinkShare is the share, as a divisor, that the cache gives back when a disk is full that seemed not to be.
	shrinkShare = 8
)

// Options of a Cache.
type Options struct {
	Limit   int64  // bytes on disk; at least MinLimit
	MinFree uint64 // bytes to leave free; 0: DefaultMinFree
	Files   Files  // nil: the real file system
}

// MinLimit is the smallest limit.
const MinLimit = 1 << 20

// Stats says what a Cache has and did.
type Stats struct {
	Used, Limit  int64 // bytes on disk
	Ranges       int   // files
	Hit, Fetched int64 // bytes read since it was opened: from the disk; from the store
}

// Cache is a folder of fetched ranges. All methods may be called at the same time.
type Cache struct {
	root    *os.Root
	lock    *os.File
	files   Files
	limit   int64
	minFree uint64
	maxFile int64
	joinGap int64

	hit, fetched atomic.Int64

	mu       sync.Mutex
	index    *index
	flights  map[columnar.ObjectName][]*flight
	reserved int64 // bytes of files that are being written
	writing  int   // how many those are
}

// Open opens the folder path, makes it if it is not there, and removes what a process that died left unfinished. fault.Conflict if another
// process has it open, fault.Policy if it is open to others, belongs to somebody else or is a link. Close ends its use.
func Open(path string, o Options) (*Cache, error) {
	if o.Limit < MinLimit {
		panic("cache: no limit")
	}
	if o.Files == nil {
		o.Files = system{}
	}
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	c := &Cache{
		files: o.Files, limit: o.Limit, minFree: o.MinFree, maxFile: maxFile, joinGap: joinGap,
		index: newIndex(), flights: map[columnar.ObjectName][]*flight{},
	}
	if err := c.open(path); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cache) open(path string) (err error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the folder of the cache cannot be made")
	}
	if err := checkFolder(path); err != nil {
		return err
	}
	if c.root, err = os.OpenRoot(path); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the folder of the cache cannot be opened")
	}
	if c.lock, err = c.root.OpenFile("lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the cache cannot be locked")
	}
	if err := unix.Flock(int(c.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fault.Wrap(fault.Conflict, err, "another process uses this cache")
	}
	return c.load()
}

// checkFolder refuses a folder that is not this user's alone.
func checkFolder(path string) error {
	info, err := os.Lstat(filepath.Clean(path))
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the folder of the cache cannot be read")
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return fault.New(fault.Policy, "the folder of the cache is not one of this user alone, mode 0700")
	}
	return nil
}

// Close ends the use of the folder. Readers that are open go on without it.
func (c *Cache) Close() error {
	var errs []error
	if c.root != nil {
		errs = append(errs, c.root.Close())
	}
	if c.lock != nil {
		errs = append(errs, c.lock.Close())
	}
	return errors.Join(errs...)
}

// Stats returns the present figures.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Used: c.index.used + c.reserved, Limit: c.limit, Ranges: c.index.count, Hit: c.hit.Load(), Fetched: c.fetched.Load()}
}

// Clear removes everything that is not being written. It reports the first file that could not be removed.
func (c *Cache) Clear() error {
	c.mu.Lock()
	old := c.index.evict(func() bool { return true })
	c.mu.Unlock()
	return c.remove(old)
}

// Drop removes what there is of an object.
func (c *Cache) Drop(name columnar.ObjectName) {
	c.forget(fileRange{name, 0, 1<<63 - 1})
}

// forget removes the files that have bytes of a range.
func (c *Cache) forget(r fileRange) {
	var old []fileRange
	c.mu.Lock()
	for _, e := range c.index.within(r) {
		c.index.remove(e)
		old = append(old, e.where())
	}
	c.mu.Unlock()
	_ = c.remove(old) // nobody finds them any more; the next start does
}

// drop removes an entry whose file turned out to be none.
func (c *Cache) drop(e *entry) {
	c.mu.Lock()
	there := c.index.remove(e)
	c.mu.Unlock()
	if there {
		_ = c.remove([]fileRange{e.where()}) // as forget
	}
}

// remove takes files away whose entries are gone. If another reader has just written one of them anew, its entry has no file, which reading
// finds.
func (c *Cache) remove(list []fileRange) error {
	var first error
	for _, r := range list {
		if err := c.files.Remove(c.root, r.path()); err != nil && !errors.Is(err, os.ErrNotExist) && first == nil {
			first = fault.Wrap(fault.Unavailable, err, "a file of the cache cannot be removed")
		}
	}
	return first
}

// reserve makes room for a file of n bytes, at the cost of others, and reports whether there is.
func (c *Cache) reserve(n int64) bool {
	n = cost(n)
	if n > c.limit || !c.spare(n) {
		return false
	}
	c.mu.Lock()
	full := func() bool { return c.index.used+c.reserved+n > c.limit || c.index.count+c.writing >= MaxEntries }
	old := c.index.evict(full)
	ok := !full()
	if ok {
		c.reserved += n
		c.writing++
	}
	c.mu.Unlock()
	_ = c.remove(old)
	return ok
}

// release ends a reservation.
func (c *Cache) release(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserved -= cost(n)
	c.writing--
}

// spare reports whether n bytes more leave enough free on the disk. If not, the cache gives back what lacks.
func (c *Cache) spare(n int64) bool {
	lack := func() int64 {
		free, err := c.files.Free(c.root)
		if err != nil {
			return -1
		}
		if want := c.minFree + uint64(n); free < want { //nolint:gosec // n is not negative
			return int64(min(want-free, 1<<62)) //nolint:gosec // bounded
		}
		return 0
	}
	missing := lack()
	if missing <= 0 {
		return missing == 0
	}
	c.mu.Lock()
	goal := c.index.used - missing
	old := c.index.evict(func() bool { return c.index.used > goal })
	c.mu.Unlock()
	_ = c.remove(old)
	return len(old) > 0 && lack() == 0
}

// shrink gives a part of the cache back.
func (c *Cache) shrink() {
	c.mu.Lock()
	goal := c.index.used - c.index.used/shrinkShare
	old := c.index.evict(func() bool { return c.index.used > goal })
	c.mu.Unlock()
	_ = c.remove(old)
}

// add takes a file in that is in its place, for which room was reserved.
func (c *Cache) add(r fileRange) {
	c.mu.Lock()
	c.reserved -= cost(r.n)
	c.writing--
	useless := c.index.add(r)
	c.mu.Unlock()
	_ = c.remove(useless)
}

// opened opens the file of an entry and notes its use; if it is not what it should be, the entry goes.
func (c *Cache) opened(e *entry) (*local, bool) {
	path := e.where().path()
	at, closer, err := c.files.Open(c.root, path, e.n)
	if err != nil {
		c.drop(e)
		return nil, false
	}
	_ = c.files.Touch(c.root, path, time.Now()) // the order of the next start
	return &local{c: c, e: e, file: at, closer: closer}, true
}
