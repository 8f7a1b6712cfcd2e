package daemon

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"coldframe/columnar/dir"
	"coldframe/internal/fault"
)

// faulty is a file layer, and a measure of free space, in which call n fails. One counter runs over both.
type faulty struct {
	calls  atomic.Int64
	failAt atomic.Int64 // 0: never
	stay   atomic.Bool  // from failAt on until it is cleared, as a full disk; else that call only
	with   error
	short  bool // a failing write writes half
}

func (f *faulty) fail() error {
	n, at := f.calls.Add(1), f.failAt.Load()
	if at != 0 && (n == at || f.stay.Load() && n > at) {
		return f.with
	}
	return nil
}

func (f *faulty) clear() {
	f.failAt.Store(0)
}

// free is the measure of the local store and of the folder.
func (f *faulty) free(string) (uint64, error) {
	if f.fail() != nil && errors.Is(f.with, syscall.ENOSPC) {
		return 0, nil
	}
	return 1 << 40, nil
}

func (f *faulty) Mkdir(root *os.Root, d string) error {
	return errors.Join(f.fail(), ifFine(f, func() error { return root.Mkdir(d, 0o700) }))
}

// ifFine runs do unless the call that was just counted failed.
func ifFine(f *faulty, do func() error) error {
	n, at := f.calls.Load(), f.failAt.Load()
	if at != 0 && (n == at || f.stay.Load() && n > at) {
		return nil
	}
	return do()
}

func (f *faulty) Create(root *os.Root, path string) (dir.File, error) {
	if err := f.fail(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file, err := root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, f: f}, nil
}

func (f *faulty) Publish(root *os.Root, d, from, to string) error {
	if err := f.fail(); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	if err := root.Link(d+"/"+from, d+"/"+to); err != nil {
		return err
	}
	return root.Remove(d + "/" + from)
}

// Remove works on a full disk.
func (f *faulty) Remove(root *os.Root, path string) error { return root.Remove(path) }

func (f *faulty) SyncDir(root *os.Root, d string) error {
	if err := f.fail(); err != nil {
		return &fs.PathError{Op: "sync", Path: d, Err: err}
	}
	file, err := root.Open(d)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

func (f *faulty) Free(*os.Root) (uint64, error) { return 1 << 40, nil }

type faultyFile struct {
	*os.File
	f *faulty
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.f.fail(); err != nil {
		if f.f.short {
			n, _ := f.File.Write(p[:len(p)/2]) // the error below is the one that counts
			return n, err
		}
		return 0, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) Sync() error {
	if err := f.f.fail(); err != nil {
		return err
	}
	return f.File.Sync()
}

// script are twelve operations; each may fail, after which it is tried again with the fault gone. It returns how many failed.
func script(t *testing.T, a *running, f *faulty, codes ...fault.Code) (failures int) {
	t.Helper()
	var id, app string
	expected := ""
	do := func(what string, op func() error) {
		t.Helper()
		err := op()
		if err == nil {
			return
		}
		failures++
		if !hasCode(err, codes) {
			t.Errorf("%s failed with %v, want one of %v", what, err, codes)
		}
		if expected != "" { // reads work while the disk is full
			if got := a.mustRead(ReadRequest{Dataset: id}); got != expected {
				t.Errorf("after the failed %s: read %q, want %q", what, got, expected)
			}
		}
		f.clear()
		if err := op(); err != nil {
			t.Errorf("%s with the fault gone: %v", what, err)
		}
	}
	write := func(app bool, body, after string) func() error {
		return func() error {
			_, err := a.write(WriteRequest{Dataset: id, Append: app}, body)
			if err == nil {
				expected = after
			}
			return err
		}
	}
	do("create", func() error {
		d, err := a.CreateDataset(t.Context(), user, CreateDatasetRequest{Title: "t"})
		id = d.ID
		return err
	})
	do("write", write(false, "x\n1\n", "x\n1\n"))
	do("append", write(true, "x\n2\n", "x\n1\n2\n"))
	do("replace", write(false, "x\n3\n", "x\n3\n"))
	do("rename", func() error {
		_, err := a.RenameDataset(t.Context(), user, id, "u", "")
		return err
	})
	do("new token", func() error {
		made, _, err := a.CreateApp(t.Context(), user, AppRequest{Name: "n", Scopes: []Scope{ScopeRead}})
		app = made.ID
		return err
	})
	do("tokens", func() error { _, err := a.Apps(t.Context()); return err })
	do("versions", func() error { _, err := a.Versions(t.Context(), user, id); return err })
	do("read", func() error { _, err := a.read(ReadRequest{Dataset: id, Version: 1}); return err })
	do("list", func() error { _, err := a.Datasets(t.Context(), user, "u"); return err })
	do("revoke", func() error { return a.DeleteApp(t.Context(), user, app) })
	do("delete", func() error { return a.DeleteDataset(t.Context(), user, id) })
	return failures
}

func hasCode(err error, codes []fault.Code) bool {
	for _, c := range codes {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}

// everyCall runs the script with call 1 failing, then call 2, until a whole run passes without a failure.
func everyCall(t *testing.T, f *faulty, codes ...fault.Code) {
	t.Helper()
	a := startAgent(t, t.TempDir(), func(_ *Config, o *Options) {
		o.Files = f
		o.KV.FreeSpace = f.free
	})
	a.register()
	runs := 0
	for n := int64(1); ; n++ {
		f.calls.Store(0)
		f.failAt.Store(n)
		if failures := script(t, a, f, codes...); failures == 0 && f.calls.Load() < n {
			break
		}
		f.clear()
		if runs++; t.Failed() || n > 400 {
			t.Fatalf("gave up at call %d", n)
		}
	}
	f.clear()
	a.sweep(nil)
	known, err := a.knownObjects()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.objectFiles() {
		if strings.HasSuffix(p, ".part") || len(known) == 0 {
			t.Errorf("left in the store: %s", p)
		}
	}
	if a.uploads() != 0 {
		t.Errorf("%d names in the journal", a.uploads())
	}
	t.Logf("%d calls failed in turn", runs)
}

func TestF06_DiskFullAtEveryCall(t *testing.T) {
	f := &faulty{with: syscall.ENOSPC}
	f.stay.Store(true)
	everyCall(t, f, fault.StorageFull)
}

func TestF07_FileErrorAtEveryCall(t *testing.T) {
	everyCall(t, &faulty{with: syscall.EIO, short: true}, fault.Unavailable)
}

// TestF06_UnlockOnAFullDisk: what needs no room works, from the password on.
func TestF06_UnlockOnAFullDisk(t *testing.T) {
	f := &faulty{with: syscall.ENOSPC}
	home := t.TempDir()
	change := func(_ *Config, o *Options) {
		o.Files = f
		o.KV.FreeSpace = f.free
	}
	a := startAgent(t, home, change)
	a.register()
	id := a.create("x")
	a.mustWrite(WriteRequest{Dataset: id}, "x\n1\n")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a = startAgent(t, home, change)
	f.stay.Store(true)
	f.failAt.Store(1)
	wantCode(t, "a wrong password", a.Unlock(t.Context(), UnlockRequest{Password: []byte("not it")}), fault.NotAuthentic)
	a.unlock()
	if got := a.mustRead(ReadRequest{Dataset: id}); got != "x\n1\n" {
		t.Errorf("read %q", got)
	}
	_, err := a.write(WriteRequest{Dataset: id}, "x\n2\n")
	wantCode(t, "a write", err, fault.StorageFull)
	f.clear()
	a.mustWrite(WriteRequest{Dataset: id}, "x\n3\n")
}
