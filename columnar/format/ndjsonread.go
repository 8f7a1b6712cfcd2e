package format

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// lineScanner cuts a body into lines. Lines of blanks only are left out.
type lineScanner struct {
	in   io.Reader
	buf  []byte
	pos  int
	end  int
	eof  bool
	line int64 // number of the line last returned, from 1
}

// fill reads until at least want bytes from pos on are there, or the end.
func (s *lineScanner) fill(want int) error {
	c := csvScanner{in: s.in, buf: s.buf, pos: s.pos, end: s.end, eof: s.eof}
	err := c.fill(want)
	s.buf, s.pos, s.end, s.eof = c.buf, c.pos, c.end, c.eof
	return err
}

// buffered returns the next line if all of it is in the buffer, or nil.
func (s *lineScanner) buffered() []byte {
	for s.pos < s.end {
		b := s.buf[s.pos:s.end]
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			if !s.eof {
				return nil
			}
			n = len(b)
		} else {
			b = b[:n]
			n++
		}
		s.pos += n
		s.line++
		if b = bytes.TrimRight(b, " \t\r"); len(b) > 0 {
			return b
		}
	}
	return nil
}

// next returns the next line, or io.EOF.
func (s *lineScanner) next() ([]byte, error) {
	for {
		if b := s.buffered(); b != nil {
			return b, nil
		}
		if s.eof && s.pos == s.end {
			return nil, io.EOF
		}
		have := s.end - s.pos
		if have > maxRowBytes {
			return nil, fault.New(fault.TooLarge, "line %d is larger than %d bytes", s.line+1, maxRowBytes)
		}
		if err := s.fill(max(2*have, csvBuffer/2)); err != nil {
			return nil, err
		}
	}
}

type ndjsonReader struct {
	lines   lineScanner
	json    jsonDecoder
	schema  *arrow.Schema
	build   *array.RecordBuilder
	root    *node // the row as a struct; its builder is not used
	batch   int
	sampled int64 // lines that inference saw
	guessed bool
}

func newNDJSONReader(in *body, o ReadOptions) (Reader, error) {
	r := &ndjsonReader{lines: lineScanner{in: in, buf: make([]byte, csvBuffer)}, batch: o.BatchBytes}
	if err := r.lines.fill(3); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(r.lines.buf[:r.lines.end], []byte("\xef\xbb\xbf")) {
		r.lines.pos = 3
	}
	var err error
	if r.schema, err = r.decide(o.Schema); err != nil {
		return nil, err
	}
	r.build = array.NewRecordBuilder(memory.DefaultAllocator, r.schema)
	r.root = &node{index: map[string]int{}, seen: make([]bool, r.schema.NumFields())}
	for i, f := range r.schema.Fields() {
		n := newNode(f, r.build.Field(i))
		r.root.index[f.Name] = i
		r.root.fields = append(r.root.fields, n)
		r.root.width += n.width
	}
	return r, nil
}

// decide infers the schema from the lines at the front of the body; the columns that declared names have its types, the others come
// after them in the order in which they first occur. A body in which declared names all columns is read by it.
func (r *ndjsonReader) decide(declared *arrow.Schema) (*arrow.Schema, error) {
	root := &shape{}
	for want := sampleBytes; ; want *= 2 {
		if err := r.lines.fill(want); err != nil {
			return nil, err
		}
		mark := r.lines
		for r.sampled < sampleRows {
			b := r.lines.buffered()
			if b == nil {
				break
			}
			r.sampled++
			if err := r.observe(root, b, declared); err != nil {
				return nil, err
			}
		}
		r.lines = mark
		if r.sampled > 0 || r.lines.eof {
			break
		}
		if want > maxRowBytes {
			return nil, fault.New(fault.TooLarge, "line %d is larger than %d bytes", r.lines.line+1, maxRowBytes)
		}
	}
	var fields []arrow.Field
	if declared != nil {
		fields = declared.Fields()
	}
	for _, f := range root.fields {
		if declared != nil && declared.HasField(f.name) {
			continue
		}
		r.guessed = true
		fields = append(fields, arrow.Field{Name: f.name, Type: f.result(), Nullable: true})
	}
	if len(fields) == 0 {
		return nil, fault.New(fault.InvalidRequest, "the body has no fields")
	}
	return Canonical(arrow.NewSchema(fields, nil))
}

func (r *ndjsonReader) observe(root *shape, b []byte, declared *arrow.Schema) error {
	s := shapeScan{declared: declared}
	if !utf8.Valid(b) {
		return r.wrong(jsonError("not UTF-8"))
	}
	s.reset(b)
	if s.peek() != '{' {
		return r.wrong(jsonError("not a JSON object"))
	}
	s.total = root.count()
	err := s.object(root, 1)
	if err == nil {
		err = s.atEnd()
	}
	if err != nil {
		return rowError(err, fmt.Sprintf("line %d", r.lines.line), s.where(), "")
	}
	return nil
}

func (r *ndjsonReader) Schema() *arrow.Schema { return r.schema }

func (r *ndjsonReader) Close() error {
	r.build.Release()
	return nil
}

func (r *ndjsonReader) Next() (arrow.RecordBatch, error) {
	rows, size := 0, 0
	for rows < maxBatchRows && size < r.batch {
		b, err := r.lines.next()
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF is a failure, not the end
			break
		} else if err != nil {
			return nil, err
		}
		if err := r.row(b); err != nil {
			return nil, r.wrong(err)
		}
		rows++
		size += r.json.cost + r.root.width + len(b)
	}
	if rows == 0 {
		return nil, io.EOF
	}
	return r.build.NewRecordBatch(), nil
}

func (r *ndjsonReader) row(b []byte) error {
	d := &r.json
	d.reset(b)
	d.path, d.cost = d.path[:0], 0
	if !utf8.Valid(b) {
		return jsonError("not UTF-8")
	}
	if d.peek() != '{' {
		return jsonError("not a JSON object")
	}
	if err := d.object(r.root); err != nil {
		return err
	}
	return d.atEnd()
}

// wrong names the line and field of an error.
func (r *ndjsonReader) wrong(err error) error {
	hint := ""
	if r.guessed && r.sampled > 0 && r.lines.line > r.sampled {
		hint = fmt.Sprintf(" (types were inferred from the first %d rows; the schema parameter sets others)", r.sampled)
	}
	return rowError(err, fmt.Sprintf("line %d", r.lines.line), r.json.where(), hint)
}
