package columnar

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"runtime"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

const (
	pageBytes = 1 << 20

	// zstdLevel is the fastest ordinary one: higher ones cost twice the time for a few percent.
	zstdLevel = 1

	// maxStats bounds the least and greatest value kept in a chunk's metadata; longer ones are cut.
	maxStats = 64

	// manyChunks is from how many batches on a column is copied together before it is encoded: each costs the encoder a fixed time.
	manyChunks = 8

	createdBy = "coldframe"
)

// columnEncoder writes one top-level column of a row group at a time as a plain Parquet file of its own, with arrow-go.
type columnEncoder struct {
	field   arrow.Field // of the storage schema
	schema  *arrow.Schema
	chosen  sync.Once
	options *parquet.WriterProperties
}

func newColumnEncoder(f arrow.Field) *columnEncoder {
	return &columnEncoder{field: f, schema: arrow.NewSchema([]arrow.Field{f}, nil)}
}

// encode appends rows of the column to out as a plain file with one row group. chunks are arrays of the dataset's own type.
// refined is what its statistics lack, nil if nothing. fault.InvalidRequest names the column if its values cannot be kept.
func (e *columnEncoder) encode(out *bytes.Buffer, chunks []arrow.Array) (refined *pme.Statistics, err error) {
	defer func() {
		if r := recover(); r != nil {
			f := fault.New(fault.InvalidRequest, "column %q cannot be encoded", e.field.Name)
			if cause, ok := r.(runtime.Error); ok { // what a library panics with may quote the data
				f.Err = cause
			}
			err = f
		}
	}()
	stored, err := e.toStorage(chunks)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "column %q: %s", e.field.Name, err)
	}
	defer releaseAll(stored)
	e.chosen.Do(func() { e.options = writerOptions(e.choose(stored)) })
	if err := e.write(out, stored); err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "column %q cannot be encoded", e.field.Name)
	}
	return refine(stored), nil
}

func (e *columnEncoder) toStorage(chunks []arrow.Array) ([]arrow.Array, error) {
	var stored []arrow.Array
	for _, c := range chunks {
		s, err := toStorage(c, e.field.Type)
		if err != nil {
			releaseAll(stored)
			return nil, err
		}
		stored = append(stored, s)
		if !e.field.Nullable && s.NullN() > 0 {
			releaseAll(stored)
			return nil, fmt.Errorf("a null in a column that has none")
		}
	}
	if len(stored) < manyChunks {
		return stored, nil
	}
	defer releaseAll(stored)
	whole, err := array.Concatenate(stored, memory.DefaultAllocator)
	return []arrow.Array{whole}, err
}

func (e *columnEncoder) write(out *bytes.Buffer, stored []arrow.Array) error {
	w, err := pqarrow.NewFileWriter(e.schema, out, e.options, pqarrow.NewArrowWriterProperties())
	if err != nil {
		return err
	}
	if err := w.NewRowGroupChecked(); err != nil {
		return err
	}
	column := arrow.NewChunked(e.field.Type, stored)
	defer column.Release()
	if err := w.WriteColumnChunked(column, 0, int64(column.Len())); err != nil {
		return err
	}
	return w.Close()
}

// choose returns the encoding of each leaf by its path. Two leaves of one path (names may hold dots) are both left plain.
func (e *columnEncoder) choose(stored []arrow.Array) map[string]encoding {
	paths := leafPaths(e.schema)
	chosen := make(map[string]encoding, len(paths))
	leaves := leafArrays(largest(stored))
	for i, path := range paths {
		if _, twice := chosen[path]; twice {
			chosen[path] = plain
			continue
		}
		chosen[path] = chooseEncoding(leaves[i])
	}
	return chosen
}

func largest(arrays []arrow.Array) arrow.Array {
	l := arrays[0]
	for _, a := range arrays[1:] {
		if a.Len() > l.Len() {
			l = a
		}
	}
	return l
}

func leafPaths(s *arrow.Schema) []string {
	p := parquetSchema(s)
	paths := make([]string, p.NumColumns())
	for i := range paths {
		paths[i] = p.Column(i).Path()
	}
	return paths
}

// parquetSchema returns the Parquet schema of a storage schema, which always has one.
func parquetSchema(s *arrow.Schema) *schema.Schema {
	p, err := pqarrow.ToParquet(s, writerOptions(nil), pqarrow.NewArrowWriterProperties())
	if err != nil {
		panic("columnar: storage schema: " + err.Error())
	}
	return p
}

func writerOptions(leaves map[string]encoding) *parquet.WriterProperties {
	o := []parquet.WriterProperty{
		parquet.WithVersion(parquet.V2_LATEST), parquet.WithDataPageVersion(parquet.DataPageV1), parquet.WithDataPageSize(pageBytes),
		parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCompressionLevel(zstdLevel),
		parquet.WithDictionaryDefault(false), parquet.WithDictionaryPageSizeLimit(maxDictionary),
		parquet.WithStoreDecimalAsInteger(true), parquet.WithMaxStatsSize(maxStats), parquet.WithCreatedBy(createdBy),
	}
	for path, e := range leaves {
		o = append(o, parquet.WithDictionaryFor(path, e.dictionary))
		if !e.dictionary {
			o = append(o, parquet.WithEncodingFor(path, e.values))
		}
	}
	return parquet.NewWriterProperties(o...)
}

// template returns a plain Parquet file without rows: what the sealed footer says of the whole table. Other readers find the Arrow
// schema in it as the dataset has it.
func template(stored, own *arrow.Schema) ([]byte, error) {
	b, err := marshalSchema(own)
	if err != nil {
		return nil, err
	}
	const endOfStream = 8
	meta := arrow.NewMetadata([]string{"ARROW:schema"}, []string{base64.StdEncoding.EncodeToString(b[:len(b)-endOfStream])})
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(arrow.NewSchema(stored.Fields(), &meta), &out, writerOptions(nil), pqarrow.NewArrowWriterProperties())
	if err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "the schema has no Parquet form")
	}
	if err := w.Close(); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the schema has no Parquet form")
	}
	return out.Bytes(), nil
}

func releaseAll(arrays []arrow.Array) {
	for _, a := range arrays {
		a.Release()
	}
}
