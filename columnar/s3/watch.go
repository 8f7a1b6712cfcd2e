package s3

import (
	"context"
	"errors"
	"sync"
	"time"
)

// minProgress is how many bytes must move within the stall limit.
const minProgress = 32 << 10

// minRate is the slowest transfer, in bytes a second, that the total limit has time for.
const minRate = 16 << 10

var (
	errStalled = errors.New("no progress")
	errSlow    = errors.New("took too long")
)

// watch ends an attempt that makes no progress, or takes too long in all. Time while it is paused does not count: a reader who does
// not read is not a store that stalls.
type watch struct {
	mu     sync.Mutex
	timer  *time.Timer
	limit  time.Duration // without progress
	left   time.Duration // of that, since the last progress
	budget time.Duration // in all
	since  time.Time     // running since; zero while paused
	moved  int64         // bytes since the last progress
}

// newWatch returns a context that ends with errStalled or errSlow, and its running watch.
func newWatch(ctx context.Context, stall, budget time.Duration) (context.Context, *watch, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{limit: stall, left: stall, budget: budget}
	w.timer = time.AfterFunc(time.Hour, func() {
		w.mu.Lock()
		slow := w.budget <= w.left
		w.mu.Unlock()
		if slow {
			cancel(errSlow)
		} else {
			cancel(errStalled)
		}
	})
	w.resume()
	return ctx, w, func() { w.pause(); cancel(nil) }
}

// progress counts n bytes that moved.
func (w *watch) progress(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.moved += int64(n); w.moved < minProgress {
		return
	}
	w.moved = 0
	running := w.account()
	w.left = w.limit
	if running {
		w.start()
	}
}

func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.account()
	w.timer.Stop()
}

func (w *watch) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start()
}

// start runs the timer from now on; account stops the clock and books what passed. The caller holds the lock.
func (w *watch) start() {
	w.since = time.Now()
	w.timer.Reset(max(0, min(w.left, w.budget)))
}

func (w *watch) account() (running bool) {
	if w.since.IsZero() {
		return false
	}
	passed := time.Since(w.since)
	w.left -= passed
	w.budget -= passed
	w.since = time.Time{}
	return true
}
