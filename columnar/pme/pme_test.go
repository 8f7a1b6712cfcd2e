package pme_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"coldframe/columnar/pme"
	"coldframe/internal/secret"
)

// testSchema has flat, nullable and nested columns: 9 columns, 11 leaves.
var testSchema = arrow.NewSchema([]arrow.Field{
	{Name: "id", Type: arrow.PrimitiveTypes.Int64},
	{Name: "price", Type: arrow.PrimitiveTypes.Float64},
	{Name: "city", Type: arrow.BinaryTypes.String},
	{Name: "token", Type: arrow.BinaryTypes.String},
	{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}},
	{Name: "ok", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "tags", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true},
	{Name: "where", Type: arrow.StructOf(
		arrow.Field{Name: "lat", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
		arrow.Field{Name: "names", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
		arrow.Field{Name: "n", Type: arrow.PrimitiveTypes.Int16},
	), Nullable: true},
	{Name: "amount", Type: &arrow.Decimal128Type{Precision: 18, Scale: 4}, Nullable: true},
}, nil)

// testRecord makes rows of testSchema; secretText stands in a string column.
func testRecord(r *rand.Rand, rows int, secretText string) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, testSchema)
	defer b.Release()
	where := b.Field(7).(*array.StructBuilder)
	tags := b.Field(6).(*array.ListBuilder)
	names := where.FieldBuilder(1).(*array.ListBuilder)
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i) * 3)
		b.Field(1).(*array.Float64Builder).Append(r.NormFloat64())
		b.Field(2).(*array.StringBuilder).Append(fmt.Sprintf("city %d", r.IntN(20)))
		b.Field(3).(*array.StringBuilder).Append(fmt.Sprintf("%s%016x", secretText, r.Uint64()))
		b.Field(4).(*array.TimestampBuilder).Append(arrow.Timestamp(r.Int64N(1 << 50)))
		if i%7 == 0 {
			b.Field(5).AppendNull()
			tags.AppendNull()
			where.AppendNull()
			b.Field(8).AppendNull()
			continue
		}
		b.Field(5).(*array.BooleanBuilder).Append(r.IntN(2) == 0)
		tags.Append(true)
		for range r.IntN(4) {
			tags.ValueBuilder().(*array.Int32Builder).Append(r.Int32())
		}
		where.Append(true)
		where.FieldBuilder(0).(*array.Float32Builder).Append(r.Float32())
		names.Append(true)
		for range r.IntN(3) {
			names.ValueBuilder().(*array.StringBuilder).Append(strings.Repeat("n", r.IntN(9)))
		}
		where.FieldBuilder(2).(*array.Int16Builder).Append(int16(r.IntN(1000)))
		b.Field(8).(*array.Decimal128Builder).Append(decimal128.FromI64(r.Int64N(1 << 40)))
	}
	return b.NewRecordBatch()
}

// shape is one way of writing.
type shape struct {
	name   string
	opts   []parquet.WriterProperty
	groups int
	rows   int
}

func shapes() []shape {
	return []shape{
		{"zstd, dictionary, v1", []parquet.WriterProperty{
			parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDataPageSize(2048), parquet.WithBatchSize(64),
		}, 2, 1500},
		{"plain, no dictionary, v1", []parquet.WriterProperty{
			parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(1024), parquet.WithBatchSize(128),
		}, 1, 800},
		{"zstd, v2", []parquet.WriterProperty{
			parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithDataPageSize(2048),
			parquet.WithBatchSize(100),
		}, 3, 600},
		{"page index", []parquet.WriterProperty{
			parquet.WithCompression(compress.Codecs.Zstd), parquet.WithPageIndexEnabled(true),
		}, 1, 300},
		{"bloom filter", []parquet.WriterProperty{parquet.WithBloomFilterEnabled(true)}, 1, 100},
		{"no rows", nil, 0, 0},
	}
}

// encode writes rec as a plain Parquet file.
func encode(t testing.TB, rec arrow.RecordBatch, opts ...parquet.WriterProperty) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(rec.Schema(), &buf, parquet.NewWriterProperties(opts...),
		pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	if rec.NumRows() > 0 {
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func column(rec arrow.RecordBatch, i int) arrow.RecordBatch {
	s := arrow.NewSchema([]arrow.Field{rec.Schema().Field(i)}, nil)
	return array.NewRecordBatch(s, []arrow.Array{rec.Column(i)}, rec.NumRows())
}

// keyring holds the keys of one dataset version: a footer key, and one for each top-level column.
type keyring struct {
	footer  pme.NamedKey
	columns []pme.NamedKey
	without map[int]bool // columns whose key is not had
}

func newKeyring(columns int) *keyring {
	k := &keyring{footer: pme.NamedKey{ID: "key-footer", Key: secret.Random()}, without: map[int]bool{}}
	for i := range columns {
		k.columns = append(k.columns, pme.NamedKey{ID: fmt.Sprintf("key-%d", i), Key: secret.Random()})
	}
	return k
}

func (k *keyring) keys() pme.Keys {
	return pme.Keys{Footer: k.footer, Column: func(l pme.Leaf) (pme.NamedKey, bool) { return k.columns[l.Column], !k.without[l.Column] }}
}

var testPrefix = []byte("dataset, version, part")

// sealed is a file and what its writer said about it.
type sealed struct {
	bytes  []byte
	chunks []pme.Chunk
	tail   pme.Tail
}

// seal writes record batches as row groups of one file.
func seal(t testing.TB, k *keyring, recs []arrow.RecordBatch, change func(*pme.FileConfig), opts ...parquet.WriterProperty) sealed {
	t.Helper()
	empty := testRecord(rand.New(rand.NewPCG(1, 1)), 0, "")
	cfg := pme.FileConfig{
		Template: encode(t, empty, opts...), AADPrefix: testPrefix, Footer: k.footer,
		ColumnKey: func(l pme.Leaf) pme.NamedKey { return k.columns[l.Column] }, CreatedBy: "coldframe test",
	}
	if change != nil {
		change(&cfg)
	}
	var out bytes.Buffer
	w, err := pme.NewFileWriter(&out, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var s sealed
	for g, rec := range recs {
		var columns []*pme.SealedColumn
		for i := range int(rec.NumCols()) {
			c, err := w.SealPlain(g, i, encode(t, column(rec, i), opts...), nil)
			if err != nil {
				t.Fatal(err)
			}
			columns = append(columns, c)
		}
		chunks, err := w.AppendRowGroup(columns)
		if err != nil {
			t.Fatal(err)
		}
		s.chunks = append(s.chunks, chunks...)
	}
	if s.tail, err = w.Close(); err != nil {
		t.Fatal(err)
	}
	s.bytes = out.Bytes()
	return s
}

// sealShape writes random rows in a shape.
func sealShape(t testing.TB, k *keyring, sh shape, seed uint64) (sealed, []arrow.RecordBatch) {
	r := rand.New(rand.NewPCG(seed, 0))
	var recs []arrow.RecordBatch
	for range sh.groups {
		recs = append(recs, testRecord(r, sh.rows, "plain "))
	}
	return seal(t, k, recs, nil, sh.opts...), recs
}

// open opens a file whose bytes it does not change.
func open(b []byte, keys pme.DataKeys, o pme.ReadOptions) (*pme.File, error) {
	n, err := pme.TailSize(b, int64(len(b)), o)
	if err != nil {
		return nil, err
	}
	return pme.OpenFooter(bytes.Clone(b[int64(len(b))-n:]), int64(len(b)), keys, o)
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

var strict = pme.ReadOptions{AADPrefix: testPrefix}

// plainFile unseals top-level columns of all row groups.
func plainFile(f *pme.File, b []byte, columns []int) (*pme.PlainFile, error) {
	var groups []int
	var chunks []*pme.UnsealedChunk
	for g := range f.NumRowGroups() {
		groups = append(groups, g)
		for _, c := range columns {
			first, end := f.LeavesOf(c)
			for leaf := first; leaf < end; leaf++ {
				off, n, err := f.Range(g, leaf)
				if err != nil {
					return nil, err
				}
				u, err := f.UnsealChunk(g, leaf, bytes.Clone(b[off:off+n]))
				if err != nil {
					return nil, err
				}
				chunks = append(chunks, u)
			}
		}
	}
	return f.PlainFile(groups, columns, chunks), nil
}

// decode reads a plain file with arrow-go into one record batch a row group.
func decode(p parquet.ReaderAtSeeker) (tbl arrow.Table, err error) {
	err = pme.Guard(func() error {
		pf, err := file.NewParquetReader(p)
		if err != nil {
			return err
		}
		r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{Parallel: true}, memory.DefaultAllocator)
		if err != nil {
			return err
		}
		tbl, err = r.ReadTable(context.Background())
		return err
	})
	return tbl, err
}

// readAll opens, unseals and decodes the wanted columns of a file.
func readAll(b []byte, keys pme.DataKeys, o pme.ReadOptions, columns []int) (arrow.Table, error) {
	f, err := open(b, keys, o)
	if err != nil {
		return nil, err
	}
	if columns == nil {
		for i := range f.Columns() {
			columns = append(columns, i)
		}
	}
	p, err := plainFile(f, b, columns)
	if err != nil {
		return nil, err
	}
	return decode(p)
}

// same compares the columns of a table with those of the batches that were written.
func same(t testing.TB, got arrow.Table, want []arrow.RecordBatch, columns []int) {
	t.Helper()
	if int(got.NumCols()) != len(columns) {
		t.Fatalf("%d columns, want %d", got.NumCols(), len(columns))
	}
	for i, c := range columns {
		var parts []arrow.Array
		for _, rec := range want {
			parts = append(parts, rec.Column(c))
		}
		if len(parts) == 0 {
			if got.NumRows() != 0 {
				t.Fatalf("%d rows out of nothing", got.NumRows())
			}
			continue
		}
		w := arrow.NewChunked(parts[0].DataType(), parts)
		if !array.ChunkedEqual(w, got.Column(i).Data()) {
			t.Fatalf("column %s differs", testSchema.Field(c).Name)
		}
	}
}

func all() []int {
	c := make([]int, testSchema.NumFields())
	for i := range c {
		c[i] = i
	}
	return c
}
