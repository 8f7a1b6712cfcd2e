package columnar_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"coldframe/columnar"
	"coldframe/internal/fault"
)

// plainColumn writes an array as a plain Parquet file of its own, with a writer that knows no limits.
func plainColumn(t *testing.T, a arrow.Array, props ...parquet.WriterProperty) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: a.DataType(), Nullable: true}}, nil)
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(props...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	rec := array.NewRecordBatch(schema, []arrow.Array{a}, int64(a.Len()))
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// repeated is one string, n times, in a dictionary.
func repeated(value string, n int) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	b.Append(value)
	t := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	index := array.NewInt32Data(array.NewData(arrow.PrimitiveTypes.Int32, n,
		[]*memory.Buffer{nil, memory.NewBufferBytes(make([]byte, 4*n))}, nil, 0, 0))
	return array.NewDictionaryArray(t, index, b.NewArray())
}

func nullsOf(t arrow.DataType, n int) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, t)
	b.AppendNulls(n)
	return b.NewArray()
}

func sequence(n int) arrow.Array {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	for i := range n {
		b.Append(int64(i))
	}
	return b.NewArray()
}

// TestD13_ChunksThatGrow has an insider seal and sign chunks of a few kilobytes that decode to gigabytes.
func TestD13_ChunksThatGrow(t *testing.T) {
	dictionary := []parquet.WriterProperty{
		parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDictionaryPageSizeLimit(64 << 20), parquet.WithDataPageSize(1 << 20),
	}
	hugeBlock := plainColumn(t, sequence(1000), parquet.WithDictionaryDefault(false), parquet.WithEncoding(parquet.Encodings.DeltaBinaryPacked))
	header := []byte{0x80, 0x01, 4, 0xe8, 0x07} // blocks of 128 values in 4 miniblocks, 1000 in all
	if bytes.Count(hugeBlock, header) != 1 {
		t.Fatal("the delta header is not found")
	}
	hugeBlock = bytes.Replace(hugeBlock, header, []byte{0x80, 0x80, 0x80, 0x20, 1}, 1)
	for name, c := range map[string]struct {
		field arrow.DataType
		plain []byte
		want  fault.Code
	}{
		"a long string repeated": {arrow.BinaryTypes.String, plainColumn(t, repeated(strings.Repeat("x", 1<<20), 10_000), dictionary...), fault.TooLarge},
		"empty strings":          {arrow.BinaryTypes.String, plainColumn(t, repeated("", 14_000_000), dictionary...), fault.TooLarge},
		"nulls of fixed-size lists": {
			arrow.FixedSizeListOf(1<<20, arrow.PrimitiveTypes.Int64), plainColumn(t, nullsOf(arrow.ListOf(arrow.PrimitiveTypes.Int64), 100_000), dictionary...), fault.TooLarge,
		},
		"delta blocks of 64 Mi values": {arrow.PrimitiveTypes.Int64, hugeBlock, fault.TooLarge},
		"strings by their difference": {
			arrow.BinaryTypes.String,
			plainColumn(t, nullsOf(arrow.BinaryTypes.String, 10), parquet.WithDictionaryDefault(false), parquet.WithEncoding(parquet.Encodings.DeltaByteArray)), fault.Policy,
		},
		"another codec": {
			arrow.PrimitiveTypes.Int64, plainColumn(t, sequence(10), parquet.WithCompression(compress.Codecs.Snappy)), fault.Policy,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, folder(t), arrow.NewSchema([]arrow.Field{{Name: "x", Type: c.field, Nullable: true}}, nil))
			keys := columnar.NewVersionKeys(w.columns)
			p, err := columnar.ForgePart(t.Context(), w.store, columnar.WriterOptions{
				Dataset: w.roster.ID, Version: 1, Schema: w.schema, Columns: w.columns, Keys: keys, Register: w.register,
			}, c.plain)
			if err != nil {
				t.Fatal(err)
			}
			w.publish(keys, []columnar.Part{p})
			resetPeak(t)
			before := peak(t)
			start := time.Now()
			refused(t, w, c.want)
			grown := peak(t) - before
			t.Logf("%d bytes, %d MiB, %v", p.Length, grown, time.Since(start).Round(time.Millisecond))
			if grown > 64 && !raceEnabled {
				t.Errorf("the peak grew by %d MiB, 64 allowed", grown)
			}
		})
	}
}

// TestD13_RowsOfNothing asks for rows of a column of very many nulls, which themselves take no memory.
func TestD13_RowsOfNothing(t *testing.T) {
	w := newWorld(t, folder(t), arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.Null, Nullable: true}}, nil))
	keys := columnar.NewVersionKeys(w.columns)
	p, err := columnar.ForgePart(t.Context(), w.store, columnar.WriterOptions{
		Dataset: w.roster.ID, Version: 1, Schema: w.schema, Columns: w.columns, Keys: keys, Register: w.register,
	}, plainColumn(t, array.NewNull(9_000_000)))
	if err != nil {
		t.Fatal(err)
	}
	w.publish(keys, []columnar.Part{p})
	resetPeak(t)
	before := peak(t)
	if rows, err := count(w, columnar.ReadOptions{Where: where("x IS NULL")}); !errors.Is(err, fault.TooLarge) {
		t.Errorf("%d rows, %v", rows, err)
	}
	if grown := peak(t) - before; grown > 64 && !raceEnabled {
		t.Errorf("the peak grew by %d MiB, 64 allowed", grown)
	}
}

// TestWhatIsWrittenIsRead writes tables that take much more memory decoded than they seem to, in row groups of the usual size.
func TestWhatIsWrittenIsRead(t *testing.T) {
	if raceEnabled {
		t.Skip("large tables; the race detector has others")
	}
	skewed := array.NewStringBuilder(memory.DefaultAllocator)
	skewed.Append(strings.Repeat("x", 1<<20))
	for i := range 1000 {
		skewed.Append(fmt.Sprint(i))
	}
	dict := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	bools := array.NewListBuilder(memory.DefaultAllocator, arrow.FixedWidthTypes.Boolean)
	for range 10_000 {
		bools.Append(true)
		bools.ValueBuilder().(*array.BooleanBuilder).AppendValues(make([]bool, 2000), nil)
	}
	fixed := array.NewFixedSizeListBuilder(memory.DefaultAllocator, 3, arrow.PrimitiveTypes.Int32)
	for i := range 500_000 {
		if fixed.Append(i%2 == 0); i%2 == 0 {
			fixed.ValueBuilder().(*array.Int32Builder).AppendValues([]int32{1, 2, 3}, nil)
			continue
		}
		fixed.ValueBuilder().AppendEmptyValues(3)
	}
	decimals := array.NewDecimal32Builder(memory.DefaultAllocator, &arrow.Decimal32Type{Precision: 5, Scale: 1})
	short, one := array.NewStringBuilder(memory.DefaultAllocator), array.NewStringBuilder(memory.DefaultAllocator)
	for i := range 3_000_000 {
		decimals.Append(5)
		short.Append([]string{"", "a"}[i%2])
	}
	for i := range 4 {
		one.Append(strings.Repeat(fmt.Sprint(i), 14<<20))
	}
	text := array.NewStringBuilder(memory.DefaultAllocator)
	for i := range 40_000 {
		text.Append(strings.Repeat(fmt.Sprint(i%50), 600))
	}
	for name, a := range map[string]arrow.Array{
		"a dictionary of which one value is long": array.NewDictionaryArray(dict, repeated("", 200).(*array.Dictionary).Indices(), skewed.NewArray()),
		"lists of booleans":                       bools.NewArray(),
		"fixed-size lists, every other null":      fixed.NewArray(),
		"small decimals":                          decimals.NewArray(),
		"short strings":                           short.NewArray(),
		"values of 14 MiB":                        one.NewArray(),
		"few long strings":                        text.NewArray(),
		"nulls":                                   array.NewNull(5_000_000),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, folder(t), arrow.NewSchema([]arrow.Field{{Name: "x", Type: a.DataType(), Nullable: true}}, nil))
			w.mustPut(array.NewRecordBatch(w.schema, []arrow.Array{a}, int64(a.Len())))
			rows, err := count(w, columnar.ReadOptions{})
			if err != nil || rows != int64(a.Len()) {
				t.Errorf("%d rows of %d, %v", rows, a.Len(), err)
			}
		})
	}
}

func TestRowTooLarge(t *testing.T) {
	w := newWorld(t, folder(t), arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.BinaryTypes.String}}, nil))
	b := array.NewStringBuilder(memory.DefaultAllocator)
	b.Append(strings.Repeat("x", columnar.MaxRowBytes))
	a := b.NewArray()
	if err := w.put(nil, array.NewRecordBatch(w.schema, []arrow.Array{a}, 1)); !errors.Is(err, fault.TooLarge) {
		t.Errorf("want too_large, got %v", err)
	}
}

// The largest value that is taken can be read, even if nothing of it can be compressed.
func TestLargestRow(t *testing.T) {
	w := newWorld(t, folder(t), arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.BinaryTypes.Binary}}, nil))
	value := make([]byte, columnar.MaxRowBytes-64<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(value)
	b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
	b.Append(value)
	w.mustPut(array.NewRecordBatch(w.schema, []arrow.Array{b.NewArray()}, 1))
	if rows, err := count(w, columnar.ReadOptions{}); err != nil || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
}
