package format

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"coldframe/internal/fault"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/compress"
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
