package chunk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"coldframe/columnar/pme"
	"coldframe/internal/parquetguard"
)

// fuzzedFields are of one leaf each.
var fuzzedFields = []arrow.Field{
	{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "x", Type: arrow.PrimitiveTypes.Int32},
	{Name: "x", Type: arrow.PrimitiveTypes.Uint8, Nullable: true},
	{Name: "x", Type: arrow.PrimitiveTypes.Float64},
	{Name: "x", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "x", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "x", Type: &arrow.Decimal128Type{Precision: 15, Scale: 2}, Nullable: true},
	{Name: "x", Type: &arrow.FixedSizeBinaryType{ByteWidth: 5}},
	{Name: "x", Type: arrow.Null, Nullable: true},
	{Name: "x", Type: arrow.ListOfField(arrow.Field{Name: "element", Type: arrow.PrimitiveTypes.Int32, Nullable: true}), Nullable: true},
	{Name: "x", Type: arrow.StructOf(arrow.Field{Name: "a", Type: arrow.ListOfField(
		arrow.Field{Name: "element", Type: arrow.BinaryTypes.Binary, Nullable: true}), Nullable: true})},
}

// FuzzDecodeChunk has us and arrow-go decode pages of any content, behind headers that are well made (pme.FuzzPageHeader has others): no
// panic, no more memory than the budget, and the same values where both find some. A dictionary of no values is left out.
func FuzzDecodeChunk(f *testing.F) {
	for i, field := range fuzzedFields {
		for _, e := range encodingsOf(field.Type) {
			for _, dictionary := range []bool{true, false} {
				fill := filler{Rand: rand.New(rand.NewPCG(uint64(i), 0)), nulls: .2, distinct: 20}
				b := array.NewBuilder(memory.DefaultAllocator, field.Type)
				for range 40 {
					AppendValue(b, fill, field.Nullable)
				}
				batch := int64(20)
				if arrow.IsNested(field.Type.ID()) { // a page
					batch = 1000
				}
				c, err := encode(b.NewArray(), field, parquet.WithEncoding(e), parquet.WithDictionaryDefault(dictionary), parquet.WithBatchSize(batch),
					parquet.WithDataPageSize(20))
				if err != nil {
					f.Fatal(err)
				}
				p := append(pagesOf(f, c.Leaves[0].Pages), pme.Page{}, pme.Page{}, pme.Page{})
				f.Add(uint8(i), uint8(p[1].Encoding), uint16(40), uint16(p[0].Values), p[0].Body, uint16(p[1].Values), p[1].Body, uint16(p[2].Values), p[2].Body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which, encoding uint8, rows, words uint16, dictionary []byte, n1 uint16, page1 []byte, n2 uint16, page2 []byte) {
		field := fuzzedFields[int(which)%len(fuzzedFields)]
		empty, err := pqarrow.ToParquet(arrow.NewSchema([]arrow.Field{field}, nil), fuzzedProperties, pqarrow.NewArrowWriterProperties())
		if err != nil {
			t.Fatal(err)
		}
		var pages []byte
		if words > 0 {
			pages = appendPage(pages, pme.Page{Dictionary: true, Values: int(words), Body: dictionary})
		}
		pages = appendPage(pages, pme.Page{Encoding: int64(encoding), Values: int(n1), Body: page1})
		if n2 > 0 {
			pages = appendPage(pages, pme.Page{Encoding: int64(encoding), Values: int(n2), Body: page2})
		}
		c := Column{Field: field, Rows: int(n1) + int(n2), Elements: elements(empty.Root().Field(0)), Leaves: []Leaf{{Pages: pages}}}
		if arrow.IsNested(field.Type.ID()) {
			c.Rows = int(rows)
		}
		const limit = 8 << 20
		mem := parquetguard.NewBudget(limit)
		var ours arrow.Array
		err = pme.Guard(func() (err error) {
			defer func() {
				r := recover()
				if e, ok := r.(runtime.Error); ok {
					t.Fatalf("panic: %v", e)
				}
				if r != nil {
					panic(r) // the budget
				}
			}()
			ours, err = Decode(mem, c)
			return err
		})
		if err != nil {
			return
		}
		if ours.Len() != c.Rows {
			t.Fatalf("%d rows, want %d", ours.Len(), c.Rows)
		}
		theirs, err := decodeStock(t.Context(), c)
		whole := n1 > 0 // arrow-go takes a page of nothing for the last
		if err == nil && theirs != nil && whole && !array.ApproxEqual(ours, theirs, array.WithNaNsEqual(true)) {
			t.Fatalf("not what arrow-go makes of it: %s", difference(ours, theirs))
		}
		ours.Release()
		mem.Take(limit) // all was given back
	})
}

// pagesOf returns the dictionary of a chunk, or an empty page, and the data pages.
func pagesOf(f *testing.F, b []byte) (out []pme.Page) {
	for len(b) > 0 {
		p, rest, err := pme.NextPage(b)
		if err != nil {
			f.Fatal(err)
		}
		if len(out) == 0 && !p.Dictionary {
			out = append(out, pme.Page{})
		}
		out, b = append(out, p), rest
	}
	return out
}

// appendPage appends a page behind a header that agrees with it.
func appendPage(b []byte, p pme.Page) []byte {
	const i32, structure = 0x15, 0x0c
	kind := int64(0)
	if p.Dictionary {
		kind = 2
	}
	b = binary.AppendVarint(append(b, i32), kind)
	b = binary.AppendVarint(append(b, i32), int64(len(p.Body)))
	b = binary.AppendVarint(append(b, i32), int64(len(p.Body)))
	if p.Dictionary {
		b = append(b, 4<<4|structure)
	} else {
		b = append(b, 2<<4|structure)
	}
	b = binary.AppendVarint(append(b, i32), int64(p.Values))
	b = binary.AppendVarint(append(b, i32), p.Encoding)
	if !p.Dictionary {
		b = append(b, i32, 6, i32, 6) // levels in RLE
	}
	return append(append(b, 0, 0), p.Body...)
}

func encodingsOf(t arrow.DataType) []parquet.Encoding {
	for _, f := range flat {
		if arrow.TypeEqual(f.typ, t) {
			return f.encodings
		}
	}
	return []parquet.Encoding{parquet.Encodings.Plain}
}

var fuzzedProperties = parquet.NewWriterProperties(parquet.WithVersion(parquet.V2_LATEST), parquet.WithStoreDecimalAsInteger(true))

// decodeStock has arrow-go decode the only leaf of a column. It returns nothing if it does not get through.
func decodeStock(ctx context.Context, c Column) (out arrow.Array, err error) {
	err = pme.Guard(func() (err error) {
		b, err := plainFile(c)
		if err != nil {
			return err
		}
		mem := parquetguard.NewBudget(32 << 20)
		f, err := file.NewParquetReader(bytes.NewReader(b), file.WithReadProps(parquet.NewReaderProperties(mem)))
		if err != nil {
			return err
		}
		if _, err := parquetguard.CheckDeltas(f.RowGroup(0), 0); err != nil {
			return err
		}
		r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, mem)
		if err != nil {
			return err
		}
		table, err := r.ReadTable(ctx)
		if err != nil {
			return err
		}
		if table.NumCols() != 1 || len(table.Column(0).Data().Chunks()) != 1 {
			return errors.New("not one array")
		}
		out = table.Column(0).Data().Chunk(0)
		return nil
	})
	return out, err
}

// plainFile is a Parquet file of the only leaf of a column.
func plainFile(c Column) ([]byte, error) {
	sum, err := sumPages(c.Leaves[0].Pages)
	if err != nil {
		return nil, err
	}
	s, err := pqarrow.ToParquet(arrow.NewSchema([]arrow.Field{c.Field}, nil), fuzzedProperties, pqarrow.NewArrowWriterProperties())
	if err != nil {
		return nil, err
	}
	codec := compress.Codecs.Uncompressed
	if c.Leaves[0].Compressed {
		codec = compress.Codecs.Zstd
	}
	props := parquet.NewWriterProperties(parquet.WithVersion(parquet.V2_LATEST), parquet.WithCompression(codec))
	size := int64(len(c.Leaves[0].Pages))
	info := metadata.ChunkMetaInfo{NumValues: int64(sum.entries), DataPageOffset: 4, CompressedSize: size, UncompressedSize: size}
	if p, rest, err := pme.NextPage(c.Leaves[0].Pages); err == nil && p.Dictionary {
		info.DictPageOffset, info.DataPageOffset = 4, 4+size-int64(len(rest))
	}
	m := metadata.NewFileMetadataBuilder(s, props, nil)
	g := m.AppendRowGroup()
	if err := g.NextColumnChunk().Finish(info, info.DictPageOffset > 0, false, metadata.EncodingStats{}); err != nil {
		return nil, err
	}
	g.SetNumRows(c.Rows)
	if err := g.Finish(size, 0); err != nil {
		return nil, err
	}
	meta, err := m.Finish()
	if err != nil {
		return nil, err
	}
	out := bytes.NewBufferString("PAR1")
	out.Write(c.Leaves[0].Pages)
	n, err := meta.WriteTo(out, nil)
	if err != nil {
		return nil, err
	}
	out.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
	out.WriteString("PAR1")
	return out.Bytes(), nil
}
