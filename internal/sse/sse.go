// Package sse reads server-sent events (WHATWG HTML, section 9.2) whose data is JSON: the fields id and data; others are not needed here.
package sse

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"

	"coldframe/internal/fault"
)

// Format is what a reader takes.
type Format struct {
	MaxLine int               // bytes of a line, and of an event's data
	ValidID func(string) bool // whether an id may go back to the server in a header; others are passed over
}

// Reader reads events of one kind.
type Reader[E any] struct {
	ID    string // of the last event that had one
	Event E
	Err   error // why Next returned false

	format Format
	lines  *bufio.Scanner
}

// NewReader returns a reader that begins with an id, the one that the stream was asked for.
func NewReader[E any](r io.Reader, id string, f Format) *Reader[E] {
	s := &Reader[E]{ID: id, format: f, lines: bufio.NewScanner(r)}
	s.lines.Buffer(make([]byte, 512), f.MaxLine)
	return s
}

// Next reads up to the next event with data. It returns false at the end, which is io.ErrUnexpectedEOF as streams have none, and at any other error;
// an event that cannot be read is fault.Incomplete, and ID is its id.
func (s *Reader[E]) Next() bool {
	id, data := s.ID, ""
	for s.lines.Scan() {
		line := strings.TrimSuffix(s.lines.Text(), "\r")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && data != "":
			var e E
			err := json.Unmarshal([]byte(data), &e)
			if s.ID, s.Event = id, e; err != nil {
				s.Err = fault.Wrap(fault.Incomplete, err, "an event cannot be read")
			}
			return err == nil
		case field == "id" && s.format.ValidID(value):
			id = value
		case field == "data" && len(data)+len(value) <= s.format.MaxLine:
			data += value
		}
	}
	if s.Err = s.lines.Err(); s.Err == nil {
		s.Err = io.ErrUnexpectedEOF
	}
	return false
}
