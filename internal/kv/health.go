package kv

import "sync"

// health remembers the first failure of the disk. Once there is one, nobody knows what the files hold (THREATS R19).
type health struct {
	once   sync.Once
	failed chan struct{} // closed by the first failure
	err    error         // valid once failed is closed
}

func newHealth() *health { return &health{failed: make(chan struct{})} }

func (h *health) fail(err error) {
	h.once.Do(func() {
		h.err = err
		close(h.failed)
	})
}

// failure returns the first failure, or nil.
func (h *health) failure() error {
	select {
	case <-h.failed:
		return h.err
	default:
		return nil
	}
}
