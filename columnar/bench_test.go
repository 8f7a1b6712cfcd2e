package columnar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"golang.org/x/sys/unix"

	"coldframe/columnar/columnartest"
	"coldframe/internal/fault"
	"coldframe/internal/parquetguard"
	"coldframe/internal/secret"
	"coldframe/internal/signed"
)

// memory store: objects in a map.
type memStore struct {
	Store
	mu      sync.Mutex
	objects map[ObjectName][]byte
	read    int64
	room    int // an object is expected to take
}

type memUpload struct {
	bytes.Buffer
	store *memStore
	name  ObjectName
}

func newMemStore() *memStore { return &memStore{objects: map[ObjectName][]byte{}} }

func (s *memStore) Create(_ context.Context, n ObjectName, _ CreateOptions) (Upload, error) {
	u := &memUpload{store: s, name: n}
	u.Grow(s.room)
	return u, nil
}

func (u *memUpload) Close() error {
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	u.store.objects[u.name] = u.Bytes()
	return nil
}

func (u *memUpload) Abort() error { return nil }

func (s *memStore) ReadRange(_ context.Context, n ObjectName, off, length int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.objects[n]
	if !ok {
		return nil, fault.New(fault.NotFound, "no object")
	}
	s.read += length
	return io.NopCloser(bytes.NewReader(b[off : off+length])), nil
}

func (s *memStore) Delete(_ context.Context, n ObjectName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, n)
	return nil
}

type fixedKeys struct{ keys *VersionKeys }

func (k fixedKeys) VersionKeys(context.Context, DatasetID, Version) (*VersionKeys, error) {
	return k.keys.Clone(), nil
}

// bench is one table, written and read in turns by us and by arrow-go.
type bench struct {
	tb      testing.TB
	batches []arrow.RecordBatch
	raw     float64 // MB
	columns []ColumnID
	keys    *VersionKeys
	store   *memStore
	version *Manifest
	plain   []byte
}

func newBench(tb testing.TB, rows int) *bench {
	b := &bench{tb: tb}
	g := columnartest.NewMixed(1)
	for range rows / 50_000 {
		rec := g.Batch(50_000)
		b.batches = append(b.batches, rec)
		for _, c := range rec.Columns() {
			b.raw += float64(rawSize(c)) / 1e6
		}
	}
	for range columnartest.MixedSchema.NumFields() {
		b.columns = append(b.columns, NewColumnID())
	}
	return b
}

// write writes the table and signs a manifest for it.
func (b *bench) write() {
	b.store, b.keys = newMemStore(), NewVersionKeys(b.columns)
	b.store.room = int(b.raw * 1e6 / 3) // what is measured is not how a buffer grows
	s := signed.Signer{User: "ada", Key: secret.Random()}
	_, roster, err := NewRoster(s, make([]byte, 32), 30, time.Now())
	b.must(err)
	w, err := NewWriter(context.Background(), b.store, WriterOptions{
		Dataset: roster.ID, Version: 1, Schema: columnartest.MixedSchema, Columns: b.columns, Keys: b.keys,
		Register: func(ObjectName) error { return nil },
	})
	b.must(err)
	for _, rec := range b.batches {
		b.must(w.Write(rec))
	}
	parts, err := w.Close()
	b.must(err)
	_, b.version, err = Draft{
		Roster: roster, Schema: columnartest.MixedSchema, Columns: b.columns, Keys: b.keys, Parts: parts, Metadata: NewMetadataKey(), Now: time.Now(),
	}.Sign(context.Background(), b.store, nil, s)
	b.must(err)
	b.version.spreadRows(b.version.Parts)
}

func (b *bench) read(columns []ColumnID) {
	r, err := NewReader(context.Background(), b.store, b.version, fixedKeys{b.keys}, ReadOptions{Columns: columns})
	b.must(err)
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		b.must(err)
		rec.Release()
	}
}

func (b *bench) must(err error) {
	b.tb.Helper()
	if err != nil {
		b.tb.Fatal(err)
	}
}

// writePlain and readPlain are arrow-go with zstd and nothing else set, one row group of 400,000 rows after the other.
func (b *bench) writePlain() {
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(columnartest.MixedSchema, &out,
		parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd)), pqarrow.DefaultWriterProps())
	b.must(err)
	for i, rec := range b.batches {
		if i%8 == 0 {
			w.NewBufferedRowGroup()
		}
		b.must(w.WriteBuffered(rec))
	}
	b.must(w.Close())
	b.plain = out.Bytes()
}

func (b *bench) readPlain() {
	f, err := file.NewParquetReader(bytes.NewReader(b.plain))
	b.must(err)
	defer f.Close()
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: 64 << 10}, memory.DefaultAllocator)
	b.must(err)
	rr, err := r.GetRecordReader(context.Background(), nil, nil)
	b.must(err)
	defer rr.Release()
	for rr.Next() {
	}
	if err := rr.Err(); !errors.Is(err, io.EOF) {
		b.must(err)
	}
}

// timed returns the seconds on the clock and of CPU that fn took.
func timed(fn func()) (wall, cpu float64) {
	used := func() float64 {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	c, t := used(), time.Now()
	fn()
	return time.Since(t).Seconds(), used() - c
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkAgainstArrow prints a line "name value unit" for each figure.
func BenchmarkAgainstArrow(tb *testing.B) {
	b := newBench(tb, 800_000)
	stocked := func(fn func()) func() {
		return func() {
			compress.RegisterCodec(compress.Codecs.Zstd, parquetguard.StockZstd)
			defer compress.RegisterCodec(compress.Codecs.Zstd, parquetguard.Zstd)
			fn()
		}
	}
	var ourWrite, theirWrite, ourRead, theirRead, writeRatio, readRatio []float64
	for range 5 {
		theirs, _ := timed(stocked(b.writePlain))
		ours, _ := timed(b.write)
		theirWrite, ourWrite, writeRatio = append(theirWrite, b.raw/theirs), append(ourWrite, b.raw/ours), append(writeRatio, theirs/ours)
		theirs, _ = timed(stocked(b.readPlain))
		ours, _ = timed(func() { b.read(nil) })
		theirRead, ourRead, readRatio = append(theirRead, b.raw/theirs), append(ourRead, b.raw/ours), append(readRatio, theirs/ours)
	}
	line := func(name string, value float64, unit string) { fmt.Printf("columnar.%s %.3g %s\n", name, value, unit) }
	line("write", median(ourWrite), "MB/s")
	line("write.arrow", median(theirWrite), "MB/s")
	line("write.ratio", median(writeRatio), "x")
	line("read", median(ourRead), "MB/s")
	line("read.arrow", median(theirRead), "MB/s")
	line("read.ratio", median(readRatio), "x")
	line("size", float64(b.version.Parts[0].Length)/1e6, "MB")
	line("size.arrow", float64(len(b.plain))/1e6, "MB")
	b.store.read = 0
	b.read(b.columns[1:3])
	line("subset.fetched", float64(b.store.read), "B")
	line("subset.wanted", float64(b.wanted(1, 3)), "B")
}

// BenchmarkWrite writes a table into memory, and tells the CPU time that it took.
func BenchmarkWrite(tb *testing.B) {
	b := newBench(tb, 800_000)
	tb.SetBytes(int64(b.raw * 1e6))
	var cpu float64
	for tb.Loop() {
		_, used := timed(b.write)
		cpu += used
	}
	tb.ReportMetric(b.raw*float64(tb.N)/cpu, "MB/cpu-s")
	tb.ReportMetric(float64(b.version.Parts[0].Length)/1e6, "MB")
}

// wanted returns the size of the chunks of the flat columns [from, to).
func (b *bench) wanted(from, to int) (n int64) {
	p := b.version.Parts[0]
	leaves := p.chunkCount() / int(p.RowGroups)
	for i := range p.chunkCount() {
		if leaf := i % leaves; leaf >= from && leaf < to {
			l, _ := p.chunk(i)
			n += l
		}
	}
	return n
}
