package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const put = "PUT /v1/datasets/d/data HTTP/1.1\r\n{host}\r\n{auth}\r\n{csv}\r\n"

// badShapes are requests that must be refused and whose connection must close.
var badShapes = map[string]string{
	"content-length and chunked":       put + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunked and content-length":       put + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"bare line feeds":                  "GET /v1/status HTTP/1.1\n{host}\n{auth}\n\n",
	"bare line feed in the line":       "GET /v1/status HTTP/1.1\n{host}\r\n\r\n",
	"bare line feed in a field":        "GET /v1/status HTTP/1.1\r\n{host}\n{auth}\r\n\r\n",
	"bare line feed at the end":        "GET /v1/status HTTP/1.1\r\n{host}\r\n\n",
	"bare carriage return":             "GET /v1/status HTTP/1.1\r\n{host}\r\nA: b\rc\r\n\r\n",
	"carriage return in the line":      "GET /v1/status\r HTTP/1.1\r\n{host}\r\n\r\n",
	"folded field":                     "GET /v1/status HTTP/1.1\r\n{host}\r\nA: b\r\n c\r\n\r\n",
	"field folded by a tab":            "GET /v1/status HTTP/1.1\r\n{host}\r\nA: b\r\n\tc\r\n\r\n",
	"folded first field":               "GET /v1/status HTTP/1.1\r\n {host}\r\n{host}\r\n\r\n",
	"two hosts":                        "GET /v1/status HTTP/1.1\r\n{host}\r\n{host}\r\n\r\n",
	"two hosts, other case":            "GET /v1/status HTTP/1.1\r\n{host}\r\nhOST: evil\r\n\r\n",
	"HTTP/1.0":                         "GET /v1/status HTTP/1.0\r\n{host}\r\n\r\n",
	"HTTP/0.9":                         "GET /v1/status\r\n\r\n",
	"HTTP/2":                           "GET /v1/status HTTP/2\r\n{host}\r\n\r\n",
	"HTTP/2.0":                         "GET /v1/status HTTP/2.0\r\n{host}\r\n\r\n",
	"HTTP/1.2":                         "GET /v1/status HTTP/1.2\r\n{host}\r\n\r\n",
	"http/1.1 in lower case":           "GET /v1/status http/1.1\r\n{host}\r\n\r\n",
	"HTTP/2 preface":                   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"no version":                       "GET /v1/status \r\n{host}\r\n\r\n",
	"two spaces":                       "GET  /v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"tab for a space":                  "GET\t/v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"space at the end of the line":     "GET /v1/status HTTP/1.1 \r\n{host}\r\n\r\n",
	"space before the line":            " GET /v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"empty line before the request":    "\r\nGET /v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"NUL in the path":                  "GET /v1/\x00status HTTP/1.1\r\n{host}\r\n\r\n",
	"NUL in a field":                   "GET /v1/status HTTP/1.1\r\n{host}\r\nA: \x00\r\n\r\n",
	"control character in a field":     "GET /v1/status HTTP/1.1\r\n{host}\r\nA: \x01\r\n\r\n",
	"DEL in a field":                   "GET /v1/status HTTP/1.1\r\n{host}\r\nA: \x7f\r\n\r\n",
	"byte above ASCII in a field":      "GET /v1/status HTTP/1.1\r\n{host}\r\nA: \xff\r\n\r\n",
	"byte above ASCII in the path":     "GET /v1/\xc3\xa4 HTTP/1.1\r\n{host}\r\n\r\n",
	"space before the colon":           put + "Content-Length : 5\r\n\r\nhello",
	"tab before the colon":             put + "Content-Length\t: 5\r\n\r\nhello",
	"space before the colon of coding": put + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"no colon":                         "GET /v1/status HTTP/1.1\r\n{host}\r\nnonsense\r\n\r\n",
	"empty name":                       "GET /v1/status HTTP/1.1\r\n{host}\r\n: x\r\n\r\n",
	"odd name":                         "GET /v1/status HTTP/1.1\r\n{host}\r\nA(b): x\r\n\r\n",
	"two equal lengths":                put + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"two lengths":                      put + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"list of lengths":                  put + "Content-Length: 5, 5\r\n\r\nhello",
	"length with a sign":               put + "Content-Length: +5\r\n\r\nhello",
	"negative length":                  put + "Content-Length: -5\r\n\r\nhello",
	"hexadecimal length":               put + "Content-Length: 0x5\r\n\r\nhello",
	"length beyond int64":              put + "Content-Length: 99999999999999999999\r\n\r\nhello",
	"empty length":                     put + "Content-Length: \r\n\r\nhello",
	"length with a space in it":        put + "Content-Length: 5 5\r\n\r\nhello",
	"coding gzip":                      put + "Transfer-Encoding: gzip\r\n\r\nhello",
	"coding gzip, chunked":             put + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"coding chunked, chunked":          put + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
	"coding identity":                  put + "Transfer-Encoding: identity\r\n\r\n",
	"two codings":                      put + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"coding with a vertical tab":       put + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
	"coding in quotes":                 put + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
	"trailer announced":                put + "Transfer-Encoding: chunked\r\nTrailer: A\r\n\r\n0\r\nA: b\r\n\r\n",
	"absolute target, other host":      "GET http://evil.example/v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"absolute target with a user":      "GET http://u@{rawhost}/v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"absolute target without a host":   "GET http:///v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"https target":                     "GET https://{rawhost}/v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"CONNECT":                          "CONNECT example.org:443 HTTP/1.1\r\n{host}\r\n\r\n",
	"target without a slash":           "GET v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"star for GET":                     "GET * HTTP/1.1\r\n{host}\r\n\r\n",
	"fragment":                         "GET /v1/status#x HTTP/1.1\r\n{host}\r\n\r\n",
	"backslash":                        "GET /v1\\status HTTP/1.1\r\n{host}\r\n\r\n",
	"broken escape":                    "GET /v1/%zz HTTP/1.1\r\n{host}\r\n\r\n",
	"method in lower case":             "get /v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"no method":                        " /v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"long method":                      strings.Repeat("G", 17) + " /v1/status HTTP/1.1\r\n{host}\r\n\r\n",
	"TLS hello":                        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 64),
}

// badChunks are chunked bodies whose framing is broken.
var badChunks = map[string]string{
	"extension":              "5;a=b\r\nhello\r\n0\r\n\r\n",
	"space after the size":   "5 \r\nhello\r\n0\r\n\r\n",
	"sign":                   "+5\r\nhello\r\n0\r\n\r\n",
	"0x":                     "0x5\r\nhello\r\n0\r\n\r\n",
	"no size":                "\r\nhello\r\n0\r\n\r\n",
	"size by a line feed":    "5\nhello\r\n0\r\n\r\n",
	"data too long":          "4\r\nhello\r\n0\r\n\r\n",
	"data by a line feed":    "5\r\nhello\n0\r\n\r\n",
	"trailer":                "5\r\nhello\r\n0\r\nA: b\r\n\r\n",
	"size beyond 2^60":       "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
	"end by a line feed":     "5\r\nhello\r\n0\r\n\n",
	"carriage return missed": "5\r\nhello\r\n0\r\n\rX",
}

func TestL12_MalformedFraming(t *testing.T) {
	b := startBench(t, limits{})
	t.Logf("%d shapes", len(badShapes)+len(badChunks))
	if len(badShapes)+len(badChunks) < 40 {
		t.Fatal("fewer than 40 shapes")
	}
	for name, raw := range badShapes {
		t.Run(name, func(t *testing.T) {
			b.t = t
			raw := strings.ReplaceAll(raw, "{rawhost}", b.host)
			// Alone, and after a good request on the same connection.
			for i, prefix := range []string{"", "GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\n\r\n"} {
				answers, bodies, closed := b.exchange(prefix+raw+"GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\n\r\n", 3)
				if len(answers) != i+1 || !closed {
					t.Fatalf("%d answers, closed %v: %q", len(answers), closed, bodies)
				}
				r := answers[i]
				if r.StatusCode != http.StatusBadRequest || !r.Close || r.Header.Get("Cache-Control") != "no-store" || !strings.Contains(bodies[i], `"invalid_request"`) {
					t.Fatalf("status %d, close %v, %v, %q", r.StatusCode, r.Close, r.Header, bodies[i])
				}
			}
		})
	}
	for name, body := range badChunks {
		t.Run("chunk "+name, func(t *testing.T) {
			b.t = t
			answers, bodies, closed := b.exchange(put+"Transfer-Encoding: chunked\r\n\r\n"+body+"GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\n\r\n", 2)
			if len(answers) != 1 || !closed || answers[0].StatusCode != http.StatusBadRequest {
				t.Fatalf("%d answers, closed %v: %q", len(answers), closed, bodies)
			}
		})
	}
	if len(b.api.seen) > len(badChunks) {
		t.Errorf("%d bodies reached the handler", len(b.api.seen))
	}
}

// TestL12_GoodRequestsPipelined sends well-framed requests in one stream, cut at random places, and wants every body whole and every answer in order.
func TestL12_GoodRequestsPipelined(t *testing.T) {
	b := startBench(t, limits{})
	rapid.Check(t, func(rt *rapid.T) {
		var stream strings.Builder
		var want []string
		n := rapid.IntRange(1, 6).Draw(rt, "requests")
		for range n {
			body := rapid.StringN(0, 3000, 9000).Draw(rt, "body")
			switch rapid.IntRange(0, 2).Draw(rt, "kind") {
			case 0:
				stream.WriteString("GET /v1/status HTTP/1.1\r\n{host}\r\n{auth}\r\n\r\n")
				want = append(want, `"state":"locked"`)
			case 1:
				fmt.Fprintf(&stream, put+"Content-Length: %d\r\n\r\n%s", len(body), body)
				want = append(want, fmt.Sprintf(`"written":%d`, len(body)))
			case 2:
				stream.WriteString(put + "Transfer-Encoding: chunked\r\n\r\n" + chunked(rt, body))
				want = append(want, fmt.Sprintf(`"written":%d`, len(body)))
			}
		}
		c := b.dial()
		defer c.Close()
		go sendInPieces(c, b.fill(stream.String()), rapid.Uint64().Draw(rt, "seed"))
		answers, bodies := readAnswers(t, bufio.NewReader(c), n)
		for i := range answers {
			if !strings.Contains(bodies[i], want[i]) {
				rt.Fatalf("answer %d is %q, want %q", i, bodies[i], want[i])
			}
		}
		if len(answers) != n {
			rt.Fatalf("%d answers for %d requests", len(answers), n)
		}
	})
}

func chunked(rt *rapid.T, body string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := rapid.IntRange(1, len(body)).Draw(rt, "chunk")
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

func sendInPieces(c net.Conn, s string, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for len(s) > 0 {
		n := min(len(s), 1+r.IntN(2000))
		if _, err := io.WriteString(c, s[:n]); err != nil {
			return
		}
		s = s[n:]
	}
}

// scripted hands out bytes in pieces and then ends.
type scripted struct {
	net.Conn
	pieces [][]byte
}

func (s *scripted) Read(p []byte) (int, error) {
	for len(s.pieces) > 0 && len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	return n, nil
}

func (s *scripted) SetReadDeadline(time.Time) error { return nil }
func (s *scripted) Close() error                    { return nil }

// passed returns what a conn lets through.
func passed(pieces [][]byte) ([]byte, *refusal) {
	c := newConn(&scripted{pieces: pieces}, time.Minute, func(*conn) {})
	var out bytes.Buffer
	io.Copy(&out, c) //nolint:errcheck // what came is compared
	return out.Bytes(), c.refused
}

// FuzzL12_Framing: what gets through does not depend on how the bytes arrive, is a prefix of them followed at most by the refusal, and net/http parses it into
// requests without an error of its own.
func FuzzL12_Framing(f *testing.F) {
	fill := strings.NewReplacer("{host}", "Host: localhost", "{auth}", "Authorization: Bearer x", "{csv}", "Content-Type: text/csv", "{rawhost}", "localhost")
	for _, raw := range badShapes {
		f.Add([]byte(fill.Replace(raw)), uint64(1))
	}
	for _, body := range badChunks {
		f.Add([]byte(fill.Replace(put+"Transfer-Encoding: chunked\r\n\r\n"+body)), uint64(2))
	}
	f.Add([]byte(fill.Replace(put+"Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n{host}\r\n\r\n")), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		if len(in) > 64<<10 {
			return
		}
		whole, why := passed([][]byte{slices.Clone(in)})
		r := rand.New(rand.NewPCG(seed, 2))
		var pieces [][]byte
		for rest := slices.Clone(in); len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(40))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		cut, _ := passed(pieces)
		if !bytes.Equal(whole, cut) {
			t.Fatalf("whole %q, in pieces %q", whole, cut)
		}
		good, _, refused := bytes.Cut(whole, []byte("GET "+refusedPath))
		if !bytes.HasPrefix(in, good) || refused != (why != nil) {
			t.Fatalf("%q became %q (%v)", in, whole, why)
		}
		parseAll(t, good)
	})
}
