package atomicfile

import (
	"crypto/rand"
	"errors"
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

// maxPrivate is the size of the largest file that ReadFrom takes, in bytes.
const maxPrivate = 64 << 20

// tempPrefix starts the names of files that are not finished.
const tempPrefix = ".tmp-"

// Write puts a file with this content and mode in the place of path, whether there is one or not.
// Failures: fault.StorageFull, fault.Unavailable; there is then the old file or, if the last steps failed, the new one, but whole.
func Write(path string, data []byte, perm fs.FileMode) error { return WriteTo(OS, path, data, perm) }

// WriteTo is Write on another layer.
func WriteTo(l Layer, path string, data []byte, perm fs.FileMode) error {
	temp := tempName(filepath.Dir(path))
	err := writeNew(l, temp, data, perm)
	if err == nil {
		err = l.Rename(temp, path)
	}
	if err != nil {
		_ = l.Remove(temp)
		return failure(err, "the file is not written")
	}
	if err := l.SyncDir(filepath.Dir(path)); err != nil {
		return failure(err, "the file is not durable")
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

// tempName returns a new random name in dir for a file that is not finished.
func tempName(dir string) string { return filepath.Join(dir, tempPrefix+rand.Text()) }

// RemoveUnfinished removes the files that a process which died did not finish in dir. Nobody may be writing there.
func RemoveUnfinished(l Layer, dir string) error {
	var names []string
	err := l.ReadDir(dir, func(e fs.DirEntry) error {
		if strings.HasPrefix(e.Name(), tempPrefix) && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
		return nil
	})
	for _, name := range names {
		err = errors.Join(err, l.Remove(filepath.Join(dir, name)))
	}
	if err != nil {
		return failure(err, "files that were not finished are not removed")
	}
	return nil
}

// ReadFrom returns the content of a private file on a layer. One that others may read or write, that belongs to another user or is
// not a regular file (a link, a pipe) is fault.Policy (THREATS L18); an absent one is fault.NotFound.
func ReadFrom(l Layer, path string) ([]byte, error) {
	f, err := l.Open(path)
	if err != nil {
		if errors.Is(err, unix.ELOOP) {
			return nil, fault.New(fault.Policy, "a private file is a link")
		}
		return nil, failure(err, "the file cannot be read")
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, failure(err, "the file cannot be read")
	}
	if err := checkPrivate(info); err != nil {
		return nil, err
	}
	if info.Size() > maxPrivate {
		return nil, errTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPrivate+1))
	if err != nil {
		return nil, failure(err, "the file cannot be read")
	}
	if len(data) > maxPrivate {
		return nil, errTooLarge
	}
	return data, nil
}

var errTooLarge = fault.New(fault.TooLarge, "a private file is at most %d MiB", maxPrivate>>20)

// checkPrivate refuses, with fault.Policy, what is not a regular file of this user that others can neither read nor write.
func checkPrivate(info fs.FileInfo) error {
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

// failure gives an error of a file call its kind: fault.StorageFull, fault.NotFound, or fault.Unavailable. The detail is shown to the
// caller, the cause is not.
func failure(err error, detail string) error {
	code := fault.Unavailable
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		code = fault.StorageFull
	case errors.Is(err, fs.ErrNotExist):
		code = fault.NotFound
	}
	return fault.Wrap(code, err, "%s", detail)
}
