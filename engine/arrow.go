package main

import (
	"github.com/apache/arrow-go/v18/arrow"
	duckdb "github.com/duckdb/duckdb-go-bindings"
)

// converter makes Arrow batches of a result's chunks.
type converter struct {
	options duckdb.ArrowOptions
	schema  *arrow.Schema
}

func newConverter(r *duckdb.Result) (*converter, error) {
	c := &converter{options: duckdb.ResultGetArrowOptions(r)}
	n := duckdb.ColumnCount(r)
	columns, types := make([]string, n), make([]duckdb.LogicalType, n)
	for i := range n {
		columns[i], types[i] = duckdb.ColumnName(r, i), duckdb.ColumnLogicalType(r, i)
	}
	defer func() {
		for i := range types {
			duckdb.DestroyLogicalType(&types[i])
		}
	}()
	var data duckdb.ErrorData
	c.schema, data = duckdb.NewArrowSchema(c.options, types, columns)
	if err := converted(data); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *converter) close() { duckdb.DestroyArrowOptions(&c.options) }

// record takes the chunk and gives it back as a batch.
func (c *converter) record(chunk duckdb.DataChunk) (arrow.RecordBatch, error) {
	defer duckdb.DestroyDataChunk(&chunk)
	rec, data := duckdb.DataChunkToArrowArray(c.options, c.schema, chunk)
	return rec, converted(data)
}

func converted(data duckdb.ErrorData) error {
	defer duckdb.DestroyErrorData(&data)
	if duckdb.ErrorDataHasError(data) {
		return refuse("a column of the result has a type that is not handed out: cast it, for example to VARCHAR")
	}
	return nil
}
