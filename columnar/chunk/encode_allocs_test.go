package chunk_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"coldframe/columnar/chunk"
	"coldframe/columnar/pme"
	"coldframe/internal/secret"
)

// TestPagesAllocateNothing seals a column in few pages and in many: these cost no allocation more.
func TestPagesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools")
	}
	for _, a := range []arrow.Array{rising(200_000), words(50_000)} {
		few, many := allocations(t, a, 1<<20), allocations(t, a, 1<<13)
		t.Logf("%s: %.0f allocations in pages of 1 MiB, %.0f in pages of 8 KiB", a.DataType(), few, many)
		if many > few+3 {
			t.Errorf("%s: %.0f allocations, %.0f with 128 times the pages", a.DataType(), few, many)
		}
	}
}

func rising(n int) arrow.Array {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	for i := range n {
		if b.Append(int64(i * i)); i%3 == 0 {
			b.AppendNull()
		}
	}
	return b.NewArray()
}

func words(n int) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	for i := range n {
		b.Append("word " + string(rune('a'+i%20)))
	}
	return b.NewArray()
}

// allocations returns those of one row group of a column of its own.
func allocations(t *testing.T, a arrow.Array, page int) float64 {
	defer chunk.SetPageBytes(page)()
	f := arrow.Field{Name: "x", Type: a.DataType(), Nullable: true}
	p, err := pqarrow.ToParquet(arrow.NewSchema([]arrow.Field{f}, nil), stockOptions, pqarrow.NewArrowWriterProperties())
	if err != nil {
		t.Fatal(err)
	}
	key := pme.NamedKey{ID: "k", Key: secret.Random()}
	w, err := pme.NewFileWriter(discard{}, pme.FileConfig{
		Template: emptyFile(t, f), Footer: key, ColumnKey: func(pme.Leaf) pme.NamedKey { return key },
	})
	if err != nil {
		t.Fatal(err)
	}
	e, dst, group := chunk.NewEncoder(f, []*schema.Column{p.Column(0)}), make([]byte, 0, 8<<20), 0
	return testing.AllocsPerRun(10, func() {
		s, err := w.SealColumn(group, 0, int64(a.Len()), dst)
		if err == nil {
			err = e.Encode(s, []arrow.Array{a})
		}
		if err != nil {
			t.Fatal(err)
		}
		group++
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
