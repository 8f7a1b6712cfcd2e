package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"coldframe/internal/fault"
)

// Private is the mode of a file that only its owner may read.
const Private fs.FileMode = 0o600

// maxPrivate is the size of the largest file that Read takes, in bytes.
const maxPrivate = 64 << 20

// tempPrefix starts the names of files that are not finished.
const tempPrefix = ".tmp-"

// Write puts a file with this content and mode in the place of path, whether there is one or not.
// Failures: fault.StorageFull, fault.Unavailable; there is then the old file or, if the last steps failed, the new one, but whole.
func Write(path string, data []byte, perm fs.FileMode) error { return WriteTo(OS, path, data, perm) }

// Create makes a file that must not exist yet: fault.Conflict if it does. Else as Write.
func Create(path string, data []byte, perm fs.FileMode) error { return CreateIn(OS, path, data, perm) }

// Read returns the content of a private file. One that others may read or write, that belongs to another user or is not a regular
// file (a link, a pipe) is fault.Policy (THREATS L18); an absent one is fault.NotFound.
func Read(path string) ([]byte, error) { return ReadFrom(OS, path) }

// WriteTo is Write on another layer.
func WriteTo(l Layer, path string, data []byte, perm fs.FileMode) error {
	return place(l, path, data, perm, l.Rename)
}

// CreateIn is Create on another layer.
func CreateIn(l Layer, path string, data []byte, perm fs.FileMode) error {
	return place(l, path, data, perm, func(from, to string) error {
		if err := l.Link(from, to); err != nil {
			return err
		}
		return l.Remove(from)
	})
}

// place writes a new file and gives it its name with move.
func place(l Layer, path string, data []byte, perm fs.FileMode, move func(from, to string) error) error {
	temp := TempName(filepath.Dir(path))
	err := writeNew(l, temp, data, perm)
	if err == nil {
		err = move(temp, path)
	}
	if err != nil {
		_ = l.Remove(temp)
		return Fault(err, "the file is not written")
	}
	if err := l.SyncDir(filepath.Dir(path)); err != nil {
		return Fault(err, "the file is not durable")
	}
	return nil
}

// writeNew makes a file and syncs it.
func writeNew(l Layer, path string, data []byte, perm fs.FileMode) error {
	f, err := l.CreateExclusive(path, perm)
	if err != nil {
		return err
	}
	n, err := f.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// TempName returns a new random name in dir for a file that is not finished.
func TempName(dir string) string { return filepath.Join(dir, tempPrefix+rand.Text()) }

// IsTemp reports whether a name (or the last part of a path) is one that TempName gives. Such a file that is old is left over.
func IsTemp(name string) bool { return strings.HasPrefix(filepath.Base(name), tempPrefix) }

// ReadFrom is Read on another layer.
func ReadFrom(l Layer, path string) ([]byte, error) {
	f, err := l.Open(path)
	if err != nil {
		if errors.Is(err, unix.ELOOP) {
			return nil, fault.New(fault.Policy, "a private file is a link")
		}
		return nil, Fault(err, "the file cannot be read")
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, Fault(err, "the file cannot be read")
	}
	if err := CheckPrivate(info); err != nil {
		return nil, err
	}
	if info.Size() > maxPrivate {
		return nil, fault.New(fault.TooLarge, "a private file is at most %d MiB", maxPrivate>>20)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPrivate+1))
	if err != nil {
		return nil, Fault(err, "the file cannot be read")
	}
	return data, nil
}

// CheckPrivate refuses, with fault.Policy, what is not a regular file of this user that others can neither read nor write.
func CheckPrivate(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fault.New(fault.Policy, "a private file is no regular file")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fault.New(fault.Policy, "a private file is open to others: mode %04o, want %04o", info.Mode().Perm(), Private)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fault.New(fault.Policy, "a private file belongs to another user")
	}
	return nil
}

// Fault gives an error of a file call its kind: fault.StorageFull, fault.NotFound, fault.Conflict (there already), or
// fault.Unavailable. The detail is shown to the caller, the cause is not.
func Fault(err error, detail string, args ...any) error {
	code := fault.Unavailable
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		code = fault.StorageFull
	case errors.Is(err, fs.ErrNotExist):
		code = fault.NotFound
	case errors.Is(err, fs.ErrExist):
		code = fault.Conflict
	}
	return fault.Wrap(code, err, "%s", fmt.Sprintf(detail, args...))
}
