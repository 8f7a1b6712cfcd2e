package kv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const cutDisk = "COLDFRAME_TEST_CUT_DISK"

// A real disk that loses power: an ext4 file system on a loop device. What reached the device's file when a write is acknowledged is
// what a disk would hold after a cut; what only the system's memory holds is lost. Needs root and loop devices.
func TestF04_UnsyncedWritesAreLost(t *testing.T) {
	if dir := os.Getenv(cutDisk); dir != "" {
		cutPower(t, dir)
		return
	}
	inChild(t, cutDisk)
}

func cutPower(t *testing.T, dir string) {
	image, disk := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	err := makeImage(image, 256<<20)
	if err == nil {
		err = mountImage(image, disk)
	}
	if err != nil {
		fmt.Println("no disk:", err)
		return
	}
	defer func() { _ = exec.Command("umount", "-l", disk).Run() }()
	cuts, every := 12, uint64(3)
	if nightly() {
		cuts, every = 200, 1
	}
	db, err := Open(filepath.Join(disk, "kv"), Options{memTable: 2 << 20, MinFree: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	n := uint64(0)
	for range cuts {
		for range every {
			n++
			if err := writeNth(db, n); err != nil {
				t.Fatal(err)
			}
		}
		take(t, db.dir) // wait until nothing is being merged: the copy is not made in one moment
		checkCut(t, image, filepath.Join(dir, fmt.Sprintf("cut-%d", n)), n)
	}
	if !t.Failed() {
		fmt.Printf("survived: power was cut %d times in %d transactions\n", cuts, n)
	}
}

// checkCut mounts a copy of the disk and wants transaction n in it.
func checkCut(t *testing.T, image, dir string, n uint64) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "image")
	if out, err := exec.Command("cp", "--sparse=always", image, copied).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v %s", err, out)
	}
	disk := filepath.Join(dir, "disk")
	if err := mountImage(copied, disk); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = exec.Command("umount", "-l", disk).Run()
		_ = os.RemoveAll(dir)
	}()
	db, err := Open(filepath.Join(disk, "kv"), Options{memTable: 2 << 20, MinFree: 1 << 20})
	if err != nil {
		t.Errorf("after transaction %d the store does not open: %v", n, err)
		return
	}
	defer func() { _ = db.Close() }()
	if got, err := stateOf(db); err != nil || got != n {
		t.Errorf("after transaction %d the store shows %d, %v", n, got, err)
	}
}
