package atomicfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coldframe/internal/fault"
)

// names returns what is in a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	if err := OS.ReadDir(dir, func(e fs.DirEntry) error { list = append(list, e.Name()); return nil }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if _, err := ReadFrom(OS, path); !errors.Is(err, fault.NotFound) {
		t.Errorf("absent: %v", err)
	}
	for _, content := range []string{"first", "", "second, longer"} {
		if err := Write(path, []byte(content), Private); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFrom(OS, path); err != nil || string(got) != content {
			t.Errorf("got %q, %v, want %q", got, err, content)
		}
	}
	if got := names(t, dir); got != "file" {
		t.Errorf("the directory holds %s", got)
	}
}

func TestL18_PrivateFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := Write(path, []byte("secret"), Private); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFrom(OS, path); !errors.Is(err, fault.Policy) || got != nil {
			t.Errorf("mode %o: %q, %v", mode, got, err)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{link, fifo, dir} {
		if _, err := ReadFrom(OS, p); !errors.Is(err, fault.Policy) {
			t.Errorf("%s: %v", filepath.Base(p), err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFrom(OS, path); !errors.Is(err, fault.Policy) {
			t.Errorf("of another user: %v", err)
		}
	}
	// Writing replaces a link; what it points to stays.
	target := filepath.Join(dir, "target")
	if err := Write(target, []byte("old"), Private); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(link), os.Symlink(target, link), Write(link, []byte("new"), Private)); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{target: "old", link: "new"} {
		if got, err := ReadFrom(OS, p); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", filepath.Base(p), got, err, want)
		}
	}
}

func TestUnfinishedFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	temp := tempName(dir)
	if temp == tempName(dir) || filepath.Dir(temp) != dir {
		t.Error(temp)
	}
	err := errors.Join(Write(filepath.Join(dir, "file"), nil, Private), os.WriteFile(temp, []byte("half of a sec"), Private),
		os.Mkdir(tempName(dir), 0o700), RemoveUnfinished(OS, dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(temp); !errors.Is(err, fs.ErrNotExist) || len(strings.Fields(names(t, dir))) != 2 {
		t.Errorf("%v, the directory holds %s", err, names(t, dir))
	}
	if err := RemoveUnfinished(OS, filepath.Join(dir, "none")); !errors.Is(err, fault.NotFound) {
		t.Error("no directory:", err)
	}
}

func TestTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, maxPrivate+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFrom(OS, path); !errors.Is(err, fault.TooLarge) {
		t.Errorf("%v", err)
	}
}

func isTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// failing is the real file system whose call n fails.
type failing struct {
	Layer
	n     *int
	with  error
	short bool // a write that fails writes half
	ops   *[]string
}

// fail reports whether this call is the one.
func (l failing) fail(op string) error {
	*l.ops = append(*l.ops, op)
	if *l.n--; *l.n == 0 {
		return l.with
	}
	return nil
}

func (l failing) CreateExclusive(path string, perm fs.FileMode) (File, error) {
	if err := l.fail("create"); err != nil {
		return nil, err
	}
	f, err := l.Layer.CreateExclusive(path, perm)
	return failingFile{f, l}, err
}

func (l failing) Rename(from, to string) error {
	if err := l.fail("rename"); err != nil {
		return err
	}
	return l.Layer.Rename(from, to)
}

func (l failing) Remove(path string) error {
	if err := l.fail("remove"); err != nil {
		return err
	}
	return l.Layer.Remove(path)
}

func (l failing) SyncDir(path string) error {
	if err := l.fail("sync directory"); err != nil {
		return err
	}
	return l.Layer.SyncDir(path)
}

type failingFile struct {
	File
	l failing
}

func (f failingFile) Write(b []byte) (int, error) {
	if err := f.l.fail("write"); err != nil {
		n, _ := f.File.Write(b[:len(b)/2])
		if f.l.short {
			return n, nil
		}
		return n, err
	}
	return f.File.Write(b)
}

func (f failingFile) Sync() error {
	if err := f.l.fail("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f failingFile) Close() error {
	err := f.l.fail("close")
	return errors.Join(f.File.Close(), err)
}

// Each call fails once, in each way, until the operation passes. A failure is an error; the old file is whole, or, once the new one has
// its name, the new one; nothing is left over that is not marked as unfinished.
func TestF06_F07_FailureAtCallN(t *testing.T) {
	old, content := []byte("the old content"), bytes.Repeat([]byte("new "), 1000)
	for what, op := range map[string]struct {
		run  func(l Layer, path string) error
		over bool
	}{
		"write over a file": {func(l Layer, path string) error { return WriteTo(l, path, content, Private) }, true},
		"write a new file":  {func(l Layer, path string) error { return WriteTo(l, path, content, Private) }, false},
	} {
		for _, failure := range []struct {
			err   error
			short bool
			code  fault.Code
		}{{syscall.ENOSPC, false, fault.StorageFull}, {syscall.EIO, false, fault.Unavailable}, {syscall.EIO, true, fault.Unavailable}} {
			for n := 1; ; n++ {
				dir := t.TempDir()
				path := filepath.Join(dir, "file")
				if op.over {
					if err := Write(path, old, Private); err != nil {
						t.Fatal(err)
					}
				}
				calls, ops := n, []string{}
				err := op.run(failing{OS, &calls, failure.err, failure.short, &ops}, path)
				if calls > 0 { // never failed
					if err != nil || n < 5 {
						t.Errorf("%s without a failure, %d calls: %v", what, n-1, err)
					}
					break
				}
				if !errors.Is(err, failure.code) {
					t.Errorf("%s, %v at call %d of %v: %v", what, failure.err, n, ops, err)
				}
				got, readErr := os.ReadFile(path) //nolint:gosec // a test's own file
				named := ops[n-1] == "sync directory" || ops[n-1] == "remove"
				switch {
				case named && bytes.Equal(got, content):
				case !named && op.over && bytes.Equal(got, old):
				case !named && !op.over && errors.Is(readErr, fs.ErrNotExist):
				default:
					t.Errorf("%s, %v at call %d of %v: the file holds %d bytes, %v", what, failure.err, n, ops, len(got), readErr)
				}
				for _, name := range strings.Fields(names(t, dir)) {
					if name != "file" && !isTemp(name) || isTemp(name) && ops[n-1] != "remove" {
						t.Errorf("%s, %v at call %d of %v: %s is left over", what, failure.err, n, ops, name)
					}
				}
			}
		}
	}
}
