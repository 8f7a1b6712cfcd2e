package cache_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/cache"
	"coldframe/columnar/dir"
	"coldframe/columnar/storetest"
)

// faulty is a file system whose calls fail from the n-th on.
type faulty struct {
	cache.Files
	calls, from int64
	err         error
}

func (f *faulty) fail() error {
	if atomic.AddInt64(&f.calls, 1) >= f.from {
		return f.err
	}
	return nil
}

func (f *faulty) Create(root *os.Root, folder, path string) (io.WriteCloser, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	w, err := f.Files.Create(root, folder, path)
	return &faultyFile{w, f}, err
}

func (f *faulty) Open(root *os.Root, path string, size int64) (io.ReaderAt, io.Closer, error) {
	if err := f.fail(); err != nil {
		return nil, nil, err
	}
	r, c, err := f.Files.Open(root, path, size)
	return &faultyReader{r, f}, c, err
}

func (f *faulty) Rename(root *os.Root, from, to string) error {
	return errors.Join(f.fail(), f.Files.Rename(root, from, to))
}

func (f *faulty) Remove(root *os.Root, path string) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.Files.Remove(root, path)
}

func (f *faulty) Free(root *os.Root) (uint64, error) {
	n, err := f.Files.Free(root)
	return n, errors.Join(err, f.fail())
}

type faultyFile struct {
	io.WriteCloser
	f *faulty
}

func (w *faultyFile) Write(b []byte) (int, error) {
	if err := w.f.fail(); err != nil {
		n, _ := w.WriteCloser.Write(b[:len(b)/2])
		return n, err
	}
	return w.WriteCloser.Write(b)
}

func (w *faultyFile) Close() error { return errors.Join(w.WriteCloser.Close(), w.f.fail()) }

type faultyReader struct {
	io.ReaderAt
	f *faulty
}

func (r *faultyReader) ReadAt(b []byte, off int64) (int, error) {
	if err := r.f.fail(); err != nil {
		n, _ := r.ReaderAt.ReadAt(b[:len(b)/2], off)
		return n, err
	}
	return r.ReaderAt.ReadAt(b, off)
}

// Whatever call of the file system fails, and all after it: the reads go on.
func TestF06_F07_ADiskThatFailsCostsNoRead(t *testing.T) {
	behind := folder(t)
	body := storetest.Bytes(30, 400_000)
	name := put(t, behind, body)
	for _, broken := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		for from := int64(1); from < 60; from += 1 + from/10 {
			path := place(t)
			f := &faulty{Files: cache.System, from: from, err: broken}
			c := open(t, path, cache.Options{Files: f, Limit: 1 << 20})
			cache.SetBounds(c, 100_000, 1000)
			s := c.Store(behind)
			for _, r := range []struct{ off, n int64 }{{0, 50_000}, {0, 250_000}, {100, 1000}, {300_000, 100_000}, {0, 400_000}} {
				wantRange(t, s, name, body, r.off, r.n)
				if err := cache.CheckIndex(c); err != nil || !cache.Idle(c) {
					t.Fatalf("%v from call %d: idle %v, %v", broken, from, cache.Idle(c), err)
				}
			}
			c.Close()
			c = open(t, path, cache.Options{Limit: 1 << 20})
			if _, err := read(c.Store(behind), name, body, 0); err != nil {
				t.Fatal(err)
			}
			for _, file := range filesIn(t, path) {
				if strings.HasSuffix(file, ".part") {
					t.Fatalf("%s is left", file)
				}
			}
			c.Close()
		}
	}
}

// free is a file system with little room.
type free struct {
	cache.Files
	bytes atomic.Int64
}

func (f *free) Free(*os.Root) (uint64, error) { return uint64(f.bytes.Load()), nil }

func (f *free) Remove(root *os.Root, path string) error {
	info, err := root.Stat(path)
	if err == nil && !info.IsDir() {
		f.bytes.Add((info.Size() + 4095) / 4096 * 4096)
	}
	return f.Files.Remove(root, path)
}

// A disk that others fill gets back from the cache what lacks, and a disk without room is left alone.
func TestF06_FreeSpaceGuard(t *testing.T) {
	f := &free{Files: cache.System}
	f.bytes.Store(100 << 20)
	c := open(t, place(t), cache.Options{Files: f, Limit: 64 << 20, MinFree: 10 << 20})
	behind := &counting{Store: folder(t)}
	s := c.Store(behind)
	body := storetest.Bytes(31, 12<<20)
	name := put(t, s, body)
	for i := range int64(8) {
		wantRange(t, s, name, body, i<<20, 1<<20)
	}
	if n := c.Stats().Used; n != 8<<20 {
		t.Fatalf("%d bytes used", n)
	}
	f.bytes.Store(8 << 20)
	wantRange(t, s, name, body, 8<<20, 1<<20)
	if n := c.Stats().Used; n != 6<<20 {
		t.Errorf("3 MiB lacked, %d bytes used", n)
	}
	f.bytes.Store(0)
	wantRange(t, s, name, body, 9<<20, 1<<20)
	if n := c.Stats().Used; n != 0 {
		t.Errorf("nothing is free, %d bytes used", n)
	}
	wantRange(t, s, name, body, 9<<20, 1<<20)
	if err := cache.CheckIndex(c); err != nil {
		t.Error(err)
	}
}

// What a store gives wrong is not kept for ever, and not believed because it was kept.
func TestD17_WrongBytesOfTheStoreAreForgotten(t *testing.T) {
	hostile := storetest.NewHostile(folder(t), storetest.Hooks{})
	c := open(t, place(t), cache.Options{})
	s := c.Store(hostile)
	body := storetest.Bytes(32, 100_000)
	name := put(t, s, body)
	hostile.Set(storetest.Hooks{Content: func(_ columnar.ObjectName, b []byte) []byte { return make([]byte, len(b)) }})
	if _, err := read(s, name, body[:5000], 0); err == nil {
		t.Error("zeros were taken")
	}
	hostile.Set(storetest.Hooks{Range: func(_ columnar.ObjectName, _ int64, b []byte) []byte { return b[:len(b)/2] }})
	if _, err := storetest.Get(t.Context(), s, name, 20_000, 5000); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short answer: %v", err)
	}
	hostile.Set(storetest.Hooks{})
	if _, err := read(s, name, body, 0); err != nil {
		t.Error(err)
	}
	if !cache.Idle(c) {
		t.Error("something is left")
	}
}

// Files that are none of the cache's, and those that a dead process left, go at the start; one that is whole stays.
func TestF05_StartSweeps(t *testing.T) {
	path := place(t)
	c := open(t, path, cache.Options{})
	behind := &counting{Store: folder(t)}
	body := storetest.Bytes(33, 100_000)
	name := put(t, behind, body)
	wantRange(t, c.Store(behind), name, body, 0, 1000)
	c.Close()
	inside := filepath.Join(path, string(name[:2]))
	for file, content := range map[string][]byte{
		string(columnar.NewObjectName()) + ".part": body, string(name) + ".5000.1000": body[:999], string(name) + ".007.1": {1}, "notes": {1},
	} {
		if err := os.WriteFile(filepath.Join(inside, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Symlink("/etc/passwd", filepath.Join(inside, string(name)+".9.9")), os.Mkdir(filepath.Join(inside, string(name)+".8.8"), 0o700),
		os.WriteFile(filepath.Join(path, "mine"), []byte("stays"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	c = open(t, path, cache.Options{})
	if got := filesIn(t, path); len(got) != 2 || c.Stats().Ranges != 1 {
		t.Errorf("left: %v, %+v", got, c.Stats())
	}
	behind.asked()
	wantRange(t, c.Store(behind), name, body, 0, 1000)
	if n, _ := behind.asked(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

const killed = "COLDFRAME_CACHE_TEST"

// dying kills its process at a renaming: before it if that is an odd one, else after it.
type dying struct {
	cache.Files
	at, calls int
}

func (d *dying) Rename(root *os.Root, from, to string) error {
	d.calls++
	if d.calls == d.at && d.at%2 == 1 {
		die()
	}
	err := d.Files.Rename(root, from, to)
	if d.calls == d.at {
		die()
	}
	return err
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// A process that is killed between writing a file and renaming it, or right after that, leaves nothing that hurts.
func TestF05_Killed(t *testing.T) {
	body := storetest.Bytes(34, 4<<20)
	where := os.Getenv(killed)
	if where != "" { // the process that is killed
		fill(t, where, body)
		return
	}
	where = t.TempDir()
	behind, err := dir.New(filepath.Join(where, "store"), dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	name := put(t, behind, body)
	unfinished := 0
	for i := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestF05_Killed$")
		cmd.Env = append(os.Environ(), killed+"="+where, fmt.Sprintf("%s_AT=%d", killed, 1+i), killed+"_NAME="+string(name))
		out, err := cmd.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("it was not killed: %v\n%s", err, out)
		}
		unfinished += len(glob(t, filepath.Join(where, "cache", "*", "*.part")))
		c := open(t, filepath.Join(where, "cache"), cache.Options{Limit: 2 << 20})
		if left := glob(t, filepath.Join(where, "cache", "*", "*.part")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if _, err := read(c.Store(behind), name, body, 0); err != nil {
			t.Error(err)
		}
		if err := errors.Join(cache.CheckIndex(c), c.Clear(), c.Close()); err != nil {
			t.Error(err)
		}
	}
	if unfinished != 4 {
		t.Errorf("%d of 4 left a file that is not whole", unfinished)
	}
}

// fill reads ranges until it is killed.
func fill(t *testing.T, where string, body []byte) {
	behind, err := dir.New(filepath.Join(where, "store"), dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at, err := strconv.Atoi(os.Getenv(killed + "_AT"))
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, filepath.Join(where, "cache"), cache.Options{Limit: 2 << 20, Files: &dying{Files: cache.System, at: at}})
	for i := int64(0); i < 100; i++ {
		off := i * 40_000
		if _, err := read(c.Store(behind), columnar.ObjectName(os.Getenv(killed+"_NAME")), body[off:off+30_000], off); err != nil {
			t.Fatal(err)
		}
	}
}
