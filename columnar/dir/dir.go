package dir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// DefaultMinFree is how many bytes are left free on the disk.
const DefaultMinFree = 64 << 20

// Options of a Store. The zero value is right outside of tests.
type Options struct {
	Files   Files  // nil: the real file system
	MinFree uint64 // bytes to leave free; 0: DefaultMinFree
}

// Store is a folder of objects. It implements columnar.Store.
type Store struct {
	root    *os.Root
	files   Files
	minFree uint64

	mu   sync.Mutex
	made map[string]bool // fan-out folders that are durable
}

var _ columnar.Store = (*Store)(nil)

// New opens the folder path, and makes it if it is not there. Close ends its use.
func New(path string, o Options) (*Store, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, classify(err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, classify(err)
	}
	s := &Store{root: root, files: o.Files, minFree: o.MinFree, made: map[string]bool{}}
	if s.files == nil {
		s.files = system{}
	}
	if s.minFree == 0 {
		s.minFree = DefaultMinFree
	}
	return s, nil
}

// Close ends the use of the folder. Readers that are open stay usable.
func (s *Store) Close() error { return s.root.Close() }

// Size implements columnar.Store.
func (s *Store) Size(ctx context.Context, name columnar.ObjectName) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, classify(err)
	}
	info, err := s.root.Lstat(place(name))
	if err != nil {
		return 0, s.classify(err)
	}
	if !info.Mode().IsRegular() {
		return 0, errNoObject()
	}
	return info.Size(), nil
}

// Delete implements columnar.Store. The removal is durable when it returns nil.
func (s *Store) Delete(ctx context.Context, name columnar.ObjectName) error {
	if err := ctx.Err(); err != nil {
		return classify(err)
	}
	return s.remove(fan(name), place(name))
}

// remove takes a file away and makes that durable.
func (s *Store) remove(dir, path string) error {
	err := s.files.Remove(s.root, path)
	if errors.Is(err, fs.ErrNotExist) && !s.gone() {
		return nil
	}
	if err == nil {
		err = s.files.SyncDir(s.root, dir)
	}
	return s.classify(err)
}

// Check implements columnar.Store.
func (s *Store) Check(ctx context.Context) []columnar.Probe {
	return columnar.ProbeStore(ctx, s, 1<<20)
}

// Path returns where an object lies, for readers on this machine; nothing says that it is there.
func (s *Store) Path(name columnar.ObjectName) string {
	return filepath.Join(s.root.Name(), place(name))
}

// fan is the folder of an object; place is its path. A name that is none would be a way out of the folder, so it panics.
func fan(name columnar.ObjectName) string {
	if _, err := columnar.ParseObjectName(string(name)); err != nil {
		panic("dir: not an object name")
	}
	return string(name[:2])
}

func place(name columnar.ObjectName) string { return fan(name) + "/" + string(name) }

func errNoObject() error { return fault.New(fault.NotFound, "no such object") }
