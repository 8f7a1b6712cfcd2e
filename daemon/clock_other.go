//go:build !linux

package daemon

import "time"

// systemClock takes the wall clock for the one that goes on while the machine sleeps: Go's monotonic one stands still then.
type systemClock struct{}

var processStart = time.Now()

func (systemClock) Now() time.Time           { return time.Now() }
func (systemClock) Monotonic() time.Duration { return time.Since(processStart) }
func (systemClock) Boottime() time.Duration  { return time.Now().Round(0).Sub(processStart.Round(0)) }
