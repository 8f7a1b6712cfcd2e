package keystore

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/kv"
)

// After freeFailures wrong tries each further one must wait: firstWait, doubled with every failure up to maxWait (THREATS V12).
const (
	freeFailures = 5
	firstWait    = time.Second
	maxWait      = 5 * time.Minute
)

// throttle counts wrong passwords. The record in the database outlives a restart:
//
//	failures (4, big-endian) ‖ time of the last one (8, Unix milliseconds)
//
// It is no secret and not authenticated: whoever writes to the disk needs no unlock call to guess.
type throttle struct {
	loaded   bool
	failures uint32
	last     time.Time // with a monotonic reading if it happened in this process
}

// Throttled is the cause inside a fault.Busy: too many wrong passwords.
type Throttled struct{ RetryAfter time.Duration }

func (t *Throttled) Error() string { return "too many wrong passwords" }

// RetryAfter returns how long to wait before the next try, if err is a refusal by the throttle.
func RetryAfter(err error) (time.Duration, bool) {
	t, ok := errors.AsType[*Throttled](err)
	if !ok {
		return 0, false
	}
	return t.RetryAfter, true
}

func waitAfter(failures uint32) time.Duration {
	if failures < freeFailures {
		return 0
	}
	return min(firstWait<<min(failures-freeFailures, 16), maxWait)
}

// remaining returns how long the next try must wait at the given time. A clock that went back starts the wait anew, so that no
// clock makes it longer than maxWait.
func (t *throttle) remaining(now time.Time) (wait time.Duration, wentBack bool) {
	elapsed := now.Sub(t.last)
	if wentBack = t.failures > 0 && elapsed < 0; wentBack {
		t.last, elapsed = now, 0
	}
	return max(waitAfter(t.failures)-elapsed, 0), wentBack
}

func (t *throttle) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, t.failures)
	return binary.BigEndian.AppendUint64(b, uint64(t.last.UnixMilli()))
}

// parseThrottle reads the record. One that is damaged counts as the longest wait from now on: state that is unreadable is no fresh
// start (THREATS R10).
func parseThrottle(in []byte, now time.Time) throttle {
	if len(in) != 12 {
		return throttle{loaded: true, failures: freeFailures + 16, last: now}
	}
	return throttle{
		loaded:   true,
		failures: binary.BigEndian.Uint32(in),
		last:     time.UnixMilli(int64(binary.BigEndian.Uint64(in[4:]))),
	}
}

// attempt judges one password or kit. judge reports whether the secret was the right one, whatever happened afterwards; an error of
// fault.NotAuthentic without that is a wrong one. The failure is counted, durably, before judge runs (THREATS R6): ending the process
// in the middle gains no try. Anything else (a cancelled wait, a failed disk) is not counted.
func (v *Vault) attempt(ctx context.Context, judge func() (right bool, err error)) error {
	defer scrubbed()()
	end, err := v.turn(ctx)
	if err != nil {
		return err
	}
	defer end()
	before, err := v.beginAttempt()
	if err != nil {
		return err
	}
	right, err := judge()
	switch {
	case right:
		v.resetThrottle(throttle{loaded: true})
	case errors.Is(err, fault.NotAuthentic):
		v.wrong()
	default:
		v.resetThrottle(before)
	}
	return err
}

// resetThrottle takes a counted failure back. If the disk fails, one failure too many is on record, which is the safe side.
func (v *Vault) resetThrottle(t throttle) {
	if err := v.setThrottle(t); err != nil {
		v.o.Logger.Error("a try was not taken off the record", "code", string(fault.CodeOf(err)))
	}
}

// beginAttempt refuses during a wait, else counts a failure. It returns the count before.
func (v *Vault) beginAttempt() (throttle, error) {
	now := v.o.Clock()
	if err := v.loadThrottle(now); err != nil {
		return throttle{}, err
	}
	wait, wentBack := v.throttle.remaining(now)
	if wentBack {
		v.notify(EventClockWentBack)
		if err := v.setThrottle(v.throttle); err != nil {
			return throttle{}, err
		}
	}
	if wait > 0 {
		v.notify(EventThrottled)
		return throttle{}, fault.Wrap(fault.Busy, &Throttled{RetryAfter: wait}, "too many wrong passwords: wait %d s", wholeSeconds(wait))
	}
	before := v.throttle
	return before, v.setThrottle(throttle{loaded: true, failures: before.failures + 1, last: now})
}

func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// wrong keeps the failure that was counted; the wait begins now, not when the derivation did.
func (v *Vault) wrong() {
	v.throttle.last = v.o.Clock()
	v.notify(EventWrongPassword)
	v.o.Logger.Warn("wrong password", "failures", v.throttle.failures)
	if waitAfter(v.throttle.failures) > 0 {
		v.notify(EventThrottled)
	}
}

func (v *Vault) loadThrottle(now time.Time) error {
	if v.throttle.loaded {
		return nil
	}
	err := v.db.View(func(tx *kv.Tx) error {
		raw, err := tx.Get(recordThrottle)
		if err != nil {
			return err
		}
		v.throttle = parseThrottle(raw, now)
		return nil
	})
	if errors.Is(err, fault.NotFound) {
		v.throttle.loaded = true
		return nil
	}
	return err
}

// setThrottle makes a count durable. No failures are no record. On a full disk the count is kept in memory alone: a user must be able to
// open the vault and read.
func (v *Vault) setThrottle(t throttle) error {
	if t.failures == 0 && v.throttle.failures == 0 {
		return nil
	}
	err := v.db.Update(func(tx *kv.Tx) error {
		if t.failures == 0 {
			return tx.Delete(recordThrottle)
		}
		return tx.Set(recordThrottle, t.encode())
	})
	if errors.Is(err, fault.StorageFull) {
		v.o.Logger.Warn("the disk is full: wrong passwords are counted in memory only")
		err = nil
	}
	if err == nil {
		v.throttle = t
	}
	return err
}
