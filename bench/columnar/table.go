package main

import (
	"bufio"
	"context"
	"io"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"coldframe/columnar/columnartest"
	"coldframe/columnar/format"
)

// table is a table in memory.
type table struct {
	name    string
	schema  *arrow.Schema
	batches []arrow.RecordBatch
	rows    int
	raw     float64 // bytes
}

const batchRows = 50_000

func newMixed(rows int) *table {
	t := &table{name: "mixed", schema: columnartest.MixedSchema}
	for m := columnartest.NewMixed(1); t.rows < rows; {
		t.add(m.Batch(min(batchRows, rows-t.rows)))
	}
	return t
}

// readFlights reads a Parquet file as an import does, up to a number of rows.
func readFlights(ctx context.Context, path string, rows int) (*table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := format.NewReader(ctx, format.Parquet, f, format.ReadOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t := &table{name: "flights", schema: r.Schema()}
	for t.rows < rows {
		batch, err := r.Next()
		if err == io.EOF { //nolint:errorlint // a failure that wraps io.EOF is not the end
			break
		}
		if err != nil {
			return nil, err
		}
		t.add(batch.NewSlice(0, min(batch.NumRows(), int64(rows-t.rows))))
		batch.Release()
	}
	return t, nil
}

func (t *table) add(batch arrow.RecordBatch) {
	t.batches = append(t.batches, batch)
	t.rows += int(batch.NumRows())
	for _, c := range batch.Columns() {
		t.raw += float64(c.Data().SizeInBytes())
	}
}

// file writes the table to a file as an Arrow stream.
func (t *table) file(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	if err := t.stream(b, 0); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// stream writes the table as an Arrow stream, again and again until so many bytes of rows were written.
func (t *table) stream(w io.Writer, bytes float64) error {
	out := ipc.NewWriter(w, ipc.WithSchema(t.schema))
	for sum := 0.0; sum == 0 || sum < bytes; sum += t.raw {
		for _, b := range t.batches {
			if err := out.Write(b); err != nil {
				return err
			}
		}
	}
	return out.Close()
}
