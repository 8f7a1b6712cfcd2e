package daemon

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"coldframe/internal/fault"
)

// runLock keeps a second agent out of a runtime folder. The kernel lets go of it when the process dies, so there is nothing stale.
type runLock struct{ f *os.File }

// takeRunLock locks the folder, or returns fault.Conflict if a live agent has it.
func takeRunLock(dir string) (*runLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Policy, err, "the lock file in the runtime folder cannot be opened")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.Conflict, "another agent runs with this runtime folder")
		}
		return nil, fault.Wrap(fault.Unavailable, err, "the runtime folder cannot be locked")
	}
	return &runLock{f: f}, nil
}

func (l *runLock) release() {
	if l != nil {
		_ = l.f.Close() // nothing was written
	}
}
