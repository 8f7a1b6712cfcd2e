package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"coldframe/internal/fault"
)

// triesToRead is how often an answer is read anew that has grown between its measure and its reading.
const triesToRead = 3

// holding makes room for an answer of as many bytes as size says, and reads it. What grew meanwhile is let go, and all is done again; what shrank gives
// back the rest. read returns how many bytes it holds.
func holding(ctx context.Context, size func() (int64, error), read func() (int64, error)) error {
	c := callOf(ctx)
	for range triesToRead {
		n, err := size()
		if err != nil {
			return err
		}
		if err := c.lend(ctx, n); err != nil {
			return err
		}
		held, err := read()
		if err != nil || held <= n {
			c.loan.reduce(held)
			return err
		}
		c.loan.release()
		c.loan = nil
	}
	return errBusy
}

// sender writes an answer in JSON part by part: bodies are in memory as they were stored, and once. The first failure stays.
type sender struct {
	w   *bufio.Writer
	err error
}

func send(w http.ResponseWriter, fill func(s *sender)) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	s := &sender{w: bufio.NewWriterSize(w, pieceSize)}
	fill(s)
	if s.err == nil {
		s.err = s.w.Flush()
	}
	return s.err
}

// object writes v, and calls fill for what stands in the place of the first hole in it.
func (s *sender) object(v any, hole string, fill func()) {
	b, err := json.Marshal(v)
	before, after, found := bytes.Cut(b, []byte(hole))
	if err != nil || !found {
		s.err = fault.Wrap(fault.Internal, err, "an answer cannot be written")
		return
	}
	s.raw(before)
	fill()
	s.raw(after)
}

// list writes head, in whose place of an empty list come n elements.
func (s *sender) list(head any, n int, element func(i int)) {
	s.object(head, "[]", func() {
		s.raw([]byte("["))
		for i := 0; i < n && s.err == nil; i++ {
			if i > 0 {
				s.raw([]byte(","))
			}
			element(i)
		}
		s.raw([]byte("]"))
	})
}

// withBody writes v, whose first empty text is where body belongs.
func (s *sender) withBody(v any, body []byte) {
	s.object(v, `""`, func() {
		s.raw([]byte(`"`))
		e := base64.NewEncoder(base64.StdEncoding, s.w)
		if _, err := e.Write(body); s.err == nil {
			s.err = err
		}
		if err := e.Close(); s.err == nil {
			s.err = err
		}
		s.raw([]byte(`"`))
	})
}

func (s *sender) plain(v any) {
	b, err := json.Marshal(v)
	if err != nil && s.err == nil {
		s.err = fault.Wrap(fault.Internal, err, "an answer cannot be written")
	}
	s.raw(b)
}

func (s *sender) raw(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
}
