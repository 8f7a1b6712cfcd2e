package columnar

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"runtime"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"coldframe/columnar/chunk"
	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

const (
	// manyChunks is from how many batches on a column is copied together before it is encoded: each costs the encoder a fixed time.
	manyChunks = 8

	createdBy = "coldframe"
)

// columnEncoder encodes and seals one top-level column, row group by row group.
type columnEncoder struct {
	field   arrow.Field // of the storage schema
	encoder *chunk.Encoder
}

func newColumnEncoder(f arrow.Field, leaves []*schema.Column) *columnEncoder {
	return &columnEncoder{field: f, encoder: chunk.NewEncoder(f, leaves)}
}

// encode seals rows of the column. chunks are arrays of the dataset's own type. fault.InvalidRequest names the column if its values
// cannot be kept.
func (e *columnEncoder) encode(to *pme.ColumnSealer, chunks []arrow.Array) (err error) {
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
		return fault.Wrap(fault.InvalidRequest, err, "column %q: %s", e.field.Name, err)
	}
	defer releaseAll(stored)
	return e.encoder.Encode(to, stored)
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

// leavesOf returns the leaves of each column of a storage schema.
func leavesOf(stored *arrow.Schema) [][]*schema.Column {
	p := parquetSchema(stored)
	out, next := make([][]*schema.Column, stored.NumFields()), 0
	for i, f := range stored.Fields() {
		for range leafCount(f.Type) {
			out[i] = append(out[i], p.Column(next))
			next++
		}
	}
	return out
}

// parquetSchema returns the Parquet schema of a storage schema, which always has one.
func parquetSchema(s *arrow.Schema) *schema.Schema {
	p, err := pqarrow.ToParquet(s, schemaOptions(), pqarrow.NewArrowWriterProperties())
	if err != nil {
		panic("columnar: storage schema: " + err.Error())
	}
	return p
}

// schemaOptions say which Parquet types arrow-go takes.
func schemaOptions() *parquet.WriterProperties {
	return parquet.NewWriterProperties(
		parquet.WithVersion(parquet.V2_LATEST), parquet.WithStoreDecimalAsInteger(true), parquet.WithCreatedBy(createdBy))
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
	w, err := pqarrow.NewFileWriter(arrow.NewSchema(stored.Fields(), &meta), &out, schemaOptions(), pqarrow.NewArrowWriterProperties())
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
