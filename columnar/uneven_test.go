package columnar_test

import (
	"encoding/binary"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"coldframe/columnar"
)

// Lists that all stand in the first rows promise as many for those that follow, which have none: what a Writer takes a Reader has room for.
func TestListsInTheFirstRowsOnly(t *testing.T) {
	wide := arrow.ListOf(&arrow.FixedSizeBinaryType{ByteWidth: 64})
	six := make([]arrow.Field, 6)
	for i := range six {
		six[i] = arrow.Field{Name: string(rune('a' + i)), Type: arrow.PrimitiveTypes.Float64}
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "wide", Type: wide, Nullable: true},
		{Name: "also", Type: wide, Nullable: true},
		{Name: "many", Type: arrow.ListOf(arrow.StructOf(six...)), Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	const full, all = 16_131, 400_000
	for i := range all {
		for _, f := range b.Fields() {
			list := f.(*array.ListBuilder)
			if i >= full {
				list.AppendNull()
				continue
			}
			list.Append(true)
			element(list.ValueBuilder(), i)
		}
	}
	w := newWorld(t, folder(t), schema)
	batch := b.NewRecordBatch()
	w.mustPut(batch)
	got, err := w.get(columnar.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, schema, got, []arrow.RecordBatch{batch})
}

func element(b array.Builder, i int) {
	switch b := b.(type) {
	case *array.FixedSizeBinaryBuilder:
		v := make([]byte, 64)
		binary.LittleEndian.PutUint64(v, uint64(i))
		b.Append(v)
	case *array.StructBuilder:
		b.Append(true)
		for j := range b.NumField() {
			b.FieldBuilder(j).(*array.Float64Builder).Append(float64(i) / float64(j+1))
		}
	}
}
