package secret

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// flagsAt returns the VmFlags of the mapping that holds addr (proc(5), smaps).
func flagsAt(t *testing.T, addr uintptr) []string {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	inside := false
	for s := bufio.NewScanner(f); s.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(s.Text(), "%x-%x ", &from, &to); n == 2 {
			inside = from <= addr && addr < to
		}
		if rest, ok := strings.CutPrefix(s.Text(), "VmFlags:"); ok && inside {
			return strings.Fields(rest)
		}
	}
	t.Fatal("no such mapping")
	return nil
}

func TestL22_KeysAreInLockedMemory(t *testing.T) {
	k := Random()
	flags := flagsAt(t, uintptr(unsafe.Pointer(k.h.slot)))
	if warnings := keys.probe(); len(warnings) > 0 {
		t.Skipf("the system refused: %q", warnings)
	}
	for _, want := range []string{"lo", "dd", "wf"} { // locked, not dumped, wiped on fork
		if !slices.Contains(flags, want) {
			t.Errorf("the memory of keys has flags %v, not %s", flags, want)
		}
	}
}

// The checks run in a child, as they change the whole process.
func TestL22_Harden(t *testing.T) {
	const child = "COLDFRAME_TEST_HARDEN"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestL22_Harden$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "hardened") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	t.Logf("warnings: %q", Harden())
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("dumpable = %d, %v", dumpable, err)
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core != (unix.Rlimit{}) {
		t.Errorf("core limit = %+v, %v", core, err)
	}
	if old := unix.Umask(0o077); old != 0o077 {
		t.Errorf("umask = %04o", old)
	}
	t.Log("hardened")
}

// A system that locks nothing (RLIMIT_MEMLOCK 0) costs a warning, never the process.
func TestNoLockedMemoryIsAWarning(t *testing.T) {
	const child = "COLDFRAME_TEST_MEMLOCK"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoLockedMemoryIsAWarning$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "went on") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{}); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // capabilities belong to a thread
	dropLockCapability(t)
	warnings := Harden()
	if !strings.Contains(strings.Join(warnings, ";"), "mlock") {
		t.Errorf("warnings = %q", warnings)
	}
	if k := Random(); k.IsZero() || !k.Equal(k.Clone()) {
		t.Error("no key without locked memory")
	}
	t.Log("went on")
}

// dropLockCapability takes the right to lock beyond the limit from this thread.
func dropLockCapability(t *testing.T) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	for _, set := range []*uint32{&data[0].Effective, &data[0].Permitted} {
		*set &^= 1 << unix.CAP_IPC_LOCK
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
}
