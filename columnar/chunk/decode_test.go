package chunk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"pgregory.net/rapid"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
	"coldframe/internal/parquetguard"
)

// flat are the flat types that are stored, and the encodings that other writers may keep them in.
var flat = []struct {
	typ       arrow.DataType
	encodings []parquet.Encoding
}{
	{arrow.FixedWidthTypes.Boolean, []parquet.Encoding{parquet.Encodings.Plain, parquet.Encodings.RLE}},
	{arrow.PrimitiveTypes.Int8, integers},
	{arrow.PrimitiveTypes.Int16, integers},
	{arrow.PrimitiveTypes.Int32, integers},
	{arrow.PrimitiveTypes.Int64, integers},
	{arrow.PrimitiveTypes.Uint8, integers},
	{arrow.PrimitiveTypes.Uint16, integers},
	{arrow.PrimitiveTypes.Uint32, integers},
	{arrow.PrimitiveTypes.Uint64, integers},
	{arrow.FixedWidthTypes.Date32, integers},
	{arrow.FixedWidthTypes.Time32ms, integers},
	{arrow.FixedWidthTypes.Time64ns, integers},
	{arrow.FixedWidthTypes.Timestamp_us, integers},
	{&arrow.Decimal128Type{Precision: 9, Scale: 2}, integers},
	{&arrow.Decimal128Type{Precision: 18, Scale: 4}, integers},
	{arrow.FixedWidthTypes.Float16, fixedWidth},
	{arrow.PrimitiveTypes.Float32, fixedWidth},
	{arrow.PrimitiveTypes.Float64, fixedWidth},
	{&arrow.Decimal128Type{Precision: 23, Scale: 4}, fixedWidth},
	{&arrow.Decimal256Type{Precision: 60, Scale: 4}, fixedWidth},
	{&arrow.FixedSizeBinaryType{ByteWidth: 1}, fixedWidth},
	{&arrow.FixedSizeBinaryType{ByteWidth: 5}, fixedWidth},
	{&arrow.FixedSizeBinaryType{ByteWidth: 16}, fixedWidth},
	{arrow.BinaryTypes.String, texts},
	{arrow.BinaryTypes.Binary, texts},
	{arrow.Null, []parquet.Encoding{parquet.Encodings.Plain}},
}

var (
	integers   = []parquet.Encoding{parquet.Encodings.Plain, parquet.Encodings.DeltaBinaryPacked, parquet.Encodings.ByteStreamSplit}
	texts      = []parquet.Encoding{parquet.Encodings.Plain, parquet.Encodings.DeltaLengthByteArray}
	fixedWidth = []parquet.Encoding{parquet.Encodings.Plain, parquet.Encodings.ByteStreamSplit}
)

// drawType returns a type that is stored, and an encoding for all of its leaves: PLAIN if they are several.
func drawType(t *rapid.T, depth int) (arrow.DataType, parquet.Encoding) {
	elem := func() arrow.Field {
		typ, _ := drawType(t, depth-1)
		return arrow.Field{Name: "element", Type: typ, Nullable: true}
	}
	kind := 0
	if depth > 0 {
		kind = rapid.IntRange(0, 5).Draw(t, "kind")
	}
	switch kind {
	case 3:
		typ, encoding := drawType(t, depth-1)
		return arrow.ListOfField(arrow.Field{Name: "element", Type: typ, Nullable: true}), encoding
	case 4:
		var fields []arrow.Field
		for i := range rapid.IntRange(1, 3).Draw(t, "fields") {
			f := elem()
			f.Name = fmt.Sprint("f", i)
			fields = append(fields, f)
		}
		return arrow.StructOf(fields...), parquet.Encodings.Plain
	case 5:
		key := rapid.SampledFrom([]arrow.DataType{arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32}).Draw(t, "key")
		item := elem()
		item.Name = "value"
		return arrow.MapOfFields(arrow.Field{Name: "key", Type: key}, item), parquet.Encodings.Plain
	}
	f := rapid.SampledFrom(flat).Draw(t, "type")
	return f.typ, rapid.SampledFrom(f.encodings).Draw(t, "encoding")
}

// encode has arrow-go write a column and returns it as Decode takes it.
func encode(a arrow.Array, f arrow.Field, props ...parquet.WriterProperty) (Column, error) {
	s := arrow.NewSchema([]arrow.Field{f}, nil)
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(s, &out, parquet.NewWriterProperties(append(props,
		parquet.WithVersion(parquet.V2_LATEST), parquet.WithStoreDecimalAsInteger(true))...), pqarrow.NewArrowWriterProperties())
	if err != nil {
		return Column{}, err
	}
	if err := w.Write(array.NewRecordBatch(s, []arrow.Array{a}, int64(a.Len()))); err != nil {
		return Column{}, err
	}
	if err := w.Close(); err != nil {
		return Column{}, err
	}
	r, err := file.NewParquetReader(bytes.NewReader(out.Bytes()))
	if err != nil {
		return Column{}, err
	}
	c := Column{Field: f, Rows: a.Len(), Elements: elements(r.MetaData().Schema.Root().Field(0))}
	for i := range r.MetaData().Schema.NumColumns() {
		m, err := r.MetaData().RowGroup(0).ColumnChunk(i)
		if err != nil {
			return c, err
		}
		start := m.DataPageOffset()
		if d := m.DictionaryPageOffset(); m.HasDictionaryPage() && d > 0 {
			start = min(start, d)
		}
		c.Leaves = append(c.Leaves, Leaf{Pages: out.Bytes()[start : start+m.TotalCompressedSize()], Compressed: m.Compression() == compress.Codecs.Zstd})
	}
	return c, nil
}

// elements returns a node of a schema and all below it.
func elements(n schema.Node) []pme.Element {
	r := n.RepetitionType()
	e := pme.Element{Optional: r == parquet.Repetitions.Optional, Repeated: r == parquet.Repetitions.Repeated}
	if p, ok := n.(*schema.PrimitiveNode); ok {
		e.Physical, e.Length = int64(p.PhysicalType()), int64(p.TypeLength())
		return []pme.Element{e}
	}
	g := n.(*schema.GroupNode)
	e.Children = g.NumFields()
	out := []pme.Element{e}
	for i := range g.NumFields() {
		out = append(out, elements(g.Field(i))...)
	}
	return out
}

// TestAsStockWritersWrite has arrow-go write random columns in each way that its options give, and reads them.
func TestAsStockWritersWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ, encoding := drawType(t, 3)
		f := arrow.Field{Name: "x", Type: typ, Nullable: typ.ID() == arrow.NULL || rapid.Bool().Draw(t, "nullable")}
		fill := filler{
			Rand: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), nulls: rapid.SampledFrom([]float64{0, .1, .5, .99, 1}).Draw(t, "nulls"),
			distinct: rapid.SampledFrom([]int64{1, 2, 30, 1 << 40}).Draw(t, "distinct"),
		}
		b := array.NewBuilder(memory.DefaultAllocator, typ)
		for range rapid.SampledFrom([]int{1, 7, 8, 100, 1024, 3000}).Draw(t, "rows") {
			AppendValue(b, fill, f.Nullable)
		}
		want := b.NewArray()
		page := rapid.SampledFrom([]int64{10, 500, 5000, 1 << 20}).Draw(t, "page")
		if encoding == parquet.Encodings.RLE { // of which arrow-go writes the first page again and again
			page = 1 << 20
		}
		codec := rapid.SampledFrom([]compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Zstd}).Draw(t, "codec")
		c, err := encode(want, f,
			parquet.WithDictionaryDefault(rapid.Bool().Draw(t, "dictionary")), parquet.WithEncoding(encoding), parquet.WithCompression(codec),
			parquet.WithDictionaryPageSizeLimit(rapid.SampledFrom([]int64{100, 2000, 1 << 20}).Draw(t, "limit")), parquet.WithBatchSize(64),
			parquet.WithDataPageSize(page))
		if err != nil {
			t.Fatalf("%s in %s: %v", typ, encoding, err)
		}
		const limit = 64 << 20
		mem := parquetguard.NewBudget(limit)
		got, err := Decode(mem, c)
		if err != nil {
			t.Fatalf("%s in %s: %v", typ, encoding, err)
		}
		if !array.Equal(got, want) {
			t.Fatalf("%s in %s: %s", typ, encoding, difference(got, want))
		}
		got.Release()
		mem.Take(limit) // all was given back
	})
}

func difference(got, want arrow.Array) string {
	for i := range min(got.Len(), want.Len()) {
		if g, w := got.ValueStr(i), want.ValueStr(i); g != w {
			return fmt.Sprintf("value %d of %d: %s, want %s", i, want.Len(), g, w)
		}
	}
	return fmt.Sprintf("%d values with %d nulls, want %d with %d", got.Len(), got.NullN(), want.Len(), want.NullN())
}

// TestD13_ChunksThatDoNotAgree hands Decode chunks that are each well made, but not what is asked for.
func TestD13_ChunksThatDoNotAgree(t *testing.T) {
	lists := func(seed uint64) Column {
		fill := filler{Rand: rand.New(rand.NewPCG(seed, 0)), nulls: .2, distinct: 30}
		f := arrow.Field{Name: "x", Type: arrow.MapOfFields(arrow.Field{Name: "key", Type: arrow.BinaryTypes.String},
			arrow.Field{Name: "value", Type: arrow.PrimitiveTypes.Int64, Nullable: true}), Nullable: true}
		b := array.NewBuilder(memory.DefaultAllocator, f.Type)
		for range 100 {
			AppendValue(b, fill, true)
		}
		c, err := encode(b.NewArray(), f)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	good, other := lists(1), lists(2)
	for name, edit := range map[string]func(c *Column){
		"values of other lists than keys": func(c *Column) { c.Leaves = []Leaf{c.Leaves[0], other.Leaves[1]} },
		"values where keys belong":        func(c *Column) { c.Leaves = []Leaf{c.Leaves[1], c.Leaves[0]} },
		"fewer rows":                      func(c *Column) { c.Rows++ },
		"no pages":                        func(c *Column) { c.Leaves = make([]Leaf, 2) },
		"a leaf too few":                  func(c *Column) { c.Leaves = c.Leaves[:1] },
		"a schema of another type":        func(c *Column) { c.Elements = append(append([]pme.Element{}, c.Elements[:4]...), c.Elements[3]) },
		"a schema that ends early":        func(c *Column) { c.Elements = c.Elements[:3] },
		"pages that end early":            func(c *Column) { c.Leaves = []Leaf{{Pages: c.Leaves[0].Pages[:len(c.Leaves[0].Pages)-9]}, c.Leaves[1]} },
		"pages that are not compressed":   func(c *Column) { c.Leaves = []Leaf{{Pages: c.Leaves[0].Pages, Compressed: true}, c.Leaves[1]} },
	} {
		c := good
		edit(&c)
		if a, err := Decode(parquetguard.NewBudget(1<<20), c); !errors.Is(err, fault.NotAuthentic) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
	if _, err := Decode(parquetguard.NewBudget(1<<20), good); err != nil {
		t.Error(err)
	}
}

// A run says its value in whole bytes, of which only some bits may be used.
func TestD13_RunOfAValueTooWide(t *testing.T) {
	for _, c := range []struct {
		width int
		value []byte
		bad   bool
	}{{1, []byte{1}, false}, {1, []byte{255}, true}, {2, []byte{3}, false}, {2, []byte{8}, true}, {9, []byte{0, 2}, true}, {9, []byte{255, 1}, false}} {
		r := runs{b: append([]byte{8 << 1}, c.value...), width: c.width}
		if err := readRuns(&r, make([]uint32, 8)); errors.Is(err, fault.NotAuthentic) != c.bad {
			t.Errorf("%d bits, %v: %v", c.width, c.value, err)
		}
	}
}
