package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapRegion maps size bytes that are locked. What the system refuses, or has no call for, is a warning.
// It panics if there is no memory at all.
func mapRegion(size int) (region []byte, warnings []string) {
	region, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		panic("secret: no memory for keys: " + err.Error())
	}
	if err := unix.Mlock(region); err != nil {
		warnings = append(warnings, fmt.Sprintf("keys may be swapped out: mlock: %v", err))
	}
	return region, append(warnings, "keys are not kept out of core files by this system; a core limit of 0 is")
}
