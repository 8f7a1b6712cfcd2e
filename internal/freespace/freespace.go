//go:build unix

// Package freespace tells how much an ordinary user may still write to a file system: who asks before writing fails early and whole,
// and not in the middle.
package freespace

import (
	"os"

	"golang.org/x/sys/unix"
)

// Of returns the free bytes of the file system that dir is in.
func Of(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return free(&s), nil
}

// In is Of for an open folder, whatever its path is by now.
func In(root *os.Root) (uint64, error) {
	d, err := root.Open(".")
	if err != nil {
		return 0, err
	}
	defer func() { _ = d.Close() }() // only read
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &s); err != nil {
		return 0, err
	}
	return free(&s), nil
}

func free(s *unix.Statfs_t) uint64 { return s.Bavail * uint64(s.Bsize) } //nolint:gosec,unconvert // a block size is not negative; types differ by system
