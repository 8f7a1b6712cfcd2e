package server

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"coldframe/internal/fault"
)

// checkFiles is how often certificate files are looked at, at most.
const checkFiles = time.Second

// certificate is a pair of files that may be replaced at any time, as ACME clients do.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]fileMark // of the files when they were last tried
	checked time.Time
}

// fileMark tells whether a file was replaced.
type fileMark struct {
	size     int64
	modified time.Time
}

// TLSConfig serves the certificate in two PEM files, TLS 1.3 alone. When the files change, new connections get the new certificate; files that do not fit
// together leave the old one in place.
func TLSConfig(certFile, keyFile string, logger *slog.Logger) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if err := c.reload(); err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "the certificate cannot be used")
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}, nil
}

// get returns the certificate, read again if the files changed.
func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= checkFiles || now.Before(c.checked) {
		c.checked = now
		if err := c.reload(); err != nil {
			c.logger.Error("the certificate was not renewed", slog.String("error", err.Error()))
		}
	}
	return c.current
}

// reload reads the files if they changed since they were last tried.
func (c *certificate) reload() error {
	certMark, certErr := markOf(c.certFile)
	keyMark, keyErr := markOf(c.keyFile)
	if err := errors.Join(certErr, keyErr); err != nil {
		return err
	}
	seen := [2]fileMark{certMark, keyMark}
	if seen == c.seen {
		return nil
	}
	c.seen = seen
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current = &pair
	return nil
}

func markOf(file string) (fileMark, error) {
	info, err := os.Stat(file)
	if err != nil {
		return fileMark{}, err
	}
	if info.Mode().Type() != 0 {
		return fileMark{}, &fs.PathError{Op: "read", Path: file, Err: fs.ErrInvalid}
	}
	return fileMark{info.Size(), info.ModTime()}, nil
}
