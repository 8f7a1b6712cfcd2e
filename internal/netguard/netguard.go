package netguard

import (
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"coldframe/internal/fault"
)

// Policy says what may be dialled besides public unicast addresses. The zero value allows nothing more.
type Policy struct {
	AllowLoopback bool // 127.0.0.0/8 and ::1
	AllowPrivate  bool // private, shared (RFC 6598) and unique local addresses
	OnlyLoopback  bool // nothing but loopback: for plain http in tests
}

// ConnectTimeout is how long a connection may take to be made.
const ConnectTimeout = 10 * time.Second

var (
	private = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")

	// never holds what no store lives at: this network, link-local, protocol assignments, documentation, benchmarks, multicast,
	// reserved, site-local, discard, Teredo, ORCHID, segment routing, and the metadata services of clouds that are not link-local.
	never = prefixes("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "100.100.100.200/32", "168.63.129.16/32",
		"::/128", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16",
		"fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::/32", "fd20:ce::/32")
)

func prefixes(list ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(list))
	for i, s := range list {
		ps[i] = netip.MustParsePrefix(s)
	}
	return ps
}

// Check returns fault.Policy unless addr may be dialled.
func (p Policy) Check(addr netip.Addr) error {
	if !addr.IsValid() {
		return refused()
	}
	addr = addr.WithZone("").Unmap()
	if inner, ok := embedded(addr); ok {
		// The outer address is as public as it looks only if the inner one is.
		if err := p.Check(inner); err != nil {
			return err
		}
		return p.outer(addr)
	}
	return p.single(addr)
}

// outer judges an address that carries another: an automatic tunnel reaches this machine at best, so only public ones pass as they
// are, and only where the policy is not loopback alone.
func (p Policy) outer(addr netip.Addr) error {
	if p.OnlyLoopback {
		return refused()
	}
	if localNAT64.Contains(addr) && !p.AllowPrivate || contains(never, addr) {
		return refused()
	}
	return nil
}

func (p Policy) single(addr netip.Addr) error {
	switch {
	case addr.IsLoopback():
		if p.AllowLoopback || p.OnlyLoopback {
			return nil
		}
		return refused()
	case p.OnlyLoopback, contains(never, addr):
		return refused()
	case contains(private, addr) && !p.AllowPrivate:
		return refused()
	}
	return nil
}

func contains(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func refused() error {
	return fault.New(fault.Policy, "an address of this kind may not be dialled")
}

// Control is for net.Dialer: it sees each address just before it is connected to.
func (p Policy) Control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return refused()
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fault.Wrap(fault.Policy, err, "not an address")
	}
	return p.Check(ap.Addr())
}

// Dialer returns a dialer that connects only where the policy allows it.
func (p Policy) Dialer() *net.Dialer {
	return &net.Dialer{Timeout: ConnectTimeout, KeepAlive: 15 * time.Second, Control: p.Control}
}

// CheckURL returns the parsed address of a server, or fault.Policy unless it is https, or http with plain set, with a host and
// nothing else: no user, path, query or fragment.
func CheckURL(s string, plain bool) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return nil, fault.New(fault.Policy, "not the address of a server") // err holds the input, which may hold a password
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !plain) {
		return nil, fault.New(fault.Policy, "the address of a server starts with https://")
	}
	if u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return nil, fault.New(fault.Policy, "the address of a server is https://host:port and nothing else")
	}
	return u, nil
}
