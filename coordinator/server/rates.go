package server

import (
	"net/netip"
	"sync"
	"time"

	"coldframe/internal/fault"
)

// Rate is a bucket that holds Burst tokens and gets one every Every. A zero Rate has no limit.
type Rate struct {
	Burst int
	Every time.Duration
}

// Rates are the limits by name; see DefaultRates.
type Rates map[limit]Rate

const (
	limitLoginUser limit = "login-user" // logins of one account, from wherever
	limitLoginPair limit = "login-pair" // logins of one account from one address
	limitPair      limit = "prekeys-pair"
	siteRates            = 16      // how many addresses' rates one site has
	maxBuckets           = 1 << 17 // of all limits; beyond it those that are full go first
)

// DefaultRates are in force unless configured otherwise.
var DefaultRates = Rates{
	limitAddress:   {500, 10 * time.Millisecond},
	limitRegister:  {10, 6 * time.Minute},
	limitLogin:     {30, 10 * time.Second},
	limitLoginPair: {10, time.Minute},
	limitLoginUser: {100, time.Minute},
	limitRefresh:   {200, time.Second},
	limitAccount:   {400, 10 * time.Millisecond},
	limitSend:      {200, 50 * time.Millisecond},
	limitLookup:    {30, time.Minute},
	limitPreKeys:   {60, 20 * time.Second},
	limitUpload:    {30, 30 * time.Second},
	limitPair:      {10, 6 * time.Minute},
	limitEvents:    {60, time.Second},
}

// limiter counts requests by limit and key: an address, a user, or a pair of them.
type limiter struct {
	rates Rates
	now   func() time.Time
	mu    sync.Mutex
	full  map[bucketKey]time.Time // when the bucket is full again; full ones need not be there
}

type bucketKey struct {
	limit limit
	key   string
}

func newLimiter(r Rates, now func() time.Time) *limiter {
	if r == nil {
		r = DefaultRates
	}
	return &limiter{rates: r, now: now, full: map[bucketKey]time.Time{}}
}

// takeAddress takes a token of an address, and one of its site, which has as many as siteRates addresses.
func (l *limiter) takeAddress(name limit, c *call) error {
	if err := l.take(name, c.address); err != nil {
		return err
	}
	r := l.rates[name]
	return l.takeOf(Rate{r.Burst * siteRates, r.Every / siteRates}, bucketKey{name, c.site})
}

// take takes a token, or returns fault.Busy with the time until there is one.
func (l *limiter) take(name limit, key string) error {
	return l.takeOf(l.rates[name], bucketKey{name, key})
}

func (l *limiter) takeOf(r Rate, k bucketKey) error {
	if r.Burst == 0 || k.key == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	full := l.full[k]
	if full.Before(now) {
		full = now
	}
	// The clock may go back: a bucket is never further from full than empty, and begins to fill now.
	if most := now.Add(time.Duration(r.Burst) * r.Every); full.After(most) {
		full = most
		l.full[k] = full
	}
	full = full.Add(r.Every)
	if wait := full.Sub(now) - time.Duration(r.Burst)*r.Every; wait > 0 {
		e := &statusError{cause: fault.New(fault.Busy, "too many requests of this kind")}
		e.status, e.retryAfter = 429, int64((wait+time.Second-1)/time.Second)
		return e
	}
	if len(l.full) >= maxBuckets {
		l.clean(now)
	}
	l.full[k] = full
	return nil
}

// clean drops buckets that are full, and if those are few, any: forgetting is the lesser harm.
func (l *limiter) clean(now time.Time) {
	for k, full := range l.full {
		if !full.After(now) {
			delete(l.full, k)
		}
	}
	for k := range l.full {
		if len(l.full) < maxBuckets*3/4 {
			return
		}
		delete(l.full, k)
	}
}

// addressKey names an address for limits; of IPv6 the network of a customer, /64.
func addressKey(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "unknown"
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return p.String()
}

// siteKey names the /48 of an IPv6 address; of others it is empty.
func siteKey(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil || ap.Addr().Unmap().Is4() {
		return ""
	}
	p, err := ap.Addr().WithZone("").Prefix(48)
	if err != nil {
		return ""
	}
	return p.String()
}
