//go:build !linux

package cache

import (
	"math"
	"os"
)

// Free knows nothing here: the guard is left to the write itself.
func (system) Free(*os.Root) (uint64, error) { return math.MaxUint64, nil }
