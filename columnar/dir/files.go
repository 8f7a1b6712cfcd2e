package dir

import (
	"io"
	"os"

	"coldframe/internal/freespace"
)

// Files is what the store asks of the file system while it writes. Tests put one in that fails at call n (F06, F07). Paths are
// relative to the root and of our own making.
type Files interface {
	Mkdir(root *os.Root, dir string) error
	Create(root *os.Root, path string) (File, error)   // a new file, mode 0600
	Publish(root *os.Root, dir, from, to string) error // rename inside dir; fs.ErrExist if there is a file "to"
	Remove(root *os.Root, path string) error
	SyncDir(root *os.Root, dir string) error // fsync of a folder
	Free(root *os.Root) (uint64, error)      // bytes that this user may still write
}

// File is a file being written.
type File interface {
	io.WriteCloser
	Sync() error
}

// system is the real file system.
type system struct{}

func (system) Mkdir(root *os.Root, dir string) error { return root.Mkdir(dir, 0o700) }

func (system) Create(root *os.Root, path string) (File, error) {
	f, err := root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (system) Publish(root *os.Root, dir, from, to string) error {
	return renameNoReplace(root, dir, from, to)
}

func (system) Remove(root *os.Root, path string) error { return root.Remove(path) }

func (system) SyncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return f.Sync()
}

func (system) Free(root *os.Root) (uint64, error) { return freespace.In(root) }

// linkNoReplace gives the file a second name, which fails if that is taken, and takes the first one away.
func linkNoReplace(root *os.Root, dir, from, to string) error {
	if err := root.Link(dir+"/"+from, dir+"/"+to); err != nil {
		return err
	}
	return root.Remove(dir + "/" + from)
}
