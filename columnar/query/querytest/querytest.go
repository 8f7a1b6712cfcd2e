// Package querytest builds the query engine for tests, and counts those that run. Nothing but tests may import it.
package querytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Engine builds coldframe-engine, unless it is there and up to date, and returns its path. The first time takes a minute or two.
func Engine(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..", "..")
	program, err := build(root)
	if err != nil {
		t.Fatalf("build the query engine: %v", err)
	}
	return program
}

// build is one at a time, whoever runs it: tests of several packages do at once.
func build(root string) (string, error) {
	cache := filepath.Join(root, ".cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "engine.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close() //nolint:errcheck // and with it the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	program := filepath.Join(cache, "coldframe-engine")
	cmd := exec.Command("make", "--no-print-directory", "-C", root, "engine", "ENGINE="+program)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &failure{err, out}
	}
	return program, nil
}

type failure struct {
	err error
	out []byte
}

func (f *failure) Error() string { return f.err.Error() + "\n" + string(f.out) }

// Running returns the processes of engines that this test process started and that have not ended.
func Running() []int {
	var pids []int
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, s := range strings.Fields(string(b)) {
			pid, _ := strconv.Atoi(s)
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.HasPrefix(string(comm), "coldframe-engin") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
