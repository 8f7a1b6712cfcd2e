package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// makePair returns a certificate and its key in PEM.
func makePair(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	c, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	p, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: p})
}

// A certificate that is half written when it is looked at is used once it is whole, also where neither size nor time of the file tell.
func TestCertificateIsTriedUntilItFits(t *testing.T) {
	dir, log, when := t.TempDir(), &bytes.Buffer{}, time.Now().Truncate(time.Second)
	put := func(name string, b []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cert, key := makePair(t)
	c := &certificate{certFile: put("cert", cert), keyFile: put("key", key), logger: slog.New(slog.NewTextHandler(log, nil))}
	look := func() *tls.Certificate {
		c.checked = time.Time{}
		return c.get()
	}
	old := look()
	if old == nil || look() != old {
		t.Fatal("the certificate was not read, or read again")
	}

	when = when.Add(time.Second)
	cert, key = makePair(t)
	put("cert", append(cert[:len(cert)/2:len(cert)/2], make([]byte, len(cert)-len(cert)/2)...))
	put("key", key)
	for range 3 {
		if look() != old {
			t.Fatal("half a certificate is in use")
		}
	}
	if n := strings.Count(log.String(), "was not renewed"); n != 1 {
		t.Errorf("one failure was logged %d times", n)
	}
	put("cert", cert)
	whole := look()
	block, _ := pem.Decode(cert)
	if whole == old || !bytes.Equal(whole.Certificate[0], block.Bytes) {
		t.Fatal("the whole certificate is not in use")
	}
	if err := os.Remove(c.keyFile); err != nil {
		t.Fatal(err)
	}
	if look() != whole {
		t.Error("without its files the certificate is gone")
	}
}
