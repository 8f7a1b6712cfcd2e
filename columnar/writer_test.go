package columnar_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/columnar/storetest"
	"coldframe/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// objects returns how many objects the store lists.
func objects(t *testing.T, s columnar.Store) int {
	t.Helper()
	n := 0
	err := s.List(context.Background(), func(columnar.ObjectName, int64, time.Time) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNoRows(t *testing.T) {
	w := newWorld(t, folder(t), columnartest.MixedSchema)
	w.mustPut()
	got, err := w.get(columnar.ReadOptions{})
	if err != nil || len(got) != 0 {
		t.Errorf("%d batches, %v", len(got), err)
	}
	r, err := columnar.NewReader(t.Context(), w.store, w.head, w, columnar.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !r.Schema().Equal(w.schema) {
		t.Errorf("schema %v", r.Schema())
	}
}

func TestNoColumns(t *testing.T) {
	w := newWorld(t, folder(t), arrow.NewSchema(nil, nil))
	if _, _, err := w.writer(t.Context()); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("a table without columns: %v", err)
	}
}

// TestNullInNonNullable refuses what arrow-go would write as a zero.
func TestNullInNonNullable(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	b.Field(0).AppendNull()
	w := newWorld(t, folder(t), schema)
	if err := w.put(nil, b.NewRecordBatch()); !errors.Is(err, fault.InvalidRequest) {
		t.Errorf("got %v", err)
	}
	if n := objects(t, w.store); n != 0 {
		t.Errorf("%d objects left", n)
	}
}

func TestColumnsAndLimit(t *testing.T) {
	w := newWorld(t, folder(t), columnartest.MixedSchema)
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes = 256 << 10 }
	batch := columnartest.NewMixed(1).Batch(10_000)
	w.mustPut(batch)
	order := []columnar.ColumnID{w.columns[9], w.columns[0], w.columns[7]}
	schema := arrow.NewSchema([]arrow.Field{w.schema.Field(9), w.schema.Field(0), w.schema.Field(7)}, nil)
	picked := array.NewRecordBatch(schema, []arrow.Array{batch.Column(9), batch.Column(0), batch.Column(7)}, 10_000)
	got, err := w.get(columnar.ReadOptions{Columns: order})
	if err != nil {
		t.Fatal(err)
	}
	same(t, schema, got, []arrow.RecordBatch{picked})

	for _, limit := range []int64{1, 1234, 9_999, 10_000, 10_001} {
		got, err := w.get(columnar.ReadOptions{Columns: order, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		same(t, schema, got, []arrow.RecordBatch{picked.NewSlice(0, min(limit, 10_000))})
	}
	r, err := columnar.NewReader(t.Context(), w.store, w.head, w, columnar.ReadOptions{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Next()
	if err != nil || b.NumRows() != 10 {
		t.Fatal(b, err)
	}
	r.Close()
	if all := int64(w.head.Parts[0].Length); r.Fetched() > all/2 {
		t.Errorf("%d bytes of %d fetched for ten rows", r.Fetched(), all)
	}
	for _, wrong := range [][]columnar.ColumnID{{}, {w.columns[0], w.columns[0]}, {columnar.NewColumnID()}} {
		if _, err := w.get(columnar.ReadOptions{Columns: wrong}); !errors.Is(err, fault.InvalidRequest) {
			t.Errorf("columns %v: %v", wrong, err)
		}
	}
}

// TestAppend keeps the old parts as they are, under the keys of their version.
func TestAppend(t *testing.T) {
	w := newWorld(t, folder(t), columnartest.MixedSchema)
	g := columnartest.NewMixed(1)
	var all []arrow.RecordBatch
	var names []columnar.ObjectName
	for i := range 4 {
		b := g.Batch(500)
		all = append(all, b)
		var old []columnar.Part
		if i > 0 {
			var err error
			if old, err = w.head.LoadParts(t.Context(), w.store); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.put(old, b); err != nil {
			t.Fatal(err)
		}
		if len(w.head.Parts) != i+1 || w.head.Parts[i].Version != columnar.Version(i+1) {
			t.Fatalf("parts %v", w.head.Parts)
		}
		names = append(names, w.head.Parts[i].Name)
	}
	for i, p := range w.head.Parts {
		if p.Name != names[i] {
			t.Errorf("part %d was written again", i)
		}
	}
	got, err := w.get(columnar.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, w.schema, got, all)
}

// TestFailedWritesLeaveNothing fails each operation of the store in turn.
func TestFailedWritesLeaveNothing(t *testing.T) {
	honest := folder(t)
	store := storetest.NewHostile(honest, storetest.Hooks{})
	broken := fault.New(fault.StorageFull, "no room")
	passed := false
	for call := int64(1); !passed && call < 200; call++ {
		var calls atomic.Int64
		store.Set(storetest.Hooks{Before: func(_ context.Context, op string, _ columnar.ObjectName) error {
			if op != "delete" && op != "abort" && calls.Add(1) == call {
				return broken
			}
			return nil
		}})
		w := newWorld(t, store, columnartest.MixedSchema)
		w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes, o.PartBytes = 128<<10, 40<<10 }
		before := objects(t, honest)
		wr, _, err := w.writer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = wr.Write(columnartest.NewMixed(3).Batch(2000))
		if err == nil {
			_, err = wr.Close()
		} else {
			_ = wr.Abort()
		}
		if passed = err == nil; passed {
			continue
		}
		if !errors.Is(err, fault.StorageFull) {
			t.Fatalf("call %d: %v", call, err)
		}
		if n := objects(t, honest); n != before {
			t.Fatalf("call %d: %d objects left", call, n-before)
		}
	}
	if !passed {
		t.Error("the write never passed")
	}
}

func TestCancelledWriteLeavesNothing(t *testing.T) {
	for _, after := range []int{0, 1, 3} {
		w := newWorld(t, folder(t), columnartest.MixedSchema)
		w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes, o.PartBytes = 128<<10, 40<<10 }
		ctx, cancel := context.WithCancel(t.Context())
		wr, _, err := w.writer(ctx)
		if err != nil {
			t.Fatal(err)
		}
		g := columnartest.NewMixed(1)
		for range after {
			if err := wr.Write(g.Batch(2000)); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if _, err := wr.Close(); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if n := objects(t, w.store); n != 0 {
			t.Errorf("after %d batches: %d objects left", after, n)
		}
	}
	w := newWorld(t, folder(t), columnartest.MixedSchema)
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes, o.PartBytes = 64<<10, 10<<10 }
	wr, _, err := w.writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := wr.Write(columnartest.NewMixed(1).Batch(3000)); err != nil {
		t.Fatal(err)
	}
	if err := wr.Abort(); err != nil {
		t.Fatal(err)
	}
	if n := objects(t, w.store); n != 0 {
		t.Errorf("aborted: %d objects left", n)
	}
}

func TestReaderClosedEarly(t *testing.T) {
	w := newWorld(t, folder(t), columnartest.MixedSchema)
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes = 64 << 10 }
	w.mustPut(columnartest.NewMixed(1).Batch(5000))
	r, err := columnar.NewReader(t.Context(), w.store, w.head, w, columnar.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err == nil {
		t.Error("a batch after Close")
	}
}
