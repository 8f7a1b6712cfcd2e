package cache

import (
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"coldframe/internal/fault"
)

// tempSuffix ends the name of a file that is not whole.
const tempSuffix = ".part"

// dirBatch is how many entries of a folder are held at a time.
const dirBatch = 1024

// found is a file at the start.
type found struct {
	r    fileRange
	time time.Time
}

// load finds the files of an earlier process, and takes away what is none of ours or too much.
func (c *Cache) load() error {
	var list []found
	err := c.entries(".", func(d fs.DirEntry) error {
		if !d.IsDir() || len(d.Name()) != 2 {
			return nil
		}
		return c.entries(d.Name(), func(f fs.DirEntry) error {
			if got, ok := c.inspect(d.Name(), f); ok && len(list) < MaxEntries {
				list = append(list, got)
			} else {
				_ = c.files.Remove(c.root, d.Name()+"/"+f.Name()) // unfinished, cut, or too many; a folder stays
			}
			return nil
		})
	})
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the cache cannot be read")
	}
	slices.SortFunc(list, func(a, b found) int { return a.time.Compare(b.time) })
	var useless []fileRange
	for _, f := range list {
		useless = append(useless, c.index.add(f.r)...)
	}
	useless = append(useless, c.index.evict(func() bool { return c.index.used > c.limit })...)
	_ = c.remove(useless)
	return nil
}

// inspect reports whether an entry of a folder is a file of a range, in its place and whole.
func (c *Cache) inspect(folder string, d fs.DirEntry) (found, bool) {
	r, ok := parseFileName(d.Name())
	if !ok || strings.HasSuffix(d.Name(), tempSuffix) || folderOf(r.name) != folder || !d.Type().IsRegular() {
		return found{}, false
	}
	info, err := d.Info()
	if err != nil || info.Size() != r.n {
		return found{}, false
	}
	return found{r, info.ModTime()}, true
}

// entries calls fn for each entry of a folder.
func (c *Cache) entries(folder string, fn func(fs.DirEntry) error) error {
	f, err := c.root.Open(folder)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	for {
		list, err := f.ReadDir(dirBatch)
		for _, d := range list {
			if err := fn(d); err != nil {
				return err
			}
		}
		if err == io.EOF { //nolint:errorlint // as os gives it
			return nil
		}
		if err != nil {
			return err
		}
	}
}
