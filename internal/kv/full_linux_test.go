package kv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coldframe/internal/fault"
)

// smallDisk is where the child finds its file system.
const smallDisk = "COLDFRAME_TEST_SMALL_DISK"

// A real file system of 24 MiB that fills up: the process lives, the answer is storage_full, reads work, and with room it goes on.
// The file system is mounted by root, or in a user namespace of its own.
func TestF06_SmallFileSystem(t *testing.T) {
	if dir := os.Getenv(smallDisk); dir != "" {
		if err := unix.Mount("none", dir, "tmpfs", 0, "size=24m"); err != nil {
			fmt.Println("no mount:", err)
			return
		}
		defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
		fillSmallDisk(t, dir)
		return
	}
	args := []string{os.Args[0], "-test.run=^TestF06_SmallFileSystem$", "-test.v"}
	if os.Geteuid() != 0 {
		args = append([]string{"unshare", "-Urm"}, args...)
	} else {
		args = append([]string{"unshare", "-m"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	out, err := cmd.CombinedOutput()
	switch {
	case strings.Contains(string(out), "survived"):
		t.Logf("%s", out)
	case strings.Contains(string(out), "no mount"), errors.Is(err, exec.ErrNotFound), strings.HasPrefix(string(out), "unshare:"):
		if os.Getenv("CI") == "true" {
			t.Fatalf("no file system to fill: %v\n%s", err, out)
		}
		t.Skipf("no file system to fill: %v %s", err, out)
	}
	if err != nil {
		t.Errorf("the process died: %v\n%s", err, out)
	}
}

func fillSmallDisk(t *testing.T, dir string) {
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 6<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	// Badger is given little room of its own on so small a disk: a quarter of its usual tables, an eighth of the reserve.
	db, err := Open(filepath.Join(dir, "kv"), Options{MinFree: 8 << 20, memTable: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	r := rand.New(rand.NewPCG(1, 2))
	written := fill(t, db, r, 0)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	more := fill(t, db, r, written)
	if more == written {
		t.Error("with room again nothing more was written")
	}
	fmt.Printf("survived: %d records, then %d\n", written, more)
}

// fill writes records until the disk is full, and reads them all.
func fill(t *testing.T, db *DB, r *rand.Rand, from int) int {
	n := from
	for ; ; n++ {
		value := make([]byte, 40<<10+r.IntN(1000))
		value[0] = byte(n)
		err := db.Update(func(tx *Tx) error { return tx.Set(fmt.Sprintf("k/%05d", n), value) })
		if errors.Is(err, fault.StorageFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n > 10_000 {
			t.Fatal("the disk is never full")
		}
	}
	seen := 0
	err := db.View(func(tx *Tx) error {
		return tx.Scan("k/", func(key string, value []byte) error {
			if key != fmt.Sprintf("k/%05d", seen) || value[0] != byte(seen) {
				return fmt.Errorf("%s where record %d should be", key, seen)
			}
			seen++
			return nil
		})
	})
	if err != nil || seen != n {
		t.Errorf("%d of %d records can be read: %v", seen, n, err)
	}
	return n
}
