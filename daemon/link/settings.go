package link

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/idna"

	"coldframe/internal/fault"
	"coldframe/internal/netguard"
)

// MaxCA bounds the certificates of Settings, in bytes of PEM.
const MaxCA = 64 << 10

// maxURL bounds the address of a coordinator, in bytes.
const maxURL = 512

// Settings say which coordinator an account uses. They are kept in the vault.
type Settings struct {
	URL string // https://host[:port]
	CA  string // PEM; the only authorities that vouch for it; empty: those of the system
}

// Policy says which addresses a coordinator may have beside public ones (L14).
type Policy struct {
	AllowPrivate   bool // private networks
	AllowLoopback  bool // this machine
	AllowPlainHTTP bool // http, on this machine only; for tests
}

// Normal returns the settings in the one form in which they are kept and compared, and from whose URL login proofs are made. An address or
// authorities that cannot be used are fault.InvalidRequest, plain http and the like fault.Policy.
func (s Settings) Normal(p Policy) (Settings, error) {
	u, err := s.parse(p)
	if err != nil {
		return Settings{}, err
	}
	if _, err := s.pool(); err != nil {
		return Settings{}, err
	}
	host, err := normalHost(u)
	return Settings{URL: u.Scheme + "://" + host, CA: s.CA}, err
}

var errHost = fault.New(fault.InvalidRequest, "not the name or address of a coordinator")

// normalHost returns host[:port]: names in lower case, as A-labels; addresses as RFC 5952 has them; no port if it is the scheme's own.
func normalHost(u *url.URL) (string, error) {
	host := strings.ToLower(u.Hostname())
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	} else if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		if host, err = idna.Lookup.ToASCII(u.Hostname()); err != nil {
			return "", fault.Wrap(fault.InvalidRequest, err, "not the name of a coordinator")
		}
	}
	if strings.HasSuffix(host, ".") {
		return "", errHost
	}
	text := cmp.Or(u.Port(), defaultPorts[u.Scheme])
	port, err := strconv.ParseUint(text, 10, 16)
	switch {
	case err != nil || port == 0:
		return "", errHost
	case strconv.FormatUint(port, 10) != defaultPorts[u.Scheme]:
		return net.JoinHostPort(host, strconv.FormatUint(port, 10)), nil
	case strings.Contains(host, ":"):
		return "[" + host + "]", nil
	}
	return host, nil
}

var defaultPorts = map[string]string{"https": "443", "http": "80"}

var errPlain = fault.New(
	fault.Policy, "the address of a coordinator starts with https://; allow_plain_http under [coordinator] in the agent's configuration is for tests",
)

func (s Settings) parse(p Policy) (*url.URL, error) {
	if len(s.URL) > maxURL {
		return nil, fault.New(fault.InvalidRequest, "the address of a coordinator is shorter")
	}
	u, err := netguard.CheckURL(s.URL, p.AllowPlainHTTP)
	if err != nil && !p.AllowPlainHTTP && strings.HasPrefix(strings.ToLower(s.URL), "http:") {
		return nil, errPlain
	}
	return u, err
}

// pool returns the authorities; nil for those of the system.
func (s Settings) pool() (*x509.CertPool, error) {
	if s.CA == "" {
		return nil, nil
	}
	if len(s.CA) > MaxCA {
		return nil, fault.New(fault.InvalidRequest, "the certificates have more than %d KiB", MaxCA>>10)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(s.CA)) {
		return nil, fault.New(fault.InvalidRequest, "there is no certificate in the PEM text")
	}
	return pool, nil
}

// newTransport returns the guarded way to a coordinator: HTTP/1.1 over TLS 1.3, no proxy, no compression. The
// client bounds how long a request may take.
func (s Settings) newTransport(p Policy) (*http.Transport, error) {
	u, err := s.parse(p)
	if err != nil {
		return nil, err
	}
	pool, err := s.pool()
	if err != nil {
		return nil, err
	}
	guard := netguard.Policy{AllowLoopback: p.AllowLoopback, AllowPrivate: p.AllowPrivate, OnlyLoopback: u.Scheme == "http"}
	dialer := guard.Dialer()
	dialer.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool},
		TLSHandshakeTimeout:    netguard.ConnectTimeout,
		DisableCompression:     true,
		MaxConnsPerHost:        8,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}
