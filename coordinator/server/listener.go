package server

import (
	"net"
	"sync"
)

// perAddress closes connections beyond max of one address, so that no single one takes them all.
type perAddress struct {
	net.Listener
	max int

	mu   sync.Mutex
	open map[string]int
}

func newPerAddress(l net.Listener, max int) *perAddress {
	return &perAddress{Listener: l, max: max, open: map[string]int{}}
}

// Accept returns the next connection of an address that may have one more.
func (l *perAddress) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key := addressKey(c.RemoteAddr().String())
		if l.enter(key) {
			return &countedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(key) })}, nil
		}
		c.Close() //nolint:errcheck // it is thrown away
	}
}

func (l *perAddress) enter(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[key] >= l.max {
		return false
	}
	l.open[key]++
	return true
}

func (l *perAddress) leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[key]--; l.open[key] == 0 {
		delete(l.open, key)
	}
}

type countedConn struct {
	net.Conn
	leave func()
}

// Close gives the connection's place back.
func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
