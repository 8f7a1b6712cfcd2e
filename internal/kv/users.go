package kv

import "sync"

// users counts who reads, so that the files are not closed under them.
type users struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when closed is true and n is 0
}

func newUsers() *users { return &users{idle: make(chan struct{})} }

// enter reports whether the store is still open; if so, leave must follow.
func (u *users) enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.n++
	return true
}

func (u *users) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n--
	if u.closed && u.n == 0 {
		close(u.idle)
	}
}

func (u *users) isClosed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.closed
}

// close lets nobody in any more and waits for those inside. It reports whether this call was the first.
func (u *users) close() bool {
	u.mu.Lock()
	first := !u.closed
	u.closed = true
	if first && u.n == 0 {
		close(u.idle)
	}
	u.mu.Unlock()
	<-u.idle
	return first
}
