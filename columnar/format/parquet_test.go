package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// A file of a few hundred bytes whose dictionary holds one value of 4 MiB, used in every row.
func TestD13_DictionaryBomb(t *testing.T) {
	schema := mustSchema(t, "a string")
	dict := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	long := array.NewStringBuilder(memory.DefaultAllocator)
	long.Append(strings.Repeat("x", 4<<20))
	const rows = 300
	indices := array.NewInt32Builder(memory.DefaultAllocator)
	for range rows {
		indices.Append(0)
	}
	col := array.NewDictionaryArray(dict, indices.NewArray(), long.NewArray())
	dictSchema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: dict, Nullable: true}}, nil)
	body := write(t, Parquet, dictSchema, []arrow.RecordBatch{array.NewRecordBatch(dictSchema, []arrow.Array{col}, rows)})
	t.Logf("%d bytes for %d MiB", len(body), rows*4)
	base := live()
	r, err := NewReader(t.Context(), Parquet, bytes.NewReader(body), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Schema().Field(0).Nullable || r.Schema().NumFields() != schema.NumFields() {
		t.Fatal(r.Schema())
	}
	n := int64(0)
	for n < rows {
		b, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		n += b.NumRows()
		if now := live(); now > base+64<<20 {
			t.Fatalf("%d MiB in use after %d rows", (now-base)>>20, n)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Strings that are each the one before, and fixed-size binary of which one value is in every row.
func TestD13_RepeatedValues(t *testing.T) {
	const rows, length = 128, 1 << 20
	strs, fixed := array.NewStringBuilder(memory.DefaultAllocator), array.NewFixedSizeBinaryBuilder(memory.DefaultAllocator, &arrow.FixedSizeBinaryType{ByteWidth: length})
	long := bytes.Repeat([]byte("x"), length)
	for range rows {
		strs.Append(string(long))
		fixed.Append(long)
	}
	for name, c := range map[string]struct {
		values arrow.Array
		props  []parquet.WriterProperty
	}{
		"strings by their difference": {strs.NewArray(), []parquet.WriterProperty{
			parquet.WithDictionaryDefault(false), parquet.WithEncoding(parquet.Encodings.DeltaByteArray),
		}},
		"fixed-size binary in a dictionary": {fixed.NewArray(), []parquet.WriterProperty{parquet.WithDictionaryPageSizeLimit(64 << 20)}},
	} {
		body := parquetFile(t, c.values, c.props...)
		c.values.Release()
		t.Logf("%s: %d bytes for %d MiB", name, len(body), rows*length>>20)
		base := live()
		r, err := NewReader(t.Context(), Parquet, bytes.NewReader(body), ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for n < rows {
			b, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			n += b.NumRows()
			if now := live(); now > base+64<<20 {
				t.Fatalf("%s: %d MiB in use after %d rows", name, (now-base)>>20, n)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func parquetFile(t *testing.T, values arrow.Array, props ...parquet.WriterProperty) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: values.DataType()}}, nil)
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(props...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	rec := array.NewRecordBatch(schema, []arrow.Array{values}, int64(values.Len()))
	defer rec.Release()
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A delta block that says it has 64 Mi values, which the decoder would make.
func TestD13_DeltaBlock(t *testing.T) {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	for i := range 1000 {
		b.Append(int64(i))
	}
	body := parquetFile(t, b.NewArray(), parquet.WithDictionaryDefault(false), parquet.WithEncoding(parquet.Encodings.DeltaBinaryPacked))
	if _, _, err := tryRead(Parquet, bytes.NewReader(body), ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	header := []byte{0x80, 0x01, 4, 0xe8, 0x07} // blocks of 128 values in 4 miniblocks, 1000 in all
	if bytes.Count(body, header) != 1 {
		t.Fatal("the delta header is not found")
	}
	body = bytes.Replace(body, header, []byte{0x80, 0x80, 0x80, 0x20, 1}, 1)
	before := allocated()
	if _, _, err := tryRead(Parquet, bytes.NewReader(body), ReadOptions{}); !errors.Is(err, fault.TooLarge) {
		t.Errorf("want too_large, got %v", err)
	}
	if used := allocated() - before; used > 16<<20 {
		t.Errorf("%d MiB allocated", used>>20)
	}
}

// A block of five bytes that says that it is 4 GiB.
func TestD13_SnappyLength(t *testing.T) {
	codec, err := compress.GetCodec(compress.Codecs.Snappy)
	if err != nil {
		t.Fatal(err)
	}
	before := allocated()
	if _, err := compress.Decode(codec, make([]byte, 100), binary.AppendUvarint(nil, 1<<32-1)); err == nil {
		t.Error("decoded")
	}
	if used := allocated() - before; used > 1<<20 {
		t.Errorf("%d bytes allocated", used)
	}
	want := []byte("some text, some text, some text")
	got, err := compress.Decode(codec, make([]byte, len(want)), codec.Encode(nil, want))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

// The Parquet reader refuses what is damaged anywhere, or reads what was not touched.
func TestParquetFlips(t *testing.T) {
	body := fixture(t, "pyarrow-all.parquet")
	for i := 0; i < len(body); i += 97 {
		b := bytes.Clone(body)
		b[i] ^= 0x10
		_, _, err := tryRead(Parquet, bytes.NewReader(b), ReadOptions{})
		if err != nil && fault.CodeOf(err) == fault.Internal {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}
