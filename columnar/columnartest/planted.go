package columnartest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/klauspost/compress/zstd"
)

// Secret is what Planted has everywhere and Find looks for. It is shorter than the bounds that statistics are cut to.
const Secret = "Quetzal-7731/Obsidian~Heron"

// Long is a string of about 5 KB with the secret at its start, in its middle and at its end.
func Long(i int) string {
	return Secret + strings.Repeat(fmt.Sprint("-", i), 800) + Secret + strings.Repeat("x", 1500) + Secret
}

// Planted is a table with the secret in each place that a writer of Parquet copies elsewhere: names, metadata of fields and of the schema,
// values that are the least and the greatest of a column, values that are in no statistics, dictionaries.
func Planted(rows int) arrow.RecordBatch {
	words := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	meta := func(k string) arrow.Metadata {
		return arrow.NewMetadata([]string{k, Secret + "-key"}, []string{Secret + "-value", "v"})
	}
	schemaMeta := meta("owner")
	schema := arrow.NewSchema([]arrow.Field{
		{Name: Secret, Type: arrow.PrimitiveTypes.Int64, Metadata: meta("unit")},
		{Name: "long", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "bounds", Type: arrow.BinaryTypes.String},
		{Name: "bytes", Type: arrow.BinaryTypes.Binary},
		{Name: "fixed", Type: &arrow.FixedSizeBinaryType{ByteWidth: len(Secret)}},
		{Name: "words", Type: words},
		{Name: "nested", Type: arrow.StructOf(
			arrow.Field{Name: Secret + "-inner", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
			arrow.Field{Name: "map", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.Binary), Nullable: true},
		), Nullable: true},
	}, &schemaMeta)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(Long(i % 7))
		// The least value is the secret itself, the greatest begins with it where statistics are cut; all others lie between.
		b.Field(2).(*array.StringBuilder).Append([]string{Secret, Secret + "m", Secret + "~" + strings.Repeat("z", 4000)}[min(i, 2)])
		b.Field(3).(*array.BinaryBuilder).Append([]byte(Long(i)))
		b.Field(4).(*array.FixedSizeBinaryBuilder).Append([]byte(Secret))
		if err := b.Field(5).(*array.BinaryDictionaryBuilder).AppendString(Secret + fmt.Sprint(i%3)); err != nil {
			panic(err)
		}
		nested := b.Field(6).(*array.StructBuilder)
		nested.Append(true)
		list := nested.FieldBuilder(0).(*array.ListBuilder)
		list.Append(true)
		list.ValueBuilder().(*array.StringBuilder).Append(Long(i % 3))
		m := nested.FieldBuilder(1).(*array.MapBuilder)
		m.Append(true)
		m.KeyBuilder().(*array.StringBuilder).Append(Secret + fmt.Sprint(i))
		m.ItemBuilder().(*array.BinaryBuilder).Append([]byte(Secret))
	}
	return b.NewRecordBatch()
}

// needles are the forms that Find looks for. A secret in base64 looks different at each of three places of the text around it; what the
// neighbours have a part in is left out.
func needles() map[string][]byte {
	n := map[string][]byte{
		"plain": []byte(Secret), "a part": []byte(Secret[:16]), "hex": []byte(hex.EncodeToString([]byte(Secret))),
		"HEX": []byte(strings.ToUpper(hex.EncodeToString([]byte(Secret)))),
	}
	var le, be []byte
	for _, u := range utf16.Encode([]rune(Secret)) {
		le, be = append(le, byte(u), byte(u>>8)), append(be, byte(u>>8), byte(u))
	}
	n["UTF-16LE"], n["UTF-16BE"] = le, be
	for shift := range 3 {
		text := append(make([]byte, shift), Secret...)
		text = text[:len(text)/3*3]
		skip := (shift + 2) / 3 * 4
		n[fmt.Sprint("base64 ", shift)] = []byte(base64.StdEncoding.EncodeToString(text)[skip:])
		n[fmt.Sprint("base64url ", shift)] = []byte(base64.URLEncoding.EncodeToString(text)[skip:])
	}
	return n
}

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// Find returns the forms in which the secret is in b: as it is, in hexadecimal, base64 or UTF-16, or any of these in a Zstandard frame that
// begins anywhere, whole or not.
func Find(b []byte) []string {
	var found []string
	for form, n := range needles() {
		if bytes.Contains(b, n) {
			found = append(found, form)
		}
	}
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], zstdMagic)
		if i < 0 {
			return found
		}
		at += i
		for _, form := range Find(inflated(b[at:])) {
			found = append(found, form+" in a Zstandard frame")
		}
	}
}

// inflated returns what a Zstandard frame gives before it ends or breaks, up to 32 MiB.
func inflated(b []byte) []byte {
	d, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.IgnoreChecksum(true))
	if err != nil {
		return nil
	}
	defer d.Close()
	var out bytes.Buffer
	_, _ = io.CopyN(&out, d, 32<<20) // what came before the frame's end counts
	return out.Bytes()
}
