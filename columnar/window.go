package columnar

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// window bounds how many row groups are fetched ahead where nobody knows how many it takes: one at first, one more with each that did
// not have enough. A nil window bounds nothing.
type window struct {
	free *semaphore.Weighted
	held int64 // by leave
}

func newWindow(bounded bool) *window {
	if !bounded {
		return nil
	}
	w := &window{free: semaphore.NewWeighted(fetchParallel), held: fetchParallel - 1}
	w.free.TryAcquire(w.held)
	return w
}

// enter waits for room for a row group.
func (w *window) enter(ctx context.Context) error {
	if w == nil {
		return nil
	}
	return w.free.Acquire(ctx, 1)
}

// leave makes room when one was decoded.
func (w *window) leave() {
	if w == nil {
		return
	}
	w.free.Release(1)
	if w.held > 0 {
		w.held--
		w.free.Release(1)
	}
}
