package server

import (
	"net"
	"os"
	"sync"
	"time"

	"coldframe/localapi"
)

// patience is how long a connection may read its head before it is the first to go when there are too many.
const patience = 100 * time.Millisecond

// pool is the set of open connections of all listeners. When it is full and one more comes, the one that has been longest in reading its head
// goes, then the one that has been idle longest; so slow clients cannot keep others out (F20).
type pool struct {
	limit       int
	headTimeout time.Duration

	mu    sync.Mutex
	conns map[*conn]struct{}
}

func newPool(limit int, headTimeout time.Duration) *pool {
	return &pool{limit: limit, headTimeout: headTimeout, conns: map[*conn]struct{}{}}
}

// add takes a connection in, or closes it and returns nil if all the others have requests in work.
func (p *pool) add(c net.Conn, network string, hosts []string) *conn {
	k := newConn(c, p.headTimeout, p.remove)
	k.network, k.hosts = network, hosts
	for !p.insert(k) {
		if v := p.victim(); v == nil || !v.evict() {
			if v == nil {
				k.Close() //nolint:errcheck // it is thrown away
				return nil
			}
		}
	}
	return k
}

func (p *pool) insert(k *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) >= p.limit {
		return false
	}
	p.conns[k] = struct{}{}
	return true
}

// victim returns the connection that goes first, nil if all are in work.
func (p *pool) victim() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *conn
	var bestSlow bool
	var bestSince time.Time
	now := time.Now()
	for c := range p.conns {
		c.mu.Lock()
		busy, since, slow := c.pending > 0 || c.closed, c.since, c.partial && now.Sub(c.since) > patience
		c.mu.Unlock()
		if busy {
			continue
		}
		if best == nil || slow && !bestSlow || slow == bestSlow && since.Before(bestSince) {
			best, bestSlow, bestSince = c, slow, since
		}
	}
	return best
}

func (p *pool) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// guardedListener hands net/http only connections of the same user whose requests are checked.
type guardedListener struct {
	net.Listener
	pool  *pool
	hosts []string
	uid   int
}

// Accept returns the next connection. One of another user is closed without a byte (L10).
func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.samePeer(c) {
			c.Close() //nolint:errcheck // it is thrown away
			continue
		}
		if k := l.pool.add(c, l.Addr().Network(), l.hosts); k != nil {
			return k, nil
		}
	}
}

// samePeer checks who is at the other end of a Unix socket. Over TCP that cannot be known: there the token decides.
func (l *guardedListener) samePeer(c net.Conn) bool {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return true
	}
	uid, err := localapi.PeerUID(u)
	return err == nil && uid == l.uid
}

func newGuardedListener(l net.Listener, p *pool) *guardedListener {
	return &guardedListener{Listener: l, pool: p, hosts: hostsOf(l), uid: os.Geteuid()}
}
