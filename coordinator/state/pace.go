package state

import (
	"fmt"
	"sync"
	"time"

	"coldframe/internal/fault"
)

// WaitError is fault.Busy for a user who wrote too much, with the time after which to try again.
type WaitError struct{ After time.Duration }

func (e *WaitError) Error() string { return fmt.Sprintf("%v: for %v", e.Unwrap(), e.After) }

// Unwrap returns the failure.
func (e *WaitError) Unwrap() error {
	return fault.New(fault.Busy, "too much was written in a short time")
}

// pace bounds the bytes that each user writes: what is written over takes room on the disk until it is cleaned up. It counts in this process alone.
type pace struct {
	burst, rate int64 // bytes, and bytes a second; a rate of 0 is no bound
	elapsed     func() time.Duration

	mu   sync.Mutex
	free map[UserID]time.Duration // when the whole burst is there again; users for whom it is need not be here
}

// maxPaced is how many users are remembered; those for whom the burst is whole again go first.
const maxPaced = 1 << 17

func newPace(o Options) *pace {
	return &pace{burst: o.Limits.WriteBurst, rate: o.Limits.WriteRate, elapsed: o.Elapsed, free: map[UserID]time.Duration{}}
}

func (p *pace) cost(n int64) time.Duration {
	return time.Duration(float64(n) / float64(p.rate) * float64(time.Second))
}

// take counts n bytes, or returns a WaitError.
func (p *pace) take(user UserID, n int64) error {
	if p.rate == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, most := p.elapsed(), p.cost(p.burst)
	free := min(max(p.free[user], now), now+most) + p.cost(n)
	if wait := free - now - most; wait > 0 {
		return &WaitError{After: wait}
	}
	if len(p.free) >= maxPaced {
		p.forget(now)
	}
	p.free[user] = free
	return nil
}

func (p *pace) forget(now time.Duration) {
	for user, free := range p.free {
		if free <= now {
			delete(p.free, user)
		}
	}
	for user := range p.free {
		if len(p.free) < maxPaced*3/4 {
			return
		}
		delete(p.free, user)
	}
}
