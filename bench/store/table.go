package main

import (
	"bufio"
	"errors"
	"io"
	"os"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"coldframe/columnar/columnartest"
)

const batchRows = 32 << 10

// table is an Arrow stream of the mixed table, in a file.
type table struct {
	path string
	rows int
	raw  float64 // bytes in memory, about
}

func (t *table) make() error {
	out, err := os.Create(t.path)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(out, 1<<20)
	if err := t.write(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return out.Close()
}

// write generates the table onto w.
func (t *table) write(w io.Writer) error {
	out := ipc.NewWriter(w, ipc.WithSchema(columnartest.MixedSchema))
	m := columnartest.NewMixed(1)
	for left := t.rows; left > 0; left -= batchRows {
		batch := m.Batch(min(left, batchRows))
		err := out.Write(batch)
		batch.Release()
		if err != nil {
			return err
		}
	}
	return out.Close()
}

// repeat writes the rows of the file so many times as one stream.
func (t *table) repeat(w io.Writer, times int) error {
	out := ipc.NewWriter(w, ipc.WithSchema(columnartest.MixedSchema))
	for range times {
		if err := t.copyTo(out); err != nil {
			return err
		}
	}
	return out.Close()
}

func (t *table) copyTo(out *ipc.Writer) error {
	f, err := os.Open(t.path)
	if err != nil {
		return err
	}
	defer f.Close()
	in, err := ipc.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return err
	}
	defer in.Release()
	for in.Next() {
		if err := out.Write(in.RecordBatch()); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
