package columnar_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/dir"
)

func folder(t testing.TB) *dir.Store {
	t.Helper()
	s, err := dir.New(t.TempDir(), dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// table joins batches into one array a column.
func table(t testing.TB, schema *arrow.Schema, batches []arrow.RecordBatch) []arrow.Array {
	t.Helper()
	out := make([]arrow.Array, schema.NumFields())
	for i, f := range schema.Fields() {
		var chunks []arrow.Array
		for _, b := range batches {
			if !b.Schema().Equal(schema) {
				t.Fatalf("batch of schema %v, want %v", b.Schema(), schema)
			}
			chunks = append(chunks, b.Column(i))
		}
		if len(chunks) == 0 {
			out[i] = array.MakeArrayOfNull(memory.DefaultAllocator, f.Type, 0)
			continue
		}
		a, err := array.Concatenate(chunks, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = a
	}
	return out
}

func same(t testing.TB, schema *arrow.Schema, got, want []arrow.RecordBatch) {
	t.Helper()
	g, w := table(t, schema, got), table(t, schema, want)
	for i := range w {
		if !array.Equal(g[i], w[i]) {
			t.Errorf("column %s differs\n got %.300v\nwant %.300v", schema.Field(i).Name, g[i], w[i])
		}
	}
}

func TestRoundTrip(t *testing.T) {
	w := newWorld(t, folder(t), columnartest.MixedSchema)
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes = 1 << 20 }
	g := columnartest.NewMixed(1)
	batches := []arrow.RecordBatch{g.Batch(10_000), g.Batch(1), g.Batch(30_000)}
	w.mustPut(batches...)
	got, err := w.get(columnar.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, w.schema, got, batches)
}
