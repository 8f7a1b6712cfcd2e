package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// check tries what the engine must not be able to do and says what came of it: `coldframe-engine check`, for whoever wants to see whether this
// system confines it. All is well if every line says refused.
func check() int {
	code := exitDone
	for _, try := range []struct {
		what string
		do   func() error
	}{
		{"read a file", func() error { return readable("/etc/passwd") }},
		{"read its own program", func() error { return readable("/proc/self/exe") }},
		{"list a folder", func() error { return readable("/") }},
		{"write a file", func() error {
			_, err := unix.Open("/tmp/coldframe-engine-check", unix.O_CREAT|unix.O_WRONLY, 0o600)
			return err
		}},
		{"make a network socket", func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err }},
		{"make a local socket", func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }},
		{"start a process", func() error { _, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{}); return err }},
		{"become another program", func() error { return unix.Exec("/bin/true", []string{"true"}, nil) }},
		{"signal its parent", func() error { return unix.Kill(unix.Getppid(), 0) }},
		{"trace its parent", func() error { return unix.PtraceAttach(unix.Getppid()) }},
		{"make executable memory", func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
			return err
		}},
		{"raise its limits", func() error { return unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}, nil) }},
	} {
		err := try.do()
		if err == nil {
			code = exitFault
			fmt.Println("POSSIBLE:", try.what)
			continue
		}
		var number syscall.Errno
		errors.As(err, &number)
		fmt.Printf("refused: %s (%v)\n", try.what, number)
	}
	return code
}

func readable(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd) //nolint:errcheck // only read from
	}
	return err
}
