package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

// failing is a file layer whose calls fail from the n-th on: one of them, or all until healed.
type failing struct {
	system
	n       int  // the call that fails first, counted from 1; 0: none
	all     bool // every call after it too
	short   bool // a failing write writes half first
	removes bool // removing can fail as well
	err     error
	count   int
	failed  bool
}

func (f *failing) next() error {
	f.count++
	if f.n == 0 || f.count < f.n || (f.count > f.n && !f.all) {
		return nil
	}
	f.failed = true
	return f.err
}

func (f *failing) Mkdir(root *os.Root, dir string) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.system.Mkdir(root, dir)
}

func (f *failing) Create(root *os.Root, path string) (File, error) {
	if err := f.next(); err != nil {
		return nil, err
	}
	file, err := f.system.Create(root, path)
	return &failingFile{file, f}, err
}

func (f *failing) Publish(root *os.Root, dir, from, to string) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.system.Publish(root, dir, from, to)
}

func (f *failing) Remove(root *os.Root, path string) error {
	if f.removes {
		if err := f.next(); err != nil {
			return err
		}
	}
	return f.system.Remove(root, path)
}

func (f *failing) SyncDir(root *os.Root, dir string) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.system.SyncDir(root, dir)
}

type failingFile struct {
	File
	layer *failing
}

func (f *failingFile) Write(p []byte) (int, error) {
	if err := f.layer.next(); err != nil {
		if !f.layer.short {
			return 0, err
		}
		n, _ := f.File.Write(p[:len(p)/2]) //nolint:errcheck // the other error counts
		return n, err
	}
	return f.File.Write(p)
}

func (f *failingFile) Sync() error {
	if err := f.layer.next(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *failingFile) Close() error {
	err := f.layer.next()
	return errors.Join(err, f.File.Close())
}

// failAt runs put, put and delete over a layer whose call n fails, and reports whether it was reached.
func failAt(t *testing.T, layer *failing, want fault.Code) bool {
	t.Helper()
	s, path := open(t, Options{Files: layer})
	ctx := t.Context()
	bodies := map[columnar.ObjectName][]byte{}
	put := func(body []byte) (columnar.ObjectName, error) {
		name := columnar.NewObjectName()
		err := putSlowly(ctx, s, name, body)
		if err == nil {
			bodies[name] = body
		}
		return name, err
	}
	var errs []error
	var failed []columnar.ObjectName
	for i := range uint64(2) {
		name, err := put(storetest.Bytes(i, 5000))
		if err != nil {
			errs, failed = append(errs, err), append(failed, name)
		}
	}
	gone := columnar.NewObjectName()
	for name := range bodies {
		if err := s.Delete(ctx, name); err != nil {
			errs = append(errs, err)
			gone = name // either there or not
		}
		delete(bodies, name)
		break
	}
	if layer.failed && len(errs) == 0 && !layer.removes { // a failing removal after another failure is not told again
		t.Fatalf("call %d failed and nobody was told", layer.n)
	}
	for _, err := range errs {
		if !errors.Is(err, want) {
			t.Fatalf("call %d: got %v, want %s", layer.n, err, want)
		}
	}
	reached := layer.failed
	layer.n = 0 // healed
	if layer.removes || layer.all {
		for _, name := range failed { // what the sweeper does
			if err := errors.Join(s.AbortUploads(ctx, name), s.Delete(ctx, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Delete(ctx, gone); err != nil {
		t.Fatal(err)
	}
	if _, err := put(storetest.Bytes(9, 5000)); err != nil {
		t.Fatalf("after call %d failed it does not work again: %v", layer.n, err)
	}
	if left := files(t, path); len(left) != len(bodies) {
		t.Fatalf("%d files for %d objects: %v", len(left), len(bodies), left)
	}
	for name, body := range bodies {
		if got, err := storetest.Get(ctx, s, name, 0, int64(len(body))); err != nil || string(got) != string(body) {
			t.Fatalf("an object was damaged: %v", err)
		}
	}
	return reached
}

func putSlowly(ctx context.Context, s columnar.Store, name columnar.ObjectName, body []byte) error {
	u, err := s.Create(ctx, name, columnar.CreateOptions{SizeHint: int64(len(body))})
	if err != nil {
		return err
	}
	for len(body) > 0 {
		n := min(len(body), 1500)
		if _, err := u.Write(body[:n]); err != nil {
			if again := u.Close(); !errors.Is(again, fault.CodeOf(err)) {
				return fmt.Errorf("close forgot the error: %w", again)
			}
			u.Abort() //nolint:errcheck // the first error counts
			return err
		}
		body = body[n:]
	}
	return u.Close()
}

// everyCall fails call 1, 2, 3 … until a run passes.
func everyCall(t *testing.T, make func(n int) *failing, want fault.Code) {
	t.Helper()
	for n := 1; n < 200; n++ {
		if !failAt(t, make(n), want) {
			t.Logf("%d calls", n-1)
			if n < 15 {
				t.Fatalf("only %d calls were seen", n-1)
			}
			return
		}
	}
	t.Fatal("no run passed")
}

func TestF06_DiskFullAtEveryCall(t *testing.T) {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		everyCall(t, func(n int) *failing { return &failing{n: n, err: e} }, fault.StorageFull)
		everyCall(t, func(n int) *failing { return &failing{n: n, err: e, all: true, short: true} }, fault.StorageFull)
	}
}

func TestF07_ErrorAtEveryCall(t *testing.T) {
	for _, e := range []error{syscall.EIO, io.ErrShortWrite} {
		everyCall(t, func(n int) *failing { return &failing{n: n, err: e} }, fault.Unavailable)
		everyCall(t, func(n int) *failing { return &failing{n: n, err: e, short: true} }, fault.Unavailable)
		everyCall(t, func(n int) *failing { return &failing{n: n, err: e, all: true, removes: true} }, fault.Unavailable)
	}
}

// noRoom says that the disk has that many bytes free.
type noRoom struct {
	system
	free uint64
}

func (n *noRoom) Free(*os.Root) (uint64, error) { return n.free, nil }

func TestF06_GuardLeavesRoom(t *testing.T) {
	layer := &noRoom{free: DefaultMinFree - 1}
	s, path := open(t, Options{Files: layer})
	ctx := t.Context()
	if err := storetest.Put(ctx, s, columnar.NewObjectName(), []byte("x")); !errors.Is(err, fault.StorageFull) {
		t.Fatalf("a full disk: %v", err)
	}
	layer.free = DefaultMinFree + 1000 // less than the next hint, which counts data before compression
	kept := columnar.NewObjectName()
	if err := storetest.Put(ctx, s, kept, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	u, err := s.Create(ctx, columnar.NewObjectName(), columnar.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	layer.free = DefaultMinFree - 1
	for range 40 { // without a hint the guard looks while it writes
		if _, err = u.Write(make([]byte, 1<<20)); err != nil {
			break
		}
	}
	if !errors.Is(err, fault.StorageFull) {
		t.Fatalf("a disk that fills: %v", err)
	}
	if err := u.Abort(); err != nil {
		t.Fatal(err)
	}
	if _, err := storetest.Get(ctx, s, kept, 0, 1000); err != nil {
		t.Fatalf("reading a full disk: %v", err)
	}
	if err := s.Delete(ctx, kept); err != nil {
		t.Fatalf("making room: %v", err)
	}
	if left := files(t, path); len(left) != 0 {
		t.Fatalf("left: %v", left)
	}
	layer.free = 1 << 40
	if err := storetest.Put(ctx, s, kept, make([]byte, 5000)); err != nil {
		t.Fatalf("with room again: %v", err)
	}
}

// TestF18_Descriptors takes all the descriptors that the limit allows.
func TestF18_Descriptors(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	name := columnar.NewObjectName()
	if err := storetest.Put(ctx, s, name, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old) //nolint:errcheck // end of the test
	var open []io.Closer
	var err error
	for range 100 {
		var r io.ReadCloser
		if r, err = s.ReadRange(ctx, name, 0, 3); err != nil {
			break
		}
		open = append(open, r)
	}
	if !errors.Is(err, fault.Unavailable) {
		t.Errorf("read: %v", err)
	}
	for range 100 { // what a path of two elements leaves over
		if f, err := os.Open(os.DevNull); err == nil {
			open = append(open, f)
		}
	}
	for what, err := range map[string]error{
		"put":   storetest.Put(ctx, s, columnar.NewObjectName(), []byte("x")),
		"abort": s.AbortUploads(ctx, name),
	} {
		if !errors.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, c := range open {
		c.Close() //nolint:errcheck // only read
	}
	if err := storetest.Put(ctx, s, columnar.NewObjectName(), []byte("x")); err != nil {
		t.Errorf("back to normal: %v", err)
	}
	if after := descriptors(t); after > before+2 {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	return len(list)
}
