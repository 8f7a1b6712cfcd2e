package keystore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"coldframe/internal/atomicfile"
	"coldframe/internal/fault"
	"coldframe/internal/kv"
	"coldframe/keystore"
	"coldframe/keystore/keystoretest"
)

// Power goes between commit and anchor, or the disk loses one of the two: for every pair of moments of database and anchor, the vault
// opens at the database's state if that is not the older one, and is fault.RolledBack if it is.
func TestF04_DatabaseAndAnchorOfDifferentMoments(t *testing.T) {
	r := newRig(t)
	r.register()
	path := filepath.Join(r.dir, "vault.anchor")
	type moment struct {
		records map[string][]byte
		anchor  []byte
		body    string
	}
	var moments []moment
	for _, body := range []string{"one", "two", "three", "four", "five"} {
		r.put("a", body)
		moments = append(moments, moment{r.records(), readFile(t, path), body})
	}
	r.vault.Lock()
	for i, db := range moments {
		for j, anchor := range moments {
			r.replace(db.records)
			if err := os.WriteFile(path, anchor.anchor, 0o600); err != nil {
				t.Fatal(err)
			}
			err := r.unlock()
			if i < j {
				wantCode(t, err, fault.RolledBack)
				continue
			}
			if err != nil {
				t.Fatalf("database of moment %d, anchor of %d: %v", i, j, err)
			}
			r.wants("a", db.body)
			if !bytes.Equal(readFile(t, path), db.anchor) {
				t.Fatal("the anchor did not follow")
			}
			r.vault.Lock()
		}
	}
}

// The last record of the log is torn: the process died, and of the last change only the first n bytes are there. The vault opens with
// the change, or says that it is older than it was; it never opens as it was before as if nothing had happened.
func TestF05_TornTail(t *testing.T) {
	r := newRig(t)
	r.register()
	r.put("a", "before")
	logs, err := filepath.Glob(filepath.Join(r.dir, "db", "*.mem"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	before := readFile(t, logs[0])
	r.put("a", "after")
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(r.dir)); err != nil {
		t.Fatal(err)
	}
	after := readFile(t, logs[0])
	start, end := differing(before, after)
	step := max((end-start)/12, 1)
	if os.Getenv("COLDFRAME_NIGHTLY") != "" {
		step = 1
	}
	opened, refused := 0, 0
	cuts := []int{end}
	for cut := start; cut < end; cut += step {
		cuts = append(cuts, cut)
	}
	for _, cut := range cuts {
		torn := newTorn(t, copied, filepath.Base(logs[0]), after[:cut])
		db, err := kv.Open(filepath.Join(torn, "db"), kv.Options{})
		if err != nil {
			if fault.CodeOf(err) == fault.Internal {
				t.Fatalf("cut at %d: untyped %v", cut, err)
			}
			refused++
			continue
		}
		o := r.options()
		o.Dir = torn
		v := keystore.New(db, o)
		err = v.Unlock(t.Context(), []byte(password), keystore.UnlockOptions{})
		switch {
		case err == nil:
			if it, err := v.Get("a"); err != nil || string(it.Body) != "after" {
				t.Errorf("cut at %d: opened with %q, %v", cut, it.Body, err)
			}
			opened++
		case errors.Is(err, fault.RolledBack):
			refused++
		default:
			t.Errorf("cut at %d: %v", cut, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d bytes, opened %d, refused %d", end-start, opened, refused)
	if opened != 1 || refused != len(cuts)-1 {
		t.Fatal("only the whole record opens")
	}
}

// differing returns the range in which two states of a log differ.
func differing(a, b []byte) (start, end int) {
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end = len(b)
	for end > start && b[end-1] == 0 {
		end--
	}
	return start, end
}

// newTorn returns a copy of dir whose log holds only those bytes, and zeros after them.
func newTorn(t *testing.T, dir, log string, head []byte) string {
	t.Helper()
	torn := t.TempDir()
	if err := os.CopyFS(torn, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(torn, "db", log)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, head, 0o600), os.Truncate(path, info.Size())); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"account.key", "vault.anchor"} {
		if err := os.Chmod(filepath.Join(torn, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return torn
}

// fullDisk is the system's file layer on a disk that may be full.
type fullDisk struct {
	atomicfile.Layer
	full bool
}

func (d *fullDisk) CreateExclusive(path string, perm fs.FileMode) (atomicfile.File, error) {
	if d.full {
		return nil, unix.ENOSPC
	}
	return d.Layer.CreateExclusive(path, perm)
}

func TestF06_FullDisk(t *testing.T) {
	r := &rig{t: t, dir: t.TempDir()}
	disk := &fullDisk{Layer: atomicfile.OS}
	r.files = disk
	db, err := kv.Open(filepath.Join(r.dir, "db"), kv.Options{FreeSpace: func(string) (uint64, error) {
		if disk.full {
			return 1 << 20, nil
		}
		return 1 << 40, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.db, r.vault = db, keystore.New(db, r.options())
	t.Cleanup(func() { _ = db.Close() })
	ctx := t.Context()

	disk.full = true
	_, err = r.vault.Register(ctx, keystore.Registration{Email: email, Password: []byte(password)})
	wantCode(t, err, fault.StorageFull)
	if s := r.vault.State(); s != keystore.None {
		t.Fatal(s)
	}
	disk.full = false
	kit := r.register()
	r.put("a", "one")

	disk.full = true
	update := func() error {
		return r.vault.Update(func(tx *keystore.Tx) error {
			return tx.Put(keystore.Item{ID: "a", Kind: "metadata", Body: []byte("two")})
		})
	}
	_, enable := r.vault.EnableUnattended(ctx, []byte(password))
	_, move := keystoretest.NewKit(ctx, r.vault, []byte(password), "new@example.net")
	for name, err := range map[string]error{
		"update": update(), "unattended": enable, "address": move,
		"password": r.vault.ChangePassword(ctx, []byte(password), []byte(another)),
		"recover":  r.vault.Recover(ctx, kit, []byte(another)),
	} {
		if !errors.Is(err, fault.StorageFull) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.wants("a", "one")
	r.vault.Lock()
	wantCode(t, r.unlockWith(another), fault.NotAuthentic)
	if err := r.unlock(); err != nil {
		t.Fatal("a full disk keeps the user from reading:", err)
	}
	r.wants("a", "one")

	disk.full = false
	if err := update(); err != nil {
		t.Fatal(err)
	}
	r.vault.Lock()
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	r.wants("a", "two")
}

// The anchor cannot be written, the database can: the change stands, the user is told, and the next opening mends it.
func TestF06_AnchorCannotBeWritten(t *testing.T) {
	r := newRig(t)
	disk := &fullDisk{Layer: atomicfile.OS}
	r.files = disk
	r.vault = keystore.New(r.db, r.options())
	r.register()
	path := filepath.Join(r.dir, "vault.anchor")
	before := readFile(t, path)
	disk.full = true
	r.put("a", "one")
	if !r.saw(keystore.EventAnchorBehind) || !bytes.Equal(before, readFile(t, path)) {
		t.Fatal(r.events)
	}
	disk.full = false
	r.vault.Lock()
	if err := r.unlock(); err != nil {
		t.Fatal(err)
	}
	r.wants("a", "one")
	if bytes.Equal(before, readFile(t, path)) {
		t.Fatal("the anchor is still behind")
	}
}
