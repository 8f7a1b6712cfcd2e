package format

import (
	"bytes"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
)

const flushBytes = 256 << 10

// out gathers text and hands it on in pieces; the first error sticks.
type out struct {
	w   io.Writer
	buf []byte
	err error
}

func (o *out) flush(force bool) error {
	if o.err == nil && (force || len(o.buf) >= flushBytes) {
		_, o.err = o.w.Write(o.buf)
		o.buf = o.buf[:0]
	}
	return o.err
}

// csvWriter writes RFC 4180 with LF after each record. Null is an empty field, the empty string a quoted one.
type csvWriter struct {
	out
	schema *arrow.Schema
}

func newCSVWriter(w io.Writer, schema *arrow.Schema) *csvWriter {
	c := &csvWriter{out: out{w: w, buf: make([]byte, 0, flushBytes+4096)}, schema: schema}
	for i, f := range schema.Fields() {
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		c.buf = append(c.buf, f.Name...)
		c.buf = quoteCSV(c.buf, len(c.buf)-len(f.Name))
	}
	c.buf = append(c.buf, '\n')
	return c
}

// csvCell writes one column's values.
type csvCell struct {
	arr    arrow.Array
	value  cell
	quoted bool // a value may need quotes
}

func newCSVCell(arr arrow.Array) csvCell {
	switch t := arr.DataType(); {
	case t.ID() == arrow.NULL:
		return csvCell{arr: arr}
	case arrow.IsNested(t.ID()):
		return csvCell{arr, jsonValue(arr), true}
	default:
		id := t.ID()
		return csvCell{arr, plainCell(arr), id == arrow.STRING || id == arrow.BINARY || id == arrow.DICTIONARY}
	}
}

func (w *csvWriter) Write(b arrow.RecordBatch) error {
	cells := make([]csvCell, b.NumCols())
	for i := range cells {
		cells[i] = newCSVCell(b.Column(i))
	}
	for row := range int(b.NumRows()) {
		for i := range cells {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			c := &cells[i]
			if c.value == nil || c.arr.IsNull(row) {
				continue
			}
			start := len(w.buf)
			w.buf = c.value(w.buf, row)
			if c.quoted {
				w.buf = quoteCSV(w.buf, start)
			}
		}
		w.buf = append(w.buf, '\n')
		if err := w.flush(false); err != nil {
			return err
		}
	}
	return w.err
}

func (w *csvWriter) Close() error { return w.flush(true) }

// quoteCSV puts the field dst[start:] in quotes if it is empty or has a delimiter, quote or line break in it.
func quoteCSV(dst []byte, start int) []byte {
	f := dst[start:]
	quotes, need := 0, len(f) == 0
	for _, c := range f {
		switch c {
		case '"':
			quotes++
			need = true
		case ',', '\n', '\r':
			need = true
		}
	}
	if start == 0 && bytes.HasPrefix(f, []byte("\xef\xbb\xbf")) { // a name, which must not be read as a byte order mark
		need = true
	}
	if !need {
		return dst
	}
	n := len(f)
	dst = append(dst, make([]byte, quotes+2)...)
	to := len(dst) - 1
	dst[to] = '"'
	for from := start + n - 1; from >= start; from-- {
		to--
		dst[to] = dst[from]
		if dst[from] == '"' {
			to--
			dst[to] = '"'
		}
	}
	dst[start] = '"'
	return dst
}
