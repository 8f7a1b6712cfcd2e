// Package querytest builds the query engine for tests. Nothing but tests may import it.
package querytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
