package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapRegion maps size bytes that are locked, not dumped and zero in a forked child. What the system refuses is a warning.
// It panics if there is no memory at all.
func mapRegion(size int) (region []byte, warnings []string) {
	region, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic("secret: no memory for keys: " + err.Error())
	}
	if err := unix.Mlock(region); err != nil {
		warnings = append(warnings, fmt.Sprintf("keys may be swapped out: mlock: %v", err))
	}
	if err := unix.Madvise(region, unix.MADV_DONTDUMP); err != nil {
		warnings = append(warnings, fmt.Sprintf("keys may be in core files: madvise: %v", err))
	}
	if err := unix.Madvise(region, unix.MADV_WIPEONFORK); err != nil {
		warnings = append(warnings, fmt.Sprintf("a forked child may see keys: madvise: %v", err))
	}
	return region, warnings
}
