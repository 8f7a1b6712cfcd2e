package kv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coldframe/internal/fault"
)

// Every call that makes a file longer fails from write n on, for n = 1, 2, 3 …: the system is told to let this process make no file
// longer. That hits a new write-ahead file, the list of tables and ACKNOWLEDGED, each for real. It happens in a process of its own,
// because the test's own log would be hit as well.
func TestF07_FailingWriteAtN(t *testing.T) {
	if os.Getenv(noGrowth) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), noGrowth+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+"/n=0") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(unix.SIGXFSZ)
	step := 7
	if nightly() {
		step = 1
	}
	for n := 0; n < 60; n += step {
		t.Run(fmt.Sprintf("n=%d", n), func(t *testing.T) { failWritesFrom(t, n) })
	}
}

const noGrowth = "COLDFRAME_TEST_NO_GROWTH"

func failWritesFrom(t *testing.T, n int) {
	dir := t.TempDir()
	db, err := Open(dir, Options{memTable: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	restore := func() { _ = unix.Setrlimit(unix.RLIMIT_FSIZE, &old) }
	defer restore()
	acknowledged := 0
	for ; acknowledged < 200; acknowledged++ {
		if acknowledged == n {
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 0, Max: old.Max}); err != nil {
				t.Fatal(err)
			}
		}
		if err = acknowledge(db, acknowledged); err != nil {
			break
		}
	}
	restore()
	if !errors.Is(err, fault.Unavailable) || acknowledged < n {
		t.Fatalf("%d writes were acknowledged, then: %v", acknowledged, err)
	}
	checkRefusesUntilReopened(t, db, dir, acknowledged)
}

const badDisk = "COLDFRAME_TEST_BAD_DISK"

// A real disk that cannot write: an ext4 file system on a loop device whose own file cannot grow. The system takes the writes and
// fails the fsync. The file system itself is damaged then, so what it holds is not looked at. Needs root and loop devices.
func TestF07_FailingFsync(t *testing.T) {
	if dir := os.Getenv(badDisk); dir != "" {
		onBadDisk(t, dir)
		return
	}
	inChild(t, badDisk)
}

// inChild runs the test once more in a process that may mount things and keep them to itself; variable names a directory for it. The
// child prints "no disk:" if it may not, which fails the test in CI, and "survived" when all was well.
func inChild(t *testing.T, variable string) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	if os.Geteuid() != 0 {
		skip("needs root, to mount a disk")
	}
	cmd := exec.Command("unshare", "-m", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+t.TempDir())
	out, err := cmd.CombinedOutput()
	switch {
	case strings.Contains(string(out), "no disk:"), strings.HasPrefix(string(out), "unshare:"):
		skip("no disk to try this on: %s", out)
	case err != nil || !strings.Contains(string(out), "survived"):
		t.Errorf("%v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
}

func onBadDisk(t *testing.T, dir string) {
	image := filepath.Join(dir, "small", "image")
	disk := filepath.Join(dir, "disk")
	err := os.MkdirAll(filepath.Dir(image), 0o700)
	if err == nil {
		err = unix.Mount("none", filepath.Dir(image), "tmpfs", 0, "size=12m")
	}
	if err == nil {
		err = makeImage(image, 256<<20, "-O", "^has_journal")
	}
	if err == nil {
		err = mountImage(image, disk)
	}
	if err != nil {
		fmt.Println("no disk:", err)
		return
	}
	defer func() { _ = exec.Command("umount", "-l", disk).Run() }()
	db, err := Open(filepath.Join(disk, "kv"), Options{MinFree: 1 << 20, memTable: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	for err = acknowledge(db, 0); err == nil && acknowledged < 1000; err = acknowledge(db, acknowledged) {
		acknowledged++
	}
	if !errors.Is(err, fault.Unavailable) {
		t.Fatalf("%d writes were acknowledged, then: %v", acknowledged, err)
	}
	failure := err
	for range 3 {
		if err := acknowledge(db, acknowledged); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a write after the failure: %v", err)
		}
	}
	if err := db.View(func(*Tx) error { return nil }); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a read after the failure: %v", err)
	}
	if !t.Failed() {
		fmt.Printf("survived: %d writes, then %v\n", acknowledged, failure)
	}
}

// makeImage makes an ext4 file system of size bytes in a file that takes no more room than it needs.
func makeImage(image string, size int64, options ...string) error {
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
		return err
	}
	args := append(options, "-q", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", image)
	if out, err := exec.Command("mkfs.ext4", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs: %w %s", err, out)
	}
	return nil
}

// mountImage mounts the file system in a file on a folder, which it makes.
func mountImage(image, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if out, err := exec.Command("mount", "-o", "loop", image, folder).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w %s", err, out)
	}
	return nil
}
