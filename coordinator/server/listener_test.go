package server

import (
	"fmt"
	"testing"
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
