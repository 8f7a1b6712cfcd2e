package columnar_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar"
	"coldframe/columnar/columnartest"
	"coldframe/internal/fault"
)

// appendNth appends a value that is above those of smaller n: of booleans the second is the last.
func appendNth(t fataler, b array.Builder, n int) {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(n > 0)
	case *array.Float16Builder:
		b.Append(float16.New(float32(n)))
	case *array.StringBuilder:
		b.Append(string(rune('a'+n)) + strings.Repeat("z", 70*(n%2)))
	case *array.BinaryBuilder:
		b.Append(append([]byte{byte(0x7e + n)}, bytes.Repeat([]byte{0xff}, 70)...))
	case *array.FixedSizeBinaryBuilder:
		b.Append(append([]byte{byte(0x7e + n)}, make([]byte, b.Type().(*arrow.FixedSizeBinaryType).ByteWidth-1)...))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(int64(n) - 2))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromI64(int64(n) - 2))
	case array.DictionaryBuilder:
		v := array.NewBuilder(memory.DefaultAllocator, b.Type().(*arrow.DictionaryType).ValueType)
		appendNth(t, v, n)
		if err := b.AppendArray(v.NewArray()); err != nil {
			t.Fatal(err)
		}
	default: // the others are numbers to Go
		f := reflect.ValueOf(b).MethodByName("Append")
		f.Call([]reflect.Value{reflect.ValueOf(n).Convert(f.Type().In(0))})
	}
}

// countingStore counts what is read of a store.
type countingStore struct {
	columnar.Store
	requests, bytes atomic.Int64
}

func (s *countingStore) ReadRange(ctx context.Context, name columnar.ObjectName, off, n int64) (io.ReadCloser, error) {
	s.requests.Add(1)
	s.bytes.Add(n)
	return s.Store.ReadRange(ctx, name, off, n)
}

// TestWhereLeavesOut writes row groups of one value each, of every type: a comparison fetches those that it can be true in, and no other.
func TestWhereLeavesOut(t *testing.T) {
	types := append([]arrow.DataType{
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String},
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.PrimitiveTypes.Int64},
	}, flatTypes...)
	defer columnar.SetFetchAhead(1)() // so that no row group is fetched together with another
	for _, typ := range types {
		t.Run(typ.String(), func(t *testing.T) { leavesOut(t, typ) })
	}
}

func leavesOut(t *testing.T, typ arrow.DataType) {
	const groups = 6
	store := &countingStore{Store: columnar.NewMemStore()}
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: typ, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for n := range groups {
		appendNth(t, b.Field(0), n)
	}
	b.Field(0).AppendNull()
	batch := b.NewRecordBatch()
	w := newWorld(t, store, schema)
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes = 1 }
	w.mustPut(batch)
	for n := range groups {
		lit, _ := literal(t, batch.Column(0), n)
		for op := range fulfilled {
			term := oracleTerm{op: op, literal: keyOf(batch.Column(0), n)}
			checkFetched(t, w, store, batch, "x "+op+" "+lit, term)
		}
	}
	checkFetched(t, w, store, batch, "x IS NULL", oracleTerm{op: "IS NULL"})
	checkFetched(t, w, store, batch, "x IS NOT NULL", oracleTerm{op: "IS NOT NULL"})
}

func checkFetched(t *testing.T, w *world, store *countingStore, batch arrow.RecordBatch, text string, term oracleTerm) {
	t.Helper()
	where, err := columnar.ParseWhere(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	want := int64(0)
	for i := range int(batch.NumRows()) {
		if term.holds(batch.Column(0), i) {
			want++
		}
	}
	store.requests.Store(0)
	got, err := w.get(columnar.ReadOptions{Where: where})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if rows := rowsOf(got); rows != want {
		t.Errorf("%s: %d rows, want %d", text, rows, want)
	}
	groups := store.requests.Load() - 1 // the tail
	if extra := groups - want; extra < 0 || extra > 1 || extra == 1 && !cutBounds[batch.Column(0).DataType().ID()] {
		t.Errorf("%s: %d row groups fetched for %d", text, groups, want)
	}
}

// cutBounds are types whose bounds may be cut: then the row group of the literal itself is looked at.
var cutBounds = map[arrow.Type]bool{arrow.STRING: true, arrow.BINARY: true, arrow.DICTIONARY: true}

func rowsOf(batches []arrow.RecordBatch) (n int64) {
	for _, b := range batches {
		n += b.NumRows()
	}
	return n
}

// TestWhereBeyondBounds asks for values that no bound tells of: NaN beside numbers, or alone, and text that nothing is above.
func TestWhereBeyondBounds(t *testing.T) {
	nan := math.NaN()
	last := strings.Repeat("\U0010ffff", 20)
	for _, c := range []struct {
		typ   arrow.DataType
		where string
		rows  []any
		want  int64
	}{
		{arrow.PrimitiveTypes.Float64, "x > 5", []any{1.0, nan}, 1},
		{arrow.PrimitiveTypes.Float64, "x >= 'NaN'", []any{1.0, nan, nan}, 2},
		{arrow.PrimitiveTypes.Float64, "x = 'NaN'", []any{nan}, 1},
		{arrow.PrimitiveTypes.Float64, "x = 'NaN'", []any{1.0, nil}, 0},
		{arrow.PrimitiveTypes.Float64, "x != 1", []any{1.0, nan, nil}, 1},
		{arrow.PrimitiveTypes.Float64, "x < 'NaN'", []any{1.0, nan, math.Inf(1)}, 2},
		{arrow.PrimitiveTypes.Float64, "x <= 'NaN'", []any{nan, nil}, 1},
		{arrow.PrimitiveTypes.Float64, "x = 0", []any{math.Copysign(0, -1)}, 1},
		{arrow.PrimitiveTypes.Float64, "x = -0", []any{0.0}, 1},
		{arrow.PrimitiveTypes.Float32, "x > 5", []any{float32(1), float32(nan)}, 1},
		{arrow.FixedWidthTypes.Float16, "x > 5", []any{float16.New(1), float16.NaN()}, 1},
		{arrow.BinaryTypes.String, "x > '" + last + "'", []any{last, last + "a"}, 1},
		{arrow.BinaryTypes.String, "x >= '" + last + "a'", []any{"a", last + "a"}, 1},
		{&arrow.FixedSizeBinaryType{ByteWidth: 65}, "x IS NOT NULL", []any{make([]byte, 65), nil}, 1},
		{&arrow.FixedSizeBinaryType{ByteWidth: 65}, "x > '" + base64.StdEncoding.EncodeToString(make([]byte, 65)) + "'", []any{bytes.Repeat([]byte{9}, 65)}, 1},
	} {
		b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "x", Type: c.typ, Nullable: true}}, nil))
		for _, v := range c.rows {
			if v == nil {
				b.Field(0).AppendNull()
				continue
			}
			reflect.ValueOf(b.Field(0)).MethodByName("Append").Call([]reflect.Value{reflect.ValueOf(v)})
		}
		w := newWorld(t, columnar.NewMemStore(), b.Schema())
		w.mustPut(b.NewRecordBatch())
		where, err := columnar.ParseWhere(c.where)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.get(columnar.ReadOptions{Where: where})
		if rows := rowsOf(got); err != nil || rows != c.want {
			t.Errorf("%s of %v: %d rows, %v; want %d", c.where, c.rows, rows, err, c.want)
		}
	}
}

// TestWhereKeys asks with and without the key of the column that is filtered on.
func TestWhereKeys(t *testing.T) {
	w := newWorld(t, columnar.NewMemStore(), columnartest.MixedSchema)
	batch := columnartest.NewMixed(1).Batch(100)
	defer batch.Release()
	w.mustPut(batch)
	name := batch.ColumnName(0)
	where, err := columnar.ParseWhere(`"` + name + `" IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	o := columnar.ReadOptions{Where: where, Columns: w.columns[1:3]}
	got, err := w.get(o)
	if err != nil || rowsOf(got) != 100 || got[0].NumCols() != 2 {
		t.Fatalf("%d rows, %v", rowsOf(got), err)
	}
	delete(w.keys[1].Columns, w.columns[0])
	if _, err := w.get(o); !errors.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), name) {
		t.Errorf("without the key: %v", err)
	}
	if got, err = w.get(columnar.ReadOptions{Columns: w.columns[1:3]}); err != nil || rowsOf(got) != 100 {
		t.Errorf("without asking: %d rows, %v", rowsOf(got), err)
	}
}

// TestWhereFetchesLittle reads a narrow range of a sorted column of many row groups: the bytes fetched are a small part of all. With a
// limit it stops at the first row group that has enough.
func TestWhereFetchesLittle(t *testing.T) {
	const groups, rows = 100, 500
	store := &countingStore{Store: columnar.NewMemStore()}
	w := newWorld(t, store, columnartest.MixedSchema)
	table := columnartest.NewMixed(2)
	var batches []arrow.RecordBatch
	for range groups {
		batches = append(batches, table.Batch(rows))
	}
	w.options = func(o *columnar.WriterOptions) { o.RowGroupBytes = 64 << 10 }
	w.mustPut(batches...)
	fetched := func(where string, limit int64) (got, bytes int64) {
		t.Helper()
		condition, err := columnar.ParseWhere(where)
		if err != nil {
			t.Fatal(err)
		}
		store.bytes.Store(0)
		out, err := w.get(columnar.ReadOptions{Where: condition, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		return rowsOf(out), store.bytes.Load()
	}
	_, tails := columnar.ChunkBytes(w.head, nil)
	t.Logf("%d row groups, tail %d bytes", w.head.Parts[0].RowGroups, tails)
	for _, c := range []struct {
		where       string
		limit, want int64
		share       float64 // of the bytes of all chunks
	}{
		{"id IS NOT NULL", 0, groups * rows, 1}, {"id >= 1000 AND id < 1200", 0, 200, 0.03}, {"id = -1", 0, 0, 0}, {"id >= 0", 7, 7, 0.03},
	} {
		got, n := fetched(c.where, c.limit)
		all, _ := columnar.ChunkBytes(w.head, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
		share := float64(n-tails) / float64(all)
		t.Logf("%s limit %d: %d rows, %d bytes: %.4f of all", c.where, c.limit, got, n, share)
		if got != c.want || share > c.share {
			t.Errorf("%s limit %d: %d rows, %.4f of the bytes", c.where, c.limit, got, share)
		}
	}
}
