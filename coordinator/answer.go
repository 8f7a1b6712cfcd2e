package coordinator

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"coldframe/internal/fault"
)

const (
	// ProblemType is the media type of a failure (RFC 9457).
	ProblemType = "application/problem+json"

	maxProblem = 16 << 10 // bytes of a failure
	maxAnswer  = 2 << 20  // bytes of an answer
	maxLong    = 6 << 20  // bytes of an answer with a blob, or a page of blobs or of a device list
	maxValues  = 1 << 16  // values in an answer: each becomes some 100 bytes of memory, however short it is
	maxDepth   = 8
	maxText    = 200 // bytes of a coordinator's words that a person may see
)

// Error is a failure that the coordinator reported. Its code is one that a coordinator can know about, and its texts are short and printable.
type Error struct{ Problem Problem }

func (e *Error) Error() string {
	s := "coordinator: " + e.Problem.Code
	if d := e.Problem.Detail; d != nil {
		s += ": " + *d
	}
	return s
}

// Unwrap returns the code: errors.Is asks for it, and fault.CodeOf finds it.
func (e *Error) Unwrap() error { return fault.Code(e.Problem.Code) }

// RetryAfter is how long to wait before the next try; 0 if the coordinator did not say. It is a hint of somebody who is not trusted, and bounded.
func (e *Error) RetryAfter() time.Duration {
	if e.Problem.RetryAfter == nil {
		return 0
	}
	return time.Duration(min(max(0, *e.Problem.RetryAfter), 3600)) * time.Second
}

// opinions are the codes that a coordinator may answer with, and what they are taken for.
var opinions = map[fault.Code]fault.Code{
	fault.Policy: fault.Policy, fault.TooLarge: fault.TooLarge, fault.Conflict: fault.Conflict, fault.StorageFull: fault.StorageFull,
	fault.Unavailable: fault.Unavailable, fault.InvalidRequest: fault.InvalidRequest, fault.Unauthorized: fault.Unauthorized,
	fault.Forbidden: fault.Forbidden, fault.NotFound: fault.NotFound, fault.Busy: fault.Busy,
	// What only an agent finds out, of keys, signatures and histories: whoever says so without being able to know is no honest coordinator.
	fault.UntrustedKey: fault.NotAuthentic, fault.KeyChanged: fault.NotAuthentic, fault.NotAuthentic: fault.NotAuthentic, fault.RolledBack: fault.NotAuthentic,
	fault.Forked: fault.NotAuthentic, fault.Stale: fault.NotAuthentic, fault.Replayed: fault.NotAuthentic, fault.Revoked: fault.NotAuthentic,
	fault.Locked: fault.NotAuthentic,
}

// judge returns what a coordinator's code is taken for: something of its own, also one that a later version has, is fault.Unavailable.
func judge(code string) fault.Code {
	if c, ok := opinions[fault.Code(code)]; ok {
		return c
	}
	return fault.Unavailable
}

// errorOf reads the failure that a response holds.
func errorOf(r *http.Response) error {
	b, err := readAll(r, maxProblem)
	if err != nil {
		return err
	}
	var p Problem
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || t != ProblemType || checkShape(b) != nil || json.Unmarshal(b, &p) != nil || p.Code == "" {
		return fault.New(fault.Unavailable, "no coordinator of this kind: it answered with status %d and no problem", r.StatusCode)
	}
	code := string(judge(p.Code))
	return &Error{Problem{
		Type: "urn:coldframe:problem:" + code, Title: clean(p.Title), Status: r.StatusCode, Code: code,
		Detail: cleanOptional(p.Detail), Field: cleanOptional(p.Field), RequestId: clean(p.RequestId), RetryAfter: p.RetryAfter, Resource: cleanOptional(p.Resource),
	}}
}

func cleanOptional(s *string) *string {
	if s == nil {
		return nil
	}
	c := clean(*s)
	return &c
}

// clean makes a coordinator's words fit for a terminal and a log: printable, on one line, at most maxText bytes.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return -1
		case unicode.IsPrint(r):
			return r
		}
		return ' ' // of controls, line ends, marks of direction
	}, s[:min(len(s), 4*maxText)])
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// read reads the JSON of a success into a T, or returns the failure. It closes the body.
func read[T any](r *http.Response, err error) (v T, _ error) {
	if err != nil {
		return v, fault.Wrap(fault.Unavailable, err, "the coordinator does not answer")
	}
	defer r.Body.Close()
	if r.StatusCode/100 != 2 {
		return v, errorOf(r)
	}
	if r.StatusCode == http.StatusNoContent {
		return v, nil
	}
	b, err := readAll(r, mostOf(v))
	if err != nil {
		return v, err
	}
	if err := checkShape(b); err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fault.Wrap(fault.Incomplete, err, "the coordinator's answer cannot be read")
	}
	return v, nil
}

// mostOf is how many bytes an answer of a type may have.
func mostOf(v any) int {
	switch v.(type) {
	case BlobBody, BlobPage, DeviceLinks:
		return maxLong
	}
	return maxAnswer
}

// readAll reads a body of at most a number of bytes. Memory grows with what came, not with what was announced, and by the half.
func readAll(r *http.Response, most int) ([]byte, error) {
	var parts [][]byte
	for size := 0; ; {
		part := make([]byte, min(max(4<<10, size/2), most+1-size))
		n, err := fill(r.Body, part)
		parts, size = append(parts, part[:n]), size+n
		switch {
		case size > most:
			return nil, fault.New(fault.TooLarge, "the coordinator's answer is larger than %d KiB", most>>10)
		case err == io.EOF: //nolint:errorlint // a body's end is io.EOF itself
			return bytes.Join(parts, nil), nil
		case err != nil:
			return nil, fault.Wrap(fault.Unavailable, err, "the coordinator's answer broke off")
		}
	}
}

// fill is io.ReadFull that tells the end from an end that came too early.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// checkShape wants JSON to be neither deep nor of many values, before it becomes anything. Whether it is JSON is not looked at.
func checkShape(b []byte) error {
	depth, values, quoted := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth, values = depth+1, values+1
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if depth > maxDepth || values > maxValues {
			return fault.New(fault.TooLarge, "the coordinator's answer holds more than any of its kind")
		}
	}
	return nil
}
