package cache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"coldframe/internal/freespace"
)

// Files is what the cache asks of the file system. Tests put one in that fails (F06, F07). Paths are relative to the root and of our own
// making.
type Files interface {
	Create(root *os.Root, folder, path string) (io.WriteCloser, error) // a new file, mode 0600, and its folder
	Open(root *os.Root, path string, size int64) (io.ReaderAt, io.Closer, error)
	Rename(root *os.Root, from, to string) error
	Remove(root *os.Root, path string) error
	Touch(root *os.Root, path string, t time.Time) error
	Free(root *os.Root) (uint64, error) // bytes that this user may still write
}

// system is the real file system.
type system struct{}

func (system) Create(root *os.Root, folder, path string) (io.WriteCloser, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := root.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := root.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		f, err = root.OpenFile(path, flags, 0o600)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

var errOtherFile = errors.New("cache: not the file that was written")

// Open opens a regular file of this length. Without O_NONBLOCK a pipe that someone put there would hold the call for ever.
func (system) Open(root *os.Root, path string, size int64) (io.ReaderAt, io.Closer, error) {
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != size) {
		err = errOtherFile
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, f, nil
}

func (system) Rename(root *os.Root, from, to string) error         { return root.Rename(from, to) }
func (system) Remove(root *os.Root, path string) error             { return root.Remove(path) }
func (system) Touch(root *os.Root, path string, t time.Time) error { return root.Chtimes(path, t, t) }

func (system) Free(root *os.Root) (uint64, error) { return freespace.In(root) }
