package server

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"coldframe/internal/fault"
)

// errFraming ends a body whose framing broke.
var errFraming = fault.New(fault.InvalidRequest, "the framing of the body is broken")

// errHeadTime ends a connection that was too slow with a head.
var errHeadTime = errors.New("head took too long")

// refusedPath is the target of the request that a conn hands to net/http in place of bytes that it refused. Nobody outside knows it.
var refusedPath = func() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // ends the process instead of failing
	return "/refused-" + hex.EncodeToString(b[:])
}()

type connState int

const (
	inHead connState = iota
	inFixed
	inChunked
	ended // nothing more is taken
)

// conn lets net/http see only requests whose framing was checked. It follows the framing of each body, so that it knows where the next head
// begins, on kept-alive and pipelined connections as well. In place of a head that it refuses, net/http gets a request for refusedPath, which is answered
// in its turn, after those before it, and after which the connection closes.
type conn struct {
	net.Conn
	headTimeout time.Duration
	network     string   // "unix" or "tcp"
	hosts       []string // what a request may name as its Host

	// The reading side; net/http reads from one goroutine at a time.
	state   connState
	buf     []byte // read from the socket, not yet handed out
	scanned int    // so many of them were looked at for the end of a head
	ready   int    // so many of them were checked
	left    int64  // of a body of known length
	chunks  chunks
	err     error // what Read returns once ready is 0
	refused *refusal

	mu       sync.Mutex
	deadline time.Time // of reads, as net/http set it
	headBy   time.Time // by when the head must be there; zero outside of heads
	since    time.Time // since when this head, or idleness, lasts
	partial  bool      // bytes of a head are there
	pending  int       // heads handed out minus requests done
	closed   bool
	onClose  func(*conn)
}

func newConn(c net.Conn, headTimeout time.Duration, onClose func(*conn)) *conn {
	k := &conn{Conn: c, headTimeout: headTimeout, onClose: onClose, since: time.Now(), partial: true}
	k.setHeadBy(time.Now().Add(headTimeout))
	return k
}

// Read hands out checked bytes.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.ready > 0 {
			n := copy(p, c.buf[:c.ready])
			c.buf, c.ready = c.buf[n:], c.ready-n
			return n, nil
		}
		if c.err != nil {
			return 0, c.err
		}
		n, err := c.advance(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// advance makes bytes ready, or puts bytes of a body straight into p.
func (c *conn) advance(p []byte) (int, error) {
	switch c.state {
	case inHead:
		return 0, c.readHead()
	case inFixed:
		return c.readFixed(p)
	case inChunked:
		return c.readChunked(p)
	}
	c.err = io.EOF
	return 0, nil
}

// readHead reads until a head is whole.
func (c *conn) readHead() error {
	if len(c.buf) > 0 {
		c.beginHead()
		n, r := scanHead(c.buf, c.scanned)
		c.scanned = len(c.buf)
		if r == nil && n > 0 {
			var f framing
			if f, r = parseHead(c.buf[:n]); r == nil {
				c.endHead(n, f)
				return nil
			}
		}
		if r != nil {
			c.refuse(r)
			return nil
		}
	}
	return c.fill()
}

// beginHead starts the clock of a head at its first byte.
func (c *conn) beginHead() {
	c.mu.Lock()
	begun := c.partial
	if !begun {
		c.partial, c.since = true, time.Now()
	}
	c.mu.Unlock()
	if !begun {
		c.setHeadBy(time.Now().Add(c.headTimeout))
	}
}

// endHead makes a checked head of n bytes ready and prepares for its body.
func (c *conn) endHead(n int, f framing) {
	c.ready, c.scanned = n, 0
	switch {
	case f.chunked:
		c.state, c.chunks = inChunked, chunks{}
	case f.length > 0:
		c.state, c.left = inFixed, f.length
	}
	c.handOut()
}

// handOut counts a head that goes to net/http. An evicted connection gets no further.
func (c *conn) handOut() {
	c.mu.Lock()
	c.pending++
	c.partial = false
	if c.closed {
		c.ready, c.err = 0, net.ErrClosed
	}
	c.mu.Unlock()
	c.setHeadBy(time.Time{})
}

// refuse puts the request for refusedPath in the place of what came.
func (c *conn) refuse(r *refusal) {
	c.refused = r
	c.state = ended
	c.buf = []byte("GET " + refusedPath + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	c.ready = len(c.buf)
	c.handOut()
}

// fill reads more into buf.
func (c *conn) fill() error {
	const step = 4 << 10
	if cap(c.buf)-len(c.buf) < step {
		c.buf = append(make([]byte, 0, len(c.buf)+step), c.buf...)
	}
	n, err := c.Conn.Read(c.buf[len(c.buf) : len(c.buf)+step])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	return c.readError(err)
}

// readError keeps an error that lasts. A deadline of net/http passes: it sets one to interrupt a read.
func (c *conn) readError(err error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.err = err
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.headBy.IsZero() && !time.Now().Before(c.headBy) {
		c.err = timeoutError{errHeadTime}
		return c.err
	}
	return err
}

// timeoutError is a net.Error, at which net/http closes without an answer.
type timeoutError struct{ error }

func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

func (c *conn) readFixed(p []byte) (int, error) {
	if len(c.buf) > 0 {
		c.ready = int(min(c.left, int64(len(c.buf))))
		c.took(int64(c.ready))
		return 0, nil
	}
	n, err := c.Conn.Read(p[:min(c.left, int64(len(p)))])
	c.took(int64(n))
	if n > 0 {
		return n, nil
	}
	return 0, c.readError(err)
}

func (c *conn) took(n int64) {
	if c.left -= n; c.left == 0 {
		c.state = inHead
	}
}

func (c *conn) readChunked(p []byte) (int, error) {
	if len(c.buf) > 0 {
		c.ready = c.scanChunks(c.buf)
		return 0, nil
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return 0, c.readError(err)
	}
	taken := c.scanChunks(p[:n])
	c.buf = bytes.Clone(p[taken:n])
	return taken, nil
}

// scanChunks returns how many bytes of b may be handed out and where that leaves the connection.
func (c *conn) scanChunks(b []byte) int {
	n, done, bad := c.chunks.scan(b)
	switch {
	case bad:
		c.state, c.err = ended, errFraming
	case done:
		c.state = inHead
	}
	return n
}

// SetReadDeadline keeps the deadline of net/http beside that of the head; the earlier one holds.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetReadDeadline(earlier(t, c.headBy))
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

func (c *conn) setHeadBy(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headBy = t
	c.Conn.SetReadDeadline(earlier(c.deadline, t)) //nolint:errcheck // a dead connection shows in the next read
}

// earlier returns the earlier of two deadlines, of which zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// CloseWrite lets net/http end its side first, so that the answer arrives before a reset.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// Close closes once and tells the listener.
func (c *conn) Close() error {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.mu.Unlock()
	if was {
		return net.ErrClosed
	}
	c.onClose(c)
	return c.Conn.Close()
}

// finished tells that net/http is done with a request and waits for the next.
func (c *conn) finished() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = max(0, c.pending-1)
	if c.pending == 0 {
		c.since = time.Now()
	}
}

// evict closes the connection unless a request of it is in work.
func (c *conn) evict() bool {
	c.mu.Lock()
	ok := c.pending == 0 && !c.closed
	if ok {
		c.closed = true
	}
	c.mu.Unlock()
	if ok {
		c.onClose(c)
		c.Conn.Close() //nolint:errcheck // it is thrown away
	}
	return ok
}
