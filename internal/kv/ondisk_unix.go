//go:build unix

package kv

import (
	"io/fs"
	"syscall"
)

// onDisk returns how many bytes a file takes on the disk.
func onDisk(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Blocks) * 512
	}
	return uint64(info.Size())
}
