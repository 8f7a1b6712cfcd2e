package daemon

import "time"

// Clock is where the agent takes time from. Wall time is for records that people read; every timeout uses the other two (R17).
type Clock interface {
	Now() time.Time
	Monotonic() time.Duration // stands still while the machine sleeps
	Boottime() time.Duration  // goes on while the machine sleeps
}

// suspendGap is by how much the two clocks must part between two looks to count as a sleep of the machine.
const suspendGap = 2 * time.Second

// sleepWatch notices that the machine slept. Not safe for use by several goroutines.
type sleepWatch struct {
	clock Clock
	ahead time.Duration // Boottime - Monotonic at the last look
}

func newSleepWatch(c Clock) *sleepWatch { return &sleepWatch{c, c.Boottime() - c.Monotonic()} }

// slept reports whether the machine slept since the last call.
func (w *sleepWatch) slept() bool {
	before := w.ahead
	w.ahead = w.clock.Boottime() - w.clock.Monotonic()
	return w.ahead-before > suspendGap
}

// idleTimer decides when the agent locks by itself. Not safe for use by several goroutines.
type idleTimer struct {
	clock     Clock
	last      time.Duration // Boottime of the last activity
	sleep     *sleepWatch
	idle      time.Duration // 0: never
	onSuspend bool
}

func newIdleTimer(c Clock, l Lock) *idleTimer {
	t := &idleTimer{clock: c, idle: l.Idle(), onSuspend: l.OnSuspend, sleep: newSleepWatch(c)}
	t.last = c.Boottime()
	return t
}

func (t *idleTimer) touch() { t.last = t.clock.Boottime() }

// due reports whether the agent should lock now: idle for too long, or the machine slept since the last call.
func (t *idleTimer) due() bool {
	boot := t.clock.Boottime()
	slept := t.sleep.slept() && t.onSuspend
	return slept || (t.idle > 0 && boot-t.last >= t.idle)
}
