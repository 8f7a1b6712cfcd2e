package s3

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"coldframe/internal/fault"
	"coldframe/internal/netguard"
)

// maxAnswer bounds an answer that is not the range of an object: a listing of 1,000 names has less than 1 MiB (R13).
const maxAnswer = 4 << 20

// newTransport returns the transport of a bucket: guarded dialler, HTTP/1.1, no compression, bounded headers.
func newTransport(c *Config, u *url.URL) (*http.Transport, error) {
	t := &http.Transport{
		DialContext:            c.policy(u).Dialer().DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    netguard.ConnectTimeout,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
	}
	if c.CAFile != "" {
		pool, err := readPool(c.CAFile)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig.RootCAs = pool
	}
	if c.Proxy != "" {
		p, err := netguard.CheckURL(c.Proxy, true)
		if err != nil {
			return nil, err
		}
		t.Proxy = http.ProxyURL(p)
	}
	return t, nil
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // named in the configuration
	if err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "the file of authorities cannot be read")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.InvalidRequest, "the file of authorities holds no certificate")
	}
	return pool, nil
}

// newClient follows no redirect and reads no endless answer.
func newClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     bounded{t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if req.Header.Get("Range") == "" || res.StatusCode != http.StatusPartialContent {
		res.Body = &boundedBody{ReadCloser: res.Body, left: maxAnswer}
	}
	return res, nil
}

var errAnswerTooLong = errors.New("the answer is too long")

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errAnswerTooLong
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}
