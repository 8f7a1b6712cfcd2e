package format

import (
	"bytes"
	"io"
	"slices"

	"coldframe/internal/fault"
)

// csvField is one field of a record: a view into the scanner's memory, good until the next record.
type csvField struct {
	text   []byte
	quoted bool
}

// csvScanner cuts a CSV body into records, after RFC 4180, with LF, CRLF or the end of the body after a record, any delimiter and any
// quote. A quote inside a field that does not begin with one stands for itself.
type csvScanner struct {
	in           io.Reader
	delim, quote byte

	buf     []byte
	pos     int // the next record begins here
	end     int // of what was read
	eof     bool
	scratch []byte

	fields []csvField
	row    int64 // of the record last returned, from 1
	line   int64 // on which the record last returned begins, from 1
	next   int64 // line on which the next record begins
}

const csvBuffer = 1 << 20

func newCSVScanner(in io.Reader, delim, quote byte) *csvScanner {
	return &csvScanner{in: in, delim: delim, quote: quote, buf: make([]byte, csvBuffer), next: 1}
}

// fill reads until at least want bytes from pos on are there, or the end.
func (s *csvScanner) fill(want int) error {
	if s.pos > 0 {
		s.end = copy(s.buf, s.buf[s.pos:s.end])
		s.pos = 0
	}
	if want > len(s.buf) {
		grown := make([]byte, want)
		copy(grown, s.buf[:s.end])
		s.buf = grown
	}
	for empty := 0; s.end < want && !s.eof; {
		n, err := s.in.Read(s.buf[s.end:])
		s.end += n
		if err == io.EOF {
			s.eof = true
		} else if err != nil {
			return err
		}
		if empty++; n > 0 {
			empty = 0
		} else if empty > 100 {
			return io.ErrNoProgress
		}
	}
	return nil
}

// skipBOM drops a byte order mark of UTF-8 and refuses those of UTF-16.
func (s *csvScanner) skipBOM() error {
	if err := s.fill(3); err != nil {
		return err
	}
	head := s.buf[:s.end]
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		s.pos = 3
	}
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		return fault.New(fault.InvalidRequest, "the body is UTF-16; send UTF-8")
	}
	return nil
}

// record reads the next record into fields. It returns io.EOF at the end.
func (s *csvScanner) record() error {
	for {
		done, err := s.parse()
		if done || err != nil {
			return err
		}
		if s.eof {
			return io.EOF
		}
		have := s.end - s.pos
		if have > maxRowBytes {
			return fault.New(fault.TooLarge, "row %d (line %d) is larger than %d bytes", s.row+1, s.next, maxRowBytes)
		}
		if err := s.fill(max(2*have, csvBuffer/2)); err != nil {
			return err
		}
	}
}

// parse takes one record from the buffer. It reports false, having taken nothing, when the buffer ends before the record does; at the
// end of the body when nothing is left.
func (s *csvScanner) parse() (bool, error) {
	if s.pos == s.end {
		return false, nil
	}
	s.fields = s.fields[:0]
	s.scratch = s.scratch[:0]
	buf, delim, i := s.buf[:s.end], s.delim, s.pos
	breaks := int64(0) // line breaks inside quotes
	for {
		if i < len(buf) && buf[i] == s.quote {
			f, n, after, err := s.quotedField(i)
			if err != nil || after < 0 {
				return false, err
			}
			s.fields = append(s.fields, csvField{f, true})
			breaks += n
			i = after
		} else {
			start := i
			for i < len(buf) && buf[i] != delim && buf[i] != '\n' {
				i++
			}
			to := i
			switch {
			case i == len(buf) && !s.eof:
				return false, nil
			case i < len(buf) && buf[i] == '\n' || i == len(buf):
				if to > start && buf[to-1] == '\r' {
					to--
				}
			}
			s.fields = append(s.fields, csvField{buf[start:to], false})
		}
		if i < len(buf) && buf[i] == delim {
			i++
			if i == len(buf) && !s.eof {
				return false, nil
			}
			if len(s.fields) > maxColumns {
				return false, fault.New(fault.TooLarge, "row %d (line %d) has more than %d fields", s.row+1, s.next, maxColumns)
			}
			continue
		}
		if i < len(buf) { // the line feed
			i++
			breaks++
		}
		if s.row == 0 && slices.ContainsFunc(s.fields, csvField.brokenByCR) {
			return false, fault.New(fault.InvalidRequest, "the lines end in a carriage return alone: they must end in LF or CR LF")
		}
		s.pos = i
		s.row++
		s.line = s.next
		s.next += breaks
		return true, nil
	}
}

// brokenByCR reports whether an unquoted field holds a carriage return, as the first record of a file does whose lines end in nothing else.
func (f csvField) brokenByCR() bool { return !f.quoted && bytes.IndexByte(f.text, '\r') >= 0 }

// quotedField reads the field whose opening quote is at i: its value, the line breaks in it, and the index of the delimiter, line
// feed or end after it; -1 when more must be read.
func (s *csvScanner) quotedField(i int) (value []byte, breaks int64, after int, err error) {
	buf := s.buf[:s.end]
	from, open := i+1, i
	copied := -1 // start in scratch, once there was a doubled quote
	for {
		k := bytes.IndexByte(buf[from:], s.quote)
		if k < 0 || from+k+1 == len(buf) && !s.eof {
			if k < 0 && s.eof {
				return nil, 0, 0, fault.New(fault.InvalidRequest, "row %d (line %d), field %d: the closing quote is missing", s.row+1, s.next, len(s.fields)+1)
			}
			return nil, 0, -1, nil
		}
		k += from
		if k+1 < len(buf) && buf[k+1] == s.quote {
			if copied < 0 {
				copied = len(s.scratch)
			}
			s.scratch = append(s.scratch, buf[from:k+1]...)
			from = k + 2
			continue
		}
		if copied >= 0 {
			s.scratch = append(s.scratch, buf[from:k]...)
			value = s.scratch[copied:len(s.scratch):len(s.scratch)]
		} else {
			value = buf[from:k]
		}
		after = k + 1
		if after < len(buf) && buf[after] == '\r' {
			if after+1 == len(buf) && !s.eof {
				return nil, 0, -1, nil
			}
			if after+1 == len(buf) || buf[after+1] == '\n' {
				after++
			}
		}
		if after < len(buf) && buf[after] != s.delim && buf[after] != '\n' {
			return nil, 0, 0, fault.New(fault.InvalidRequest, "row %d (line %d), field %d: text after the closing quote", s.row+1, s.next, len(s.fields)+1)
		}
		return value, int64(bytes.Count(buf[open:k], []byte{'\n'})), after, nil
	}
}
