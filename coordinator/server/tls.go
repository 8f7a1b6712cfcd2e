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
	seen    [2]fileMark // of the files that current was read from
	checked time.Time
	told    string // the failure that was logged last
}

// fileMark tells whether a file was replaced.
type fileMark struct {
	size     int64
	modified time.Time
}

// TLSConfig serves the certificate in two PEM files, TLS 1.3 alone. When the files change, new connections get the new certificate; files that do not fit
// together leave the old one in place, and are tried again until they do.
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
		c.tell(c.reload())
	}
	return c.current
}

// tell logs a failure, once as long as it is the same.
func (c *certificate) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != c.told {
		c.logger.Error("the certificate was not renewed", slog.String("error", text))
	}
	c.told = text
}

// reload reads the files if they are not those that the certificate was read from. Files that were written to meanwhile are read again at the next look.
func (c *certificate) reload() error {
	before, err := c.marks()
	if err != nil || before == c.seen {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current = &pair
	if after, err := c.marks(); err == nil && after == before {
		c.seen = before
	}
	return nil
}

func (c *certificate) marks() ([2]fileMark, error) {
	cert, certErr := markOf(c.certFile)
	key, keyErr := markOf(c.keyFile)
	return [2]fileMark{cert, key}, errors.Join(certErr, keyErr)
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
