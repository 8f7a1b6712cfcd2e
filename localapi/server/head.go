package server

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"coldframe/internal/fault"
)

// Bounds of a request's head (THREATS L11, L12).
const (
	maxHead    = 16 << 10
	maxHeaders = 100
	maxMethod  = 16
)

// refusal is why a connection's bytes were not taken as a request. The connection answers it and closes.
type refusal struct {
	status int
	code   fault.Code
	reason string // for the log
}

func badRequest(reason string) *refusal {
	return &refusal{http.StatusBadRequest, fault.InvalidRequest, reason}
}

// framing says how the body of a request is framed.
type framing struct {
	chunked bool
	length  int64
}

// scanHead looks at the bytes of a head from index from on; those before it were looked at. It returns the length of the head if its end is there,
// 0 if not, and refuses bytes that no head may hold as soon as they come: a line end other than CRLF, NUL and the other control characters, anything
// beyond ASCII.
func scanHead(b []byte, from int) (int, *refusal) {
	for i := from; i < len(b); i++ {
		c := b[i]
		switch {
		case i >= maxHead:
			return 0, &refusal{http.StatusRequestHeaderFieldsTooLarge, fault.TooLarge, "head too long"}
		case c == '\n' && (i == 0 || b[i-1] != '\r'):
			return 0, badRequest("bare line feed")
		case c == '\n' && i == 1:
			return 0, badRequest("empty line before the request")
		case c == '\n' && i >= 3 && b[i-2] == '\n':
			return i + 1, nil
		case c != '\n' && i > 0 && b[i-1] == '\r':
			return 0, badRequest("bare carriage return")
		case c < ' ' && c != '\t' && c != '\r' && c != '\n', c >= 0x7f:
			return 0, badRequest("byte that no head may hold")
		}
	}
	return 0, nil
}

// parseHead checks a whole head, up to and with its empty line, and says how the body is framed. What it accepts, net/http parses without an
// error, and in the same way.
func parseHead(head []byte) (framing, *refusal) {
	lines := strings.Split(string(head), "\r\n")
	fields := lines[1 : len(lines)-2]
	target, r := requestLine(lines[0])
	if r != nil {
		return framing{}, r
	}
	if len(fields) > maxHeaders {
		return framing{}, &refusal{http.StatusRequestHeaderFieldsTooLarge, fault.TooLarge, "too many fields"}
	}
	h, r := headerFields(fields)
	if r != nil {
		return framing{}, r
	}
	if r := checkHost(h["host"], target); r != nil {
		return framing{}, r
	}
	return bodyFraming(h)
}

// requestLine checks "METHOD SP target SP HTTP/1.1" and returns the target.
func requestLine(line string) (*url.URL, *refusal) {
	parts := strings.Split(line, " ")
	if len(parts) != 3 {
		return nil, badRequest("request line")
	}
	method, target, version := parts[0], parts[1], parts[2]
	switch {
	case version != "HTTP/1.1":
		return nil, badRequest("version")
	case method == "" || len(method) > maxMethod || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		return nil, badRequest("method")
	case method == http.MethodConnect:
		return nil, badRequest("method CONNECT")
	case target == "*" && method == http.MethodOptions:
		return &url.URL{Path: "*"}, nil
	case strings.ContainsAny(target, "#\\\"<>^`{|}"):
		return nil, badRequest("target")
	case !strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "http://"):
		return nil, badRequest("target")
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || u.User != nil {
		return nil, badRequest("target")
	}
	return u, nil
}

// single lists the fields that may come only once.
var single = []string{
	"host", "content-length", "transfer-encoding", "content-type", "content-encoding", "authorization", "expect", "connection", "upgrade",
	"idempotency-key", "last-event-id", "coldframe-challenge", "origin", "referer",
}

// headerFields splits the fields, names in lower case. A space before the colon, a folded line, an empty or odd name and a doubled field of
// those that count are refused.
func headerFields(lines []string) (map[string][]string, *refusal) {
	h := make(map[string][]string, len(lines))
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return nil, badRequest("header field") // a folded line begins with a space, which is no token
		}
		key := strings.ToLower(name)
		h[key] = append(h[key], strings.Trim(value, " \t"))
	}
	for _, name := range single {
		if len(h[name]) > 1 {
			return nil, badRequest("doubled " + name)
		}
	}
	return h, nil
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// checkHost wants one Host of a plausible form, the same as in an absolute target. A missing one is refused as a foreign one is (L02).
func checkHost(hosts []string, target *url.URL) *refusal {
	misdirected := &refusal{http.StatusMisdirectedRequest, fault.InvalidRequest, "host"}
	if len(hosts) == 0 || hosts[0] == "" {
		return misdirected
	}
	if strings.Trim(hosts[0], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]%") != "" {
		return misdirected
	}
	if target.Host != "" && target.Host != hosts[0] || target.IsAbs() && target.Host == "" {
		return badRequest("target of another host")
	}
	return nil
}

// bodyFraming reads Content-Length and Transfer-Encoding, of which at most one may be there.
func bodyFraming(h map[string][]string) (framing, *refusal) {
	length, hasLength := h["content-length"]
	coding, hasCoding := h["transfer-encoding"]
	expect, hasExpect := h["expect"]
	_, hasTrailer := h["trailer"]
	switch {
	case hasLength && hasCoding:
		return framing{}, badRequest("both content-length and transfer-encoding")
	case hasTrailer:
		return framing{}, badRequest("trailer")
	case hasExpect && !strings.EqualFold(expect[0], "100-continue"):
		return framing{}, &refusal{http.StatusExpectationFailed, fault.InvalidRequest, "expect"}
	case hasCoding && coding[0] != "chunked":
		return framing{}, badRequest("transfer-encoding")
	case hasCoding:
		return framing{chunked: true}, nil
	case hasLength:
		v := length[0]
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || v == "" || strings.Trim(v, "0123456789") != "" || len(v) > 18 {
			return framing{}, badRequest("content-length")
		}
		return framing{length: n}, nil
	}
	return framing{}, nil
}

// chunks follows the framing of a chunked body (RFC 9112, section 7.1), without extensions and trailers.
type chunks struct {
	state  chunkState
	size   int64 // of the chunk, or what is left of it
	digits int
}

type chunkState int

const (
	chunkSize chunkState = iota
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkLastCR
	chunkLastLF
	chunkDone
)

const maxChunkDigits = 15 // hexadecimal: below 2^60 bytes

// scan takes bytes of the body. It returns how many belong to it; done says that the body ended there, bad that the next byte breaks the framing.
func (s *chunks) scan(b []byte) (n int, done, bad bool) {
	for n < len(b) {
		if s.state == chunkData {
			step := min(s.size, int64(len(b)-n))
			n += int(step)
			if s.size -= step; s.size == 0 {
				s.state = chunkDataCR
			}
			continue
		}
		if !s.step(b[n]) {
			return n, false, true
		}
		n++
		if s.state == chunkDone {
			return n, true, false
		}
	}
	return n, false, false
}

// step takes one byte outside of the data and reports whether it may come here.
func (s *chunks) step(c byte) bool {
	switch s.state {
	case chunkSize:
		if d := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20); d >= 0 && c != '\r' && (c >= '0' && c <= '9' || c >= 'A') {
			s.size, s.digits = s.size<<4|int64(d), s.digits+1
			return s.digits <= maxChunkDigits
		}
		if c != '\r' || s.digits == 0 {
			return false
		}
		s.state = chunkSizeLF
		return true
	case chunkSizeLF:
		s.digits, s.state = 0, chunkData
		if s.size == 0 {
			s.state = chunkLastCR
		}
		return c == '\n'
	case chunkDataCR:
		s.state = chunkDataLF
		return c == '\r'
	case chunkDataLF:
		s.state = chunkSize
		return c == '\n'
	case chunkLastCR:
		s.state = chunkLastLF
		return c == '\r'
	case chunkLastLF:
		s.state = chunkDone
		return c == '\n'
	}
	return false
}
