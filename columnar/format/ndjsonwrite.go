package format

import (
	"io"

	"github.com/apache/arrow-go/v18/arrow"
)

// ndjsonWriter writes one JSON object a row, all columns in it, nulls too, LF after each.
type ndjsonWriter struct {
	out
	keys [][]byte
}

func newNDJSONWriter(w io.Writer, schema *arrow.Schema) *ndjsonWriter {
	n := &ndjsonWriter{out: out{w: w, buf: make([]byte, 0, flushBytes+4096)}}
	for i, f := range schema.Fields() {
		n.keys = append(n.keys, jsonKey(f.Name, i == 0))
	}
	return n
}

func (w *ndjsonWriter) Write(b arrow.RecordBatch) error {
	cells := make([]cell, b.NumCols())
	for i := range cells {
		cells[i] = jsonCell(b.Column(i))
	}
	for row := range int(b.NumRows()) {
		w.buf = append(w.buf, '{')
		for i, c := range cells {
			w.buf = c(append(w.buf, w.keys[i]...), row)
		}
		w.buf = append(w.buf, '}', '\n')
		if err := w.flush(false); err != nil {
			return err
		}
	}
	return w.err
}

func (w *ndjsonWriter) Close() error { return w.flush(true) }
