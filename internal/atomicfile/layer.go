package atomicfile

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Layer is a file system. All paths are those of the operating system.
type Layer interface {
	// CreateExclusive makes a file that must not exist yet and opens it for writing; a link in its place is never followed.
	CreateExclusive(path string, perm fs.FileMode) (File, error)
	// Open opens a file for reading.
	Open(path string) (File, error)
	// Rename puts a file in the place of another, at once.
	Rename(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
	// ReadDir calls fn with each entry of a directory, in no order, until all were seen or fn failed.
	ReadDir(path string, fn func(fs.DirEntry) error) error
}

// File is an open file of a Layer.
type File interface {
	io.Reader
	io.Writer
	io.Closer
	Sync() error
	Stat() (fs.FileInfo, error)
}

// OS is the real file system.
var OS Layer = osLayer{}

type osLayer struct{}

func (osLayer) CreateExclusive(path string, perm fs.FileMode) (File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, perm)
}

func (osLayer) Open(path string) (File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // a FIFO in its place must not hang us
}

func (osLayer) Rename(from, to string) error { return os.Rename(from, to) }
func (osLayer) Remove(path string) error     { return os.Remove(path) }

func (osLayer) SyncDir(path string) error {
	d, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		_ = d.Close()
		return err
	}
	return d.Close()
}

func (osLayer) ReadDir(path string, fn func(fs.DirEntry) error) error {
	d, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	for {
		entries, err := d.ReadDir(readDirBatch)
		for _, e := range entries {
			if err := fn(e); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readDirBatch is how many names of a directory are held in memory at a time.
const readDirBatch = 256
