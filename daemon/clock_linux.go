package daemon

import (
	"time"

	"golang.org/x/sys/unix"
)

type systemClock struct{}

func (systemClock) Now() time.Time           { return time.Now() }
func (systemClock) Monotonic() time.Duration { return readClock(unix.CLOCK_MONOTONIC) }
func (systemClock) Boottime() time.Duration  { return readClock(unix.CLOCK_BOOTTIME) }

func readClock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic("daemon: no monotonic clock: " + err.Error())
	}
	return time.Duration(ts.Nano())
}
