package format

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

const (
	parquetRowGroup = 16 << 20 // raw bytes
	parquetPage     = 1 << 20
)

// parquetWriter writes plain Parquet with zstd, the Arrow schema in the footer, and row groups of about 16 MiB raw.
type parquetWriter struct {
	w    *pqarrow.FileWriter
	raw  int // bytes in the current row group
	open bool
	err  error
}

func newParquetWriter(w io.Writer, schema *arrow.Schema) (*parquetWriter, error) {
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCompressionLevel(1), parquet.WithDataPageSize(parquetPage),
		parquet.WithMaxRowGroupLength(1<<30), parquet.WithCreatedBy("coldframe"))
	// The sink is wrapped so that the file writer cannot close it.
	fw, err := pqarrow.NewFileWriter(schema, struct{ io.Writer }{w}, props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return nil, fmt.Errorf("format: parquet: %w", err)
	}
	return &parquetWriter{w: fw}, nil
}

func (w *parquetWriter) Write(b arrow.RecordBatch) error {
	return w.do(func() error {
		if b.NumRows() == 0 {
			return nil
		}
		if !w.open {
			if err := w.w.NewBufferedRowGroupChecked(); err != nil {
				return err
			}
			w.open = true
		}
		if w.raw += batchBytes(b); w.raw >= parquetRowGroup {
			w.raw, w.open = 0, false
		}
		return w.w.WriteBuffered(b)
	})
}

func (w *parquetWriter) Close() error { return w.do(w.w.Close) }

// do runs f unless an earlier call failed, and turns its panics into errors.
func (w *parquetWriter) do(f func() error) error {
	if w.err != nil {
		return w.err
	}
	defer func() {
		if p := recover(); p != nil {
			w.err = fmt.Errorf("format: parquet: %v", p)
		}
	}()
	w.err = f()
	return w.err
}

// batchBytes is about the raw size of a batch.
func batchBytes(b arrow.RecordBatch) int {
	n := 0
	for _, c := range b.Columns() {
		n += arrayBytes(c)
	}
	return n
}

func arrayBytes(arr arrow.Array) int {
	n := arr.Len() * rawWidth(arr.DataType())
	switch a := arr.(type) {
	case *array.String:
		if a.Len() > 0 {
			o := a.ValueOffsets()
			n += int(o[len(o)-1] - o[0])
		}
	case *array.Binary:
		if a.Len() > 0 {
			o := a.ValueOffsets()
			n += int(o[len(o)-1] - o[0])
		}
	case *array.Struct:
		for i := range a.NumField() {
			n += arrayBytes(a.Field(i))
		}
	case *array.List:
		n += listBytes(a, a.ListValues())
	case *array.Map:
		n += listBytes(a.List, a.ListValues())
	}
	return n
}

func listBytes(a *array.List, values arrow.Array) int {
	if a.Len() == 0 {
		return 0
	}
	from, _ := a.ValueOffsets(0)
	_, to := a.ValueOffsets(a.Len() - 1)
	s := array.NewSlice(values, from, to)
	defer s.Release()
	return arrayBytes(s)
}
