package server

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// amounts are how much of something there is, and how much of it one account and one address may have at a time; a share of 0 is no bound. A site (siteKey)
// has that of siteShare addresses.
type amounts struct{ all, account, address int64 }

// pool lends what there is only so much of: places for requests, bytes of memory. Whoever asks waits for a while, first for the share of the account,
// then for those of the address and the site, then for all; so nobody who has used up a share stands in anybody else's way.
type pool struct {
	amounts
	total *semaphore.Weighted

	mu     sync.Mutex
	shares map[string]*share
}

// share is what one account or address has of a pool; it is there while somebody holds or wants some of it.
type share struct {
	*semaphore.Weighted
	users int
}

func newPool(a amounts) *pool {
	return &pool{amounts: a, total: semaphore.NewWeighted(a.all), shares: map[string]*share{}}
}

// loan is what a request has of a pool.
type loan struct {
	n     int64
	give  []func(n int64) // back to where it was taken from
	leave []func()
}

// take borrows n, or returns errBusy if they are not free before ctx ends.
func (p *pool) take(ctx context.Context, c *call, n int64) (*loan, error) {
	l := &loan{n: n}
	for _, s := range []struct {
		kind, key string
		most      int64
	}{{"account ", string(c.caller.User), p.account}, {"address ", c.address, p.address}, {"site ", c.site, siteShare * p.address}} {
		if s.most == 0 || s.key == "" {
			continue
		}
		key := s.kind + s.key
		own := p.enter(key, s.most)
		l.leave = append(l.leave, func() { p.exit(key) })
		if own.Acquire(ctx, n) != nil {
			l.release()
			return nil, errBusy
		}
		l.give = append(l.give, own.Release)
	}
	if p.total.Acquire(ctx, n) != nil {
		l.release()
		return nil, errBusy
	}
	l.give = append(l.give, p.total.Release)
	return l, nil
}

func (p *pool) enter(key string, most int64) *share {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.shares[key]
	if s == nil {
		s = &share{Weighted: semaphore.NewWeighted(most)}
		p.shares[key] = s
	}
	s.users++
	return s
}

func (p *pool) exit(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.shares[key]; s.users == 1 {
		delete(p.shares, key)
	} else {
		s.users--
	}
}

// reduce gives back all but n, if there is more.
func (l *loan) reduce(n int64) {
	if l == nil || n >= l.n {
		return
	}
	for _, give := range l.give {
		give(l.n - n)
	}
	l.n = n
}

// release gives everything back.
func (l *loan) release() {
	if l == nil {
		return
	}
	l.reduce(0)
	for _, leave := range l.leave {
		leave()
	}
}
