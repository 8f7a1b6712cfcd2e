package kv

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const pageSize = 4096

var zeroPage [pageSize]byte

// memory is a file system without a disk, where there is one: thousands of stores are opened, and none needs to last.
const memory = "/dev/shm"

// file is a file as of one moment: its size, and its pages that are not zero.
type file struct {
	size  int64
	pages map[int64][]byte
}

func (f file) equal(g file) bool {
	return f.size == g.size && maps.EqualFunc(f.pages, g.pages, bytes.Equal)
}

// head returns the content up to the zeros at the end; only for files with little in them.
func (f file) head() []byte {
	b := []byte{}
	for n, p := range f.pages {
		if short := int(n*pageSize) + len(p) - len(b); short > 0 {
			b = append(b, make([]byte, short)...)
		}
		copy(b[n*pageSize:], p)
	}
	return b
}

// fileOf is the file of that size that starts with b and then holds zeros.
func fileOf(b []byte, size int64) file {
	f := file{size: size, pages: map[int64][]byte{}}
	for at := 0; at < len(b); at += pageSize {
		if page := b[at:min(at+pageSize, len(b))]; !bytes.Equal(page, zeroPage[:len(page)]) {
			f.pages[int64(at/pageSize)] = page
		}
	}
	return f
}

// snapshot is a directory as of one moment.
type snapshot map[string]file

// take returns what is in dir, once nothing moves there any more.
func take(t testing.TB, dir string) snapshot {
	t.Helper()
	last := read(t, dir)
	for range 1000 {
		s := read(t, dir)
		if s != nil && last != nil && maps.EqualFunc(s, last, file.equal) {
			return s
		}
		last = s
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the store does not come to rest")
	return nil
}

// read returns what is in dir, or nil if a file went away meanwhile.
func read(t testing.TB, dir string) snapshot {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := snapshot{}
	for _, e := range entries {
		f, err := readFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() != "LOCK" {
			s[e.Name()] = f
		}
	}
	return s
}

func readFile(path string) (file, error) {
	f, err := os.Open(path)
	if err != nil {
		return file{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return file{}, err
	}
	out := file{size: info.Size(), pages: map[int64][]byte{}}
	for at := int64(0); at < out.size; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // a hole up to the end
			break
		}
		if err != nil {
			return file{}, err
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return file{}, err
		}
		for n := data / pageSize; n*pageSize < hole; n++ {
			page := make([]byte, min(pageSize, out.size-n*pageSize))
			if _, err := f.ReadAt(page, n*pageSize); err != nil && !errors.Is(err, io.EOF) {
				return file{}, err
			}
			if !bytes.Equal(page, zeroPage[:len(page)]) {
				out.pages[n] = page
			}
		}
		at = hole
	}
	return out, nil
}

// restore writes a snapshot into a new directory and returns it.
func (s snapshot) restore(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(memory, "coldframe-kv-")
	if err != nil {
		dir, err = os.MkdirTemp("", "coldframe-kv-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, f := range s {
		w, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		err = w.Truncate(f.size)
		for n, p := range f.pages {
			if err == nil {
				_, err = w.WriteAt(p, n*pageSize)
			}
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// afterPowerLoss returns what a disk may hold that lost power between two moments: old is durable; of what differs in next, a random
// part of the pages, sizes and new files is there. Four orders hold, since Badger waits for a sync in between: the write-ahead file
// (.mem) is written once the value log is durable, the list of tables names a table once that one is, an old file goes once the list
// no longer needs it, and ACKNOWLEDGED is behind all.
func afterPowerLoss(r *rand.Rand, old, next snapshot) snapshot {
	out := maps.Clone(old)
	flushed := r.IntN(2) == 0
	removed := flushed && r.IntN(2) == 0
	logged := r.IntN(3) > 0
	for _, name := range slices.Sorted(maps.Keys(next)) {
		switch {
		case name == ackName:
		case name == "MANIFEST" || name == "KEYREGISTRY":
			if flushed {
				out[name] = next[name]
			}
		case strings.HasSuffix(name, ".sst") && flushed, strings.HasSuffix(name, ".vlog") && logged:
			out[name] = next[name]
		case strings.HasSuffix(name, ".mem") && next[name].size == 0: // Badger empties an old file before it removes it
			if removed {
				out[name] = next[name]
			}
		case strings.HasSuffix(name, ".mem") && !logged:
		default:
			was, there := old[name]
			if there || r.IntN(4) > 0 {
				out[name] = mix(r, was, next[name])
			}
		}
	}
	for name := range old {
		if _, there := next[name]; !there && removed {
			delete(out, name)
		}
	}
	return out
}

// mix returns old with a random part of what differs in next.
func mix(r *rand.Rand, old, next file) file {
	out := file{size: old.size, pages: maps.Clone(old.pages)}
	if out.pages == nil {
		out.pages = map[int64][]byte{}
	}
	keep := r.IntN(5) // of 4: from none to all
	if r.IntN(4) > 0 || next.size > old.size {
		out.size = next.size
	}
	for _, n := range slices.Sorted(maps.Keys(next.pages)) {
		if n*pageSize < out.size && !bytes.Equal(old.pages[n], next.pages[n]) && r.IntN(4) < keep {
			out.pages[n] = next.pages[n][:min(int64(len(next.pages[n])), out.size-n*pageSize)]
		}
	}
	for n := range old.pages {
		if n*pageSize >= out.size {
			delete(out.pages, n)
		}
	}
	return out
}
