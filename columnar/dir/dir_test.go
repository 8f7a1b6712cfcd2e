package dir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"coldframe/columnar"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o Options) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "objects")
	s, err := New(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // end of the test
	return s, path
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) columnar.Store {
		s, _ := open(t, Options{})
		return s
	})
}

// files returns the paths of all files below a folder.
func files(t *testing.T, path string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestModes(t *testing.T) {
	s, path := open(t, Options{})
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{"": os.ModeDir | 0o700, fan(name): os.ModeDir | 0o700, place(name): 0o600} {
		info, err := os.Stat(filepath.Join(path, p))
		if err != nil || info.Mode() != want {
			t.Errorf("%q: %v, %v; want %v", p, info.Mode(), err, want)
		}
	}
}

// TestL13_LinksLeadNowhere puts links and a pipe where objects should be.
func TestL13_LinksLeadNowhere(t *testing.T) {
	s, path := open(t, Options{})
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.MkdirAll(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	object := func() (columnar.ObjectName, string) {
		name := columnar.NewObjectName()
		if err := os.MkdirAll(filepath.Join(path, fan(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		return name, filepath.Join(path, place(name))
	}
	for _, target := range []string{secret, "../../outside/secret", "../../../../../../../etc/passwd"} {
		name, at := object()
		if err := os.Symlink(target, at); err != nil {
			t.Fatal(err)
		}
		if got, err := storetest.Get(t.Context(), s, name, 0, 1); err == nil {
			t.Errorf("read %q through a link", got)
		}
		if _, err := s.Size(t.Context(), name); !errors.Is(err, fault.NotFound) {
			t.Errorf("size through a link: %v", err)
		}
		if err := storetest.Put(t.Context(), s, name, []byte("over")); !errors.Is(err, fault.Conflict) {
			t.Errorf("write through a link: %v", err)
		}
	}
	name, at := object()
	if err := syscall.Mkfifo(at, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := storetest.Get(t.Context(), s, name, 0, 1); !errors.Is(err, fault.NotFound) {
		t.Errorf("read of a pipe: %v", err)
	}
	folder := columnar.NewObjectName()
	os.RemoveAll(filepath.Join(path, fan(folder))) //nolint:errcheck // perhaps another object's
	if err := os.Symlink(outside, filepath.Join(path, fan(folder))); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Put(t.Context(), s, folder, []byte("out")); err == nil {
		t.Error("wrote through a linked folder")
	}
	if got, err := os.ReadFile(secret); err != nil || string(got) != "secret" {
		t.Errorf("the file outside is now %q, %v", got, err)
	}
	if n := len(files(t, outside)); n != 1 {
		t.Errorf("%d files outside", n)
	}
	if err := s.List(t.Context(), func(columnar.ObjectName, int64, time.Time) error {
		t.Error("a link or a pipe is listed")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestD05_ForeignFiles leaves out of the listing what is not ours.
func TestD05_ForeignFiles(t *testing.T) {
	s, path := open(t, Options{})
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, []byte("mine")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"README", "zz/README", "zz/" + string(name), "lost+found/x", fan(name) + "/" + strings.ToUpper(string(name))} {
		os.MkdirAll(filepath.Join(path, filepath.Dir(p)), 0o700) //nolint:errcheck // the write shows it
		if err := os.WriteFile(filepath.Join(path, p), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []columnar.ObjectName
	if err := s.List(t.Context(), func(n columnar.ObjectName, _ int64, _ time.Time) error { got = append(got, n); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != name {
		t.Fatalf("listed %v", got)
	}
}

func TestAbortUploadsOfADeadProcess(t *testing.T) {
	s, path := open(t, Options{})
	name := columnar.NewObjectName()
	u, err := s.Create(t.Context(), name, columnar.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	again, err := New(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if len(files(t, path)) != 1 {
		t.Fatal("no unfinished file")
	}
	if err := again.AbortUploads(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if left := files(t, path); len(left) != 0 {
		t.Fatalf("left: %v", left)
	}
	if u.Close() == nil {
		t.Fatal("an upload that was ended from outside was closed")
	}
}

func TestReaderIsCut(t *testing.T) {
	s, path := open(t, Options{})
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, storetest.Bytes(1, 10_000)); err != nil {
		t.Fatal(err)
	}
	r, err := s.ReadRange(t.Context(), name, 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(filepath.Join(path, place(name)), 100); err != nil {
		t.Fatal(err)
	}
	n, err := r.Read(make([]byte, 10_000))
	if n != 100 || !errors.Is(err, fault.Incomplete) {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

func TestCancelledReader(t *testing.T) {
	s, _ := open(t, Options{})
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.ReadRange(ctx, name, 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	if n, err := r.Read(make([]byte, 3)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

// TestF11_FolderIsGone tells a folder that somebody removed from objects that are missing.
func TestF11_FolderIsGone(t *testing.T) {
	s, path := open(t, Options{})
	name := columnar.NewObjectName()
	if err := storetest.Put(t.Context(), s, name, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(path, fan(name))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Size(t.Context(), name); !errors.Is(err, fault.NotFound) {
		t.Errorf("size of a missing object: %v", err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	_, size := s.Size(t.Context(), name)
	_, read := s.ReadRange(t.Context(), name, 0, 1)
	_, create := s.Create(t.Context(), columnar.NewObjectName(), columnar.CreateOptions{})
	list := s.List(t.Context(), func(columnar.ObjectName, int64, time.Time) error { return nil })
	for what, err := range map[string]error{
		"size": size, "read": read, "create": create, "list": list,
		"delete": s.Delete(t.Context(), name), "abort": s.AbortUploads(t.Context(), name),
	} {
		if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "the folder of the store is gone") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
