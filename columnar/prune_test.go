package columnar_test

import (
	"bytes"
	"context"
	"io"
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
