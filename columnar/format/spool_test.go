package format

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// What is written to the disk is not what was put in, a changed block is noticed, and the file has no name.
func TestG01_SpoolIsSealed(t *testing.T) {
	dir := t.TempDir()
	s, err := newSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	canary := []byte("canary of the spool ")
	plain := bytes.Repeat(canary, 20_000)
	if _, err := s.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := s.finish(); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("the spool has a name: %v, %v", names, err)
	}
	st, err := s.f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, st.Size())
	if _, err := s.f.ReadAt(raw, 0); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, canary[:8]) {
		t.Error("plaintext in the spool's file")
	}
	got := make([]byte, len(plain))
	if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("not what was written: %v", err)
	}
	for _, off := range []int64{0, 1, spoolBlockSize - 1, spoolBlockSize, int64(len(plain)) - 1} {
		b := make([]byte, 1)
		if _, err := s.ReadAt(b, off); err != nil || b[0] != plain[off] {
			t.Errorf("byte %d: %v", off, err)
		}
	}
	if n, err := s.ReadAt(make([]byte, 10), int64(len(plain))-3); n != 3 || !errors.Is(err, io.EOF) {
		t.Errorf("over the end: %d, %v", n, err)
	}
	raw[spoolBlockSize/2] ^= 1
	if _, err := s.f.WriteAt(raw[:spoolBlockSize], 0); err != nil {
		t.Fatal(err)
	}
	for i := range s.cache {
		s.cache[i].index = -1
	}
	if _, err := s.ReadAt(make([]byte, 1), 0); fault.CodeOf(err) != fault.NotAuthentic {
		t.Errorf("a changed block: %v", err)
	}
}

// One Arrow message of 38 MiB, and the same compressed, is read in batches, in little memory and right.
func TestD13_LargeMessage(t *testing.T) {
	schema := mustSchema(t, "id int64, name string, tags list<int32>")
	const rows = 700_000
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	b.Reserve(rows)
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("the name of row %d", i))
		l := b.Field(2).(*array.ListBuilder)
		l.Append(true)
		for j := range i % 4 {
			l.ValueBuilder().(*array.Int32Builder).Append(int32(i + j))
		}
	}
	batch := b.NewRecordBatch()
	for name, options := range map[string][]ipc.Option{"plain": nil, "zstd": {ipc.WithZstd()}, "lz4": {ipc.WithLZ4()}} {
		t.Run(name, func(t *testing.T) {
			f, err := os.CreateTemp(t.TempDir(), "body")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			w := ipc.NewWriter(f, append(options, ipc.WithSchema(schema))...)
			if err := w.Write(batch); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			base := live()
			r, err := NewReader(context.Background(), Arrow, f, ReadOptions{SpoolDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			next, peak := int64(0), uint64(0)
			for {
				got, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				if got.NumRows() > maxBatchRows || batchBytes(got) > 2*DefaultBatchBytes {
					t.Fatalf("a batch of %d rows and %d bytes", got.NumRows(), batchBytes(got))
				}
				peak = max(peak, live())
				sameTable(t, name, got.Schema(), schema, []arrow.RecordBatch{got.NewSlice(0, 3)}, []arrow.RecordBatch{batch.NewSlice(next, next+3)})
				n := got.NumRows()
				sameTable(t, name, got.Schema(), schema, []arrow.RecordBatch{got.NewSlice(n-3, n)}, []arrow.RecordBatch{batch.NewSlice(next+n-3, next+n)})
				next += n
			}
			if next != rows {
				t.Errorf("%d rows, want %d", next, rows)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if peak > base+64<<20 {
				t.Errorf("%d MiB of memory", (peak-base)>>20)
			}
			t.Logf("peak %d MiB above idle", (int64(peak)-int64(base))>>20)
		})
	}
	runtime.KeepAlive(batch)
}

// live returns the bytes in use after a collection.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
