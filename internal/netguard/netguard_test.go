package netguard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"coldframe/internal/fault"
)

const (
	public = iota
	loopback
	privately
	refusedAlways
)

var addresses = []struct {
	addr string
	kind int
}{
	{"1.1.1.1", public},
	{"52.216.0.1", public},
	{"2600:1f00::1", public},
	{"2a00:1450::1", public},
	{"172.15.255.255", public},
	{"172.32.0.0", public},
	{"100.63.255.255", public},
	{"100.128.0.0", public},
	{"11.0.0.0", public},
	{"192.167.255.255", public},
	{"::ffff:1.1.1.1", public},
	{"64:ff9b::1.1.1.1", public},
	{"2002:101:101::1", public},
	{"::1.1.1.1", public},
	{"127.0.0.1", loopback},
	{"127.255.255.254", loopback},
	{"::1", loopback},
	{"::ffff:127.0.0.1", loopback},
	{"::ffff:7f00:1", loopback},
	{"10.0.0.1", privately},
	{"172.16.0.1", privately},
	{"172.31.255.255", privately},
	{"192.168.1.1", privately},
	{"100.64.0.1", privately},
	{"fd12:3456::1", privately},
	{"fc00::1", privately},
	{"::ffff:10.0.0.1", privately},
	{"::ffff:c0a8:101", privately},
	{"0.0.0.0", refusedAlways},
	{"0.1.2.3", refusedAlways},
	{"::", refusedAlways},
	{"::ffff:0.0.0.0", refusedAlways},
	{"169.254.169.254", refusedAlways},
	{"169.254.0.1", refusedAlways},
	{"fe80::1", refusedAlways},
	{"fe80::1%eth0", refusedAlways},
	{"febf::1", refusedAlways},
	{"fec0::1", refusedAlways},
	{"::ffff:169.254.169.254", refusedAlways},
	{"::ffff:a9fe:a9fe", refusedAlways},
	{"64:ff9b::169.254.169.254", refusedAlways},
	{"64:ff9b::a9fe:a9fe", refusedAlways},
	{"2002:a9fe:a9fe::1", refusedAlways},
	{"::169.254.169.254", refusedAlways},
	{"::ffff:0:169.254.169.254", refusedAlways},
	{"2001:db8::5efe:169.254.169.254", refusedAlways},
	{"2a00:1450::200:5efe:a9fe:a9fe", refusedAlways},
	{"64:ff9b:1::169.254.169.254", refusedAlways},
	{"224.0.0.1", refusedAlways},
	{"239.255.255.250", refusedAlways},
	{"ff02::1", refusedAlways},
	{"ff0e::1", refusedAlways},
	{"::ffff:224.0.0.1", refusedAlways},
	{"255.255.255.255", refusedAlways},
	{"240.0.0.1", refusedAlways},
	{"192.0.0.192", refusedAlways},
	{"192.0.2.1", refusedAlways},
	{"198.18.0.1", refusedAlways},
	{"198.51.100.7", refusedAlways},
	{"203.0.113.9", refusedAlways},
	{"2001:db8::1", refusedAlways},
	{"2001::1", refusedAlways},
	{"100::1", refusedAlways},
	{"100.100.100.200", refusedAlways},
	{"168.63.129.16", refusedAlways},
	{"fd00:ec2::254", refusedAlways},
	{"fd20:ce::254", refusedAlways},
}

func TestL14_Addresses(t *testing.T) {
	for _, p := range []Policy{{}, {AllowLoopback: true}, {AllowPrivate: true}, {AllowLoopback: true, AllowPrivate: true}, {OnlyLoopback: true}} {
		for _, a := range addresses {
			want := map[int]bool{
				public: !p.OnlyLoopback, loopback: p.AllowLoopback || p.OnlyLoopback, privately: p.AllowPrivate && !p.OnlyLoopback,
			}[a.kind]
			err := p.Check(netip.MustParseAddr(a.addr))
			if (err == nil) != want || (err != nil && !errors.Is(err, fault.Policy)) {
				t.Errorf("%+v: %s: got %v, want allowed=%v", p, a.addr, err, want)
			}
		}
	}
}

// TestL14_Tunnels has inner addresses behind automatic tunnels: refused whenever the inner one is.
func TestL14_Tunnels(t *testing.T) {
	for _, s := range []string{"64:ff9b::127.0.0.1", "2002:7f00:1::", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "::ffff:0:192.168.0.1", "2a00::5efe:10.0.0.1"} {
		if err := (Policy{}).Check(netip.MustParseAddr(s)); !errors.Is(err, fault.Policy) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if err := (Policy{}).Check(netip.Addr{}); err == nil {
		t.Error("no address passed")
	}
}

// TestL14_DialledAddress dials a listener on this machine in every notation that a resolver may understand: nothing reaches it.
func TestL14_DialledAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0", "0.0.0.0", "[::]", ""} {
		c, err := Policy{}.Dialer().DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			c.Close()
			t.Errorf("%q was dialled", host)
		}
	}
	for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1"} {
		_, err := Policy{}.Dialer().DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if !errors.Is(err, fault.Policy) {
			t.Errorf("%q: %v", host, err)
		}
	}
	c, err := Policy{AllowLoopback: true}.Dialer().DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := (Policy{AllowLoopback: true}).Dialer().DialContext(t.Context(), "unix", "/nowhere"); err == nil {
		t.Error("a Unix socket was dialled")
	}
}

// TestL14_Rebinding gives a harmless name a harmful address at the time of dialling.
func TestL14_Rebinding(t *testing.T) {
	d := Policy{}.Dialer()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, "169.254.169.254:80")
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://store.example/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err == nil {
		res.Body.Close()
	}
	if !errors.Is(err, fault.Policy) {
		t.Fatalf("got %v", err)
	}
}

func TestL14_URLs(t *testing.T) {
	for _, c := range []struct {
		url       string
		tls, http bool
	}{
		{"https://s3.example.org", true, true},
		{"https://s3.example.org:9000/", true, true},
		{"https://[2001:db8::1]:443", true, true},
		{"http://s3.example.org", false, true},
		{"HTTPS://s3.example.org", true, true},
		{"ftp://s3.example.org", false, false},
		{"file:///etc/passwd", false, false},
		{"s3.example.org", false, false},
		{"", false, false},
		{"https://", false, false},
		{"https://user:pass@s3.example.org", false, false},
		{"https://s3.example.org/path", false, false},
		{"https://s3.example.org?x", false, false},
		{"https://s3.example.org/#x", false, false},
		{"https:s3.example.org", false, false},
		{"https://s3.example.org:port", false, false},
		{"https://:443", false, false},
		{"//s3.example.org", false, false},
		{"gopher://s3.example.org", false, false},
		{"unix:///run/x", false, false},
		{"https://s3.example.org\x00", false, false},
	} {
		for _, plain := range []bool{false, true} {
			_, err := CheckURL(c.url, plain)
			if want := map[bool]bool{false: c.tls, true: c.http}[plain]; (err == nil) != want {
				t.Errorf("%q, plain %v: %v", c.url, plain, err)
			}
		}
	}
}
