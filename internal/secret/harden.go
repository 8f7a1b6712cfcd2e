//go:build unix

package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// privateUmask takes every right from group and others.
const privateUmask = 0o077

// Harden makes the process keep its secrets to itself (THREATS L22): no core files, not dumpable (so no other process of the user
// may attach to it), files and sockets private from birth, keys in locked memory. Call it first in main. What the system refused is
// in warnings, for the log: the process goes on.
func Harden() (warnings []string) {
	unix.Umask(privateUmask)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		warnings = append(warnings, fmt.Sprintf("core files are not off: %v", err))
	}
	if err := setNotDumpable(); err != nil {
		warnings = append(warnings, fmt.Sprintf("the process stays dumpable: %v", err))
	}
	return append(warnings, keys.probe()...)
}
