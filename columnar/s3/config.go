package s3

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/netguard"
)

// Sizes of parts in bytes and their number, as S3 sets them.
const (
	MinPartSize     = 5 << 20
	MaxPartSize     = 5 << 30
	DefaultPartSize = 8 << 20
	maxParts        = 10_000
)

// inFlight is how many parts are on their way at a time.
const inFlight = 2

// Config says where a bucket is and how to reach it. It comes from the authenticated configuration only (L14, D19).
type Config struct {
	Endpoint    string // https://host:port
	Region      string // "us-east-1" if empty
	Bucket      string
	Prefix      string // before every object name, as "team/"; may be empty
	PathStyle   bool   // https://host/bucket instead of https://bucket.host
	CAFile      string // PEM file of the only authorities to trust; empty: those of the system
	Proxy       string // https:// or http:// address of a proxy; empty: none, whatever the environment says
	Credentials Credentials

	AllowPrivate   bool // may be in a private network
	AllowLoopback  bool // may be on this machine
	AllowPlainHTTP bool // for tests: http, on this machine only

	PartSize   int64 // bytes; 0: DefaultPartSize
	NoChecksum bool  // for servers that do not know CRC32C
	Limits     Limits
}

// Limits are the bounds of the package comment; zero values are those.
type Limits struct {
	Tries   int           // attempts for one request
	Total   time.Duration // for all attempts of a request without a body
	Stall   time.Duration // without progress
	Backoff time.Duration // the first wait is random below this, each later one below twice the one before
	Cleanup time.Duration // for clearing up after a failure or a cancelled context
}

// maxBackoff bounds the wait between two attempts.
const maxBackoff = 10 * time.Second

func (l Limits) withDefaults() Limits {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&l.Total, time.Minute)
	def(&l.Stall, 30*time.Second)
	def(&l.Backoff, 200*time.Millisecond)
	def(&l.Cleanup, 15*time.Second)
	if l.Tries == 0 {
		l.Tries = 6
	}
	return l
}

var (
	bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixForm = regexp.MustCompile(`^([A-Za-z0-9_-][A-Za-z0-9._-]{0,63}/){0,8}$`)
	regionForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
)

// check completes the configuration and returns the parsed endpoint.
func (c *Config) check() (*url.URL, error) {
	u, err := netguard.CheckURL(c.Endpoint, c.AllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.PartSize == 0 {
		c.PartSize = DefaultPartSize
	}
	c.Limits = c.Limits.withDefaults()
	switch {
	case !bucketForm.MatchString(c.Bucket), strings.Contains(c.Bucket, ".."), strings.Contains(c.Bucket, "--"), strings.HasPrefix(c.Bucket, "xn-"):
		return nil, fault.New(fault.InvalidRequest, "not the name of a bucket")
	case !prefixForm.MatchString(c.Prefix):
		return nil, fault.New(fault.InvalidRequest, "a prefix is made of letters, digits, dots, dashes and underscores, and ends with a slash")
	case !regionForm.MatchString(c.Region):
		return nil, fault.New(fault.InvalidRequest, "not the name of a region")
	case c.PartSize < MinPartSize || c.PartSize > MaxPartSize:
		return nil, fault.New(fault.InvalidRequest, "a part has between %d and %d bytes", MinPartSize, int64(MaxPartSize))
	case c.Credentials.IsZero():
		return nil, fault.New(fault.InvalidRequest, "no credentials")
	}
	return u, nil
}

// policy is what may be dialled. Plain http goes to this machine only.
func (c *Config) policy(u *url.URL) netguard.Policy {
	return netguard.Policy{AllowLoopback: c.AllowLoopback, AllowPrivate: c.AllowPrivate, OnlyLoopback: u.Scheme == "http"}
}
