package daemon

import (
	"bytes"
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"coldframe/columnar"
	"coldframe/columnar/format"
	"coldframe/internal/fault"
)

// sameLayout returns nil if a body with schema got can become the next contents of a dataset with schema want: the same columns by
// name and type in the same order, and no nulls where want allows none. fault.InvalidRequest names the first column that differs.
func sameLayout(want, got *arrow.Schema) error {
	for i, f := range got.Fields() {
		if i >= want.NumFields() {
			return fault.New(fault.InvalidRequest, "layout: column %d %q is not in the dataset, which has %d", i+1, f.Name, want.NumFields())
		}
		w := want.Field(i)
		switch {
		case f.Name != w.Name:
			return fault.New(fault.InvalidRequest, "layout: column %d is %q, the dataset has %q there", i+1, f.Name, w.Name)
		case !arrow.TypeEqual(f.Type, w.Type):
			return fault.New(fault.InvalidRequest, "layout: column %q is %s, the dataset has %s", f.Name, format.FormatType(f.Type), format.FormatType(w.Type))
		case f.Nullable && !w.Nullable:
			return fault.New(fault.InvalidRequest, "layout: column %q may be null, in the dataset it may not", f.Name)
		}
	}
	if n := got.NumFields(); n < want.NumFields() {
		return fault.New(fault.InvalidRequest, "layout: column %d %q of the dataset is missing", n+1, want.Field(n).Name)
	}
	return nil
}

// under returns rec as a batch of schema, whose layout it has; the caller releases it.
func under(schema *arrow.Schema, rec arrow.RecordBatch) arrow.RecordBatch {
	return array.NewRecordBatch(schema, rec.Columns(), rec.NumRows())
}

// columnIDs gives each field of schema an id: that of the column of the same name in before, or a new one.
func columnIDs(schema *arrow.Schema, before *columnar.Manifest) []columnar.ColumnID {
	known := map[string]columnar.ColumnID{}
	if before != nil {
		for i, name := range before.Contents.Names {
			known[name] = before.Columns[i].ID
		}
	}
	ids := make([]columnar.ColumnID, schema.NumFields())
	for i, f := range schema.Fields() {
		id, ok := known[f.Name]
		if !ok {
			id = columnar.NewColumnID()
		}
		delete(known, f.Name)
		ids[i] = id
	}
	return ids
}

// hints returns the schema that CSV and NDJSON bodies are read with where nothing else was asked for: that of the dataset, so that a
// column of nulls, or of whole numbers where there were fractions, keeps its type.
func hints(k format.Kind, o format.ReadOptions, current *columnar.Manifest, free bool) format.ReadOptions {
	text := k == format.CSV || k == format.NDJSON
	if o.Schema == nil && text && current != nil && !free {
		o.Schema = current.Contents.Schema
	}
	return o
}

// headerKept is how much of a CSV body is kept to tell which column of its header is not the dataset's.
const headerKept = 64 << 10

// explainHeader returns the error that names the first column of a CSV header that differs from the dataset's, or err if that is not
// what is wrong. start is the beginning of the body.
func explainHeader(ctx context.Context, err error, o format.ReadOptions, want *arrow.Schema, start []byte) error {
	line, _, whole := bytes.Cut(start, []byte("\n"))
	if !whole || fault.CodeOf(err) != fault.InvalidRequest {
		return err
	}
	o.Schema = nil
	r, headErr := format.NewReader(ctx, format.CSV, bytes.NewReader(append(bytes.Clone(line), '\n')), o)
	if headErr != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it only frees memory
	var fields []arrow.Field
	for i, f := range r.Schema().Fields() {
		if i < want.NumFields() && want.Field(i).Name == f.Name {
			f = want.Field(i) // only names are known from the header alone
		}
		fields = append(fields, f)
	}
	if differs := sameLayout(want, arrow.NewSchema(fields, nil)); differs != nil {
		return differs
	}
	return err
}
