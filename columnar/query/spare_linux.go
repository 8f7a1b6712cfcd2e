package query

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// spares keeps one engine ready: started, bounded, confined, its database open, and given nothing yet. Each answers one statement at most.
type spares struct {
	o Options

	mu     sync.Mutex
	next   *spare
	rested int // how often rest was called
}

// spare is an engine that is ready, or gets so until done is closed.
type spare struct {
	cancel context.CancelFunc
	done   chan struct{}
	child  *child
	err    error
	timer  *time.Timer
}

// warm starts an engine ahead unless one waits already, or rest was called since the caller looked at rested.
func (s *spares) warm(rested int) *spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil || rested != s.rested || s.o.Spare <= 0 {
		return s.next
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &spare{cancel: cancel, done: make(chan struct{})}
	n.timer = time.AfterFunc(s.o.Time, func() { s.drop(n) }) // if it gets ready at all
	s.next = n
	go func() {
		defer close(n.done)
		n.child, n.err = start(ctx, s.o)
		n.timer.Reset(s.o.Spare)
	}()
	return n
}

func (s *spares) generation() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rested
}

// drop ends a spare that nobody took.
func (s *spares) drop(n *spare) {
	s.mu.Lock()
	mine := s.next == n
	if mine {
		s.next = nil
	}
	s.mu.Unlock()
	if mine {
		n.end()
	}
}

func (n *spare) end() {
	n.timer.Stop()
	n.cancel()
	<-n.done
	if n.child != nil {
		n.child.stop()
	}
}

// take returns an engine that ends with ctx: the spare if there is a good one, else a new one.
func (s *spares) take(ctx context.Context) (*child, error) {
	s.mu.Lock()
	n := s.next
	s.next = nil
	s.mu.Unlock()
	if n == nil {
		return start(ctx, s.o)
	}
	select {
	case <-n.done:
	case <-ctx.Done():
		n.end()
		return nil, context.Cause(ctx)
	}
	if n.err != nil || !n.child.waits() {
		n.end()
		return start(ctx, s.o)
	}
	n.timer.Stop()
	tie := context.AfterFunc(ctx, n.cancel)
	n.child.release = func() { tie(); n.cancel() }
	return n.child, nil
}

// waits reports whether an engine that was given no statement is there, and has said no more than it should have.
func (c *child) waits() bool {
	raw, err := c.control.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = errors.Is(err, unix.EAGAIN)
	})
	return err == nil && quiet
}

// rest ends the engine that waits, if there is one. Statements in work start none when they end.
func (s *spares) rest() {
	s.mu.Lock()
	n := s.next
	s.next, s.rested = nil, s.rested+1
	s.mu.Unlock()
	if n != nil {
		n.end()
	}
}
