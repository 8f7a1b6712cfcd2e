package server

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// parseAll lets net/http read all requests in b; only the end of the bytes may stop it.
func parseAll(t *testing.T, b []byte) {
	t.Helper()
	br := bufio.NewReader(bytes.NewReader(b))
	for {
		r, err := http.ReadRequest(br)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return
		}
		if err != nil {
			t.Fatalf("net/http refuses what got through: %v in %q", err, b)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			if strings.Contains(err.Error(), "unexpected EOF") {
				return // the bytes ended inside of the body; the one about the trailer is a plain text of net/http
			}
			t.Fatalf("net/http refuses a body that got through: %v in %q", err, b)
		}
	}
}
