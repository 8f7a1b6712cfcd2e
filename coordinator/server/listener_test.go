package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"coldframe/internal/fault"
)

// Nobody with a /48 of IPv6 takes all connections, and what is given back is free again.
func TestConnectionsOfASite(t *testing.T) {
	l := newPerAddress(nil, 2)
	enter := func(remote string) bool { return l.enter(addressKey(remote), siteKey(remote)) }
	open := 0
	for i := range 100 {
		if enter(fmt.Sprintf("[2001:db8:1:%x::1]:1", i)) {
			open++
		}
	}
	if open != 2*siteShare {
		t.Errorf("%d connections of one site", open)
	}
	for remote, want := range map[string]bool{"[2001:db8:1::2]:1": false, "[2001:db8:2::1]:1": true, "192.0.2.1:1": true, "[::ffff:192.0.2.1]:2": true} {
		if got := enter(remote); got != want {
			t.Errorf("%s: %v", remote, got)
		}
	}
	if enter("192.0.2.1:3") {
		t.Error("a third of one address")
	}
	l.leave(addressKey("[2001:db8:1:1::1]:1"), siteKey("[2001:db8:1:1::1]:1"))
	if !enter("[2001:db8:1:ff::1]:1") || enter("[2001:db8:1:fe::1]:1") {
		t.Error("what was given back is not free once")
	}
	l.leave(addressKey("192.0.2.1:1"), siteKey("192.0.2.1:1"))
	if !enter("192.0.2.1:4") {
		t.Error("what was given back is not free")
	}
}

// Whoever holds connections and lets them idle takes three quarters of them at most: of the others each ends with its answer.
func TestF20_IdleConnections(t *testing.T) {
	b := newBench(t, open, Options{Connections: 8})
	ask := func() (c net.Conn, closing bool) {
		t.Helper()
		c = b.dial()
		b.head(c, "GET", "/healthz", "", 0)
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, r.Close
	}
	for i := range 6 {
		if _, closing := ask(); closing {
			t.Errorf("connection %d is closed", i)
		}
	}
	for i := range 20 {
		if _, closing := ask(); !closing {
			t.Fatalf("with 6 of 8 that idle, the %dth of the others goes on", i)
		}
	}
}

// A /48 of IPv6 has 16 times the rates and 4 times the shares of an address, however many addresses it has.
func TestRatesAndSharesOfASite(t *testing.T) {
	s := New(nil, Options{Rates: Rates{limitLogin: {Burst: 2, Every: time.Hour}}})
	site := func(n, host int) *call {
		remote := fmt.Sprintf("[2001:db8:%x:%x::1]:1", n, host)
		return &call{address: addressKey(remote), site: siteKey(remote)}
	}
	taken := 0
	for host := range 100 {
		if s.limits.takeAddress(limitLogin, site(1, host)) == nil {
			taken++
		}
	}
	if taken != 2*siteRates {
		t.Errorf("%d logins of one site", taken)
	}
	if err := s.limits.takeAddress(limitLogin, site(2, 1)); err != nil {
		t.Errorf("another site: %v", err)
	}
	p := newPool(amounts{all: 100, address: 2})
	lend := func(c *call, within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := p.take(ctx, c, 1)
		return err
	}
	for host := range 2 * siteShare {
		if err := lend(site(1, host), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := lend(site(1, 100), 100*time.Millisecond); !errors.Is(err, fault.Busy) {
		t.Errorf("one more of the site: %v", err)
	}
	if err := lend(site(2, 1), time.Minute); err != nil {
		t.Errorf("another site: %v", err)
	}
}
