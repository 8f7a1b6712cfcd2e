package format

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// arrowWriter writes an Arrow IPC stream, not compressed, its end mark included.
type arrowWriter struct {
	w   *ipc.Writer
	err error
}

func newArrowWriter(w io.Writer, schema *arrow.Schema) *arrowWriter {
	return &arrowWriter{w: ipc.NewWriter(w, ipc.WithSchema(schema))}
}

func (w *arrowWriter) Write(b arrow.RecordBatch) error {
	return w.do(func() error { return w.w.Write(b) })
}

func (w *arrowWriter) Close() error { return w.do(w.w.Close) }

func (w *arrowWriter) do(f func() error) error {
	if w.err != nil {
		return w.err
	}
	defer func() {
		if p := recover(); p != nil {
			w.err = fmt.Errorf("format: arrow: %v", p)
		}
	}()
	w.err = f()
	return w.err
}
