package server

import (
	"net"
	"sync"
)

// siteShare is how many addresses' worth of connections one /48 of IPv6 has: providers give them out whole, with 65,536 networks of customers in each.
const siteShare = 4

// perAddress closes connections beyond max of one address, and siteShare times that of one site, so that nobody takes them all.
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
		remote := c.RemoteAddr().String()
		address, site := addressKey(remote), siteKey(remote)
		if l.enter(address, site) {
			return &countedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(address, site) })}, nil
		}
		c.Close() //nolint:errcheck // it is thrown away
	}
}

// enter counts a connection of an address and of its site; an empty site is none.
func (l *perAddress) enter(address, site string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[address] >= l.max || site != "" && l.open[site] >= siteShare*l.max {
		return false
	}
	l.open[address]++
	if site != "" {
		l.open[site]++
	}
	return true
}

func (l *perAddress) leave(keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if l.open[key]--; l.open[key] <= 0 {
			delete(l.open, key)
		}
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

// shallowBuffers lets the kernel hold little of each answer, so that what a reader has taken shows soon, and readers that do not read cost little.
type shallowBuffers struct{ net.Listener }

// writeBuffer is in bytes: one round trip of 100 ms moves about a MiB a second through it.
const writeBuffer = 128 << 10

// Accept returns the next connection.
func (l shallowBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if t, ok := c.(*net.TCPConn); ok {
		t.SetWriteBuffer(writeBuffer) //nolint:errcheck // without it all works, with more memory
	}
	return c, err
}
