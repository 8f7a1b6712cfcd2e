package format

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"coldframe/internal/fault"
	"coldframe/internal/outside"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// referenceSchema is that of the reference files of Parquet C++. Their INT96 lies outside of every time: it is asked for as bytes.
const referenceSchema = "boolean_field bool not null, int32_field time[ms] not null, int64_field list<int64> not null, int96_field fixed_size_binary(12) not null, " +
	"float_field float32 not null, double_field float64 not null, ba_field binary, flba_field fixed_size_binary(10) not null"

// published are the keys of the reference files.
func published(t testing.TB, ids ...string) *Decryption {
	t.Helper()
	var keys []DecryptionKey
	for _, id := range ids {
		keys = append(keys, DecryptionKey{id, []byte(map[string]string{"kf": "0123456789012345", "kc1": "1234567890123450", "kc2": "1234567890123451"}[id])})
	}
	d, err := NewDecryption(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Wipe)
	return d
}

func readEncrypted(t testing.TB, b []byte, d *Decryption, schema string) (arrow.RecordBatch, error) {
	t.Helper()
	o := ReadOptions{Decrypt: d, SpoolDir: t.TempDir()}
	if schema != "" {
		s, err := ParseSchema(schema)
		if err != nil {
			t.Fatal(err)
		}
		o.Schema = s
	}
	r, err := NewReader(context.Background(), Parquet, bytes.NewReader(b), o)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // of a test
	t.Log(FormatSchema(r.Schema()))
	var all []arrow.RecordBatch
	for {
		rec, err := r.Next()
		if err == io.EOF { //nolint:errorlint // the end itself
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, rec)
	}
	return joined(t, r.Schema(), all), nil
}

func joined(t testing.TB, schema *arrow.Schema, all []arrow.RecordBatch) arrow.RecordBatch {
	t.Helper()
	table := array.NewTableFromRecords(schema, all)
	defer table.Release()
	var columns []arrow.Array
	for i := range int(table.NumCols()) {
		c, err := array.Concatenate(table.Column(i).Data().Chunks(), memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, c)
	}
	return array.NewRecordBatch(schema, columns, table.NumRows())
}

// TestReferenceFilesAreImported reads the seven files of other implementations as bodies.
func TestReferenceFilesAreImported(t *testing.T) {
	for name, rows := range map[string]int{
		"uniform_encryption": 50, "encrypt_columns_and_footer": 50, "encrypt_columns_plaintext_footer": 50, "encrypt_columns_and_footer_aad": 50,
		"encrypt_columns_and_footer_disable_aad_storage": 50, "encrypt_columns_and_footer_ctr": 50, "encrypt_columns_and_footer_bloom_filter": 2000,
	} {
		t.Run(name, func(t *testing.T) {
			b, d, schema := outside.Reference(t, name), published(t, "kf", "kc1", "kc2"), referenceSchema
			if rows == 2000 {
				schema = ""
			}
			switch {
			case strings.HasSuffix(name, "_ctr"):
				if _, err := readEncrypted(t, b, d, schema); !errors.Is(err, fault.Policy) {
					t.Fatalf("without leave: %v", err)
				}
				d.AllowCTR = true
			case strings.HasSuffix(name, "_disable_aad_storage"):
				if _, err := readEncrypted(t, b, d, schema); !errors.Is(err, fault.NotAuthentic) {
					t.Fatalf("without the prefix: %v", err)
				}
				d.AADPrefix = []byte("tester")
			}
			rec, err := readEncrypted(t, b, d, schema)
			if err != nil {
				t.Fatal(err)
			}
			defer rec.Release()
			if int(rec.NumRows()) != rows {
				t.Fatalf("%d rows of %v", rec.NumRows(), rec.Schema())
			}
			checkReference(t, rec)
		})
	}
}

// checkReference compares the columns whose values follow from the row; package pme compares all of them.
func checkReference(t *testing.T, rec arrow.RecordBatch) {
	t.Helper()
	checked := 0
	for c, f := range rec.Schema().Fields() {
		for i := range int(rec.NumRows()) {
			switch col := rec.Column(c).(type) {
			case *array.Boolean:
				if col.Value(i) != (i%2 == 0) {
					t.Fatalf("%s: row %d", f.Name, i)
				}
			case *array.Float32:
				if rec.NumRows() == 50 && col.Value(i) != float32(i)*1.1 {
					t.Fatalf("%s: row %d is %v", f.Name, i, col.Value(i))
				}
			case *array.FixedSizeBinary:
				if v := col.Value(i); len(v) == 12 && (v[0] != byte(i) || v[4] != byte(i+1) || v[8] != byte(i+2)) {
					t.Fatalf("%s: row %d is %x", f.Name, i, v)
				}
			default:
				continue
			}
			checked++
		}
	}
	if checked == 0 {
		t.Fatal("nothing was compared")
	}
}

func TestImportRefuses(t *testing.T) {
	whole := outside.Reference(t, "encrypt_columns_and_footer")
	signed := outside.Reference(t, "encrypt_columns_plaintext_footer")
	forged := bytes.ReplaceAll(signed, []byte("parquet-cpp"), []byte("parquet-CPP"))
	for name, c := range map[string]struct {
		b    []byte
		d    *Decryption
		want fault.Code
	}{
		"no keys":                       {whole, nil, fault.InvalidRequest},
		"no keys, plaintext footer":     {signed, nil, fault.InvalidRequest},
		"not the footer's key":          {whole, published(t, "kc1", "kc2"), fault.Forbidden},
		"not a column's key":            {whole, published(t, "kf", "kc2"), fault.Forbidden},
		"plaintext footer without key":  {signed, published(t, "kc1", "kc2"), fault.Forbidden},
		"plaintext footer, changed":     {forged, published(t, "kf", "kc1", "kc2"), fault.NotAuthentic},
		"another prefix":                {outside.Reference(t, "encrypt_columns_and_footer_aad"), withPrefix(published(t, "kf", "kc1", "kc2"), "other"), fault.NotAuthentic},
		"plain with keys":               {fixture(t, "pyarrow-v2.parquet"), published(t, "kf"), fault.Policy},
		"nothing":                       {nil, published(t, "kf"), fault.NotAuthentic},
		"cut":                           {whole[:len(whole)/2], published(t, "kf", "kc1", "kc2"), fault.NotAuthentic},
		"one page changed":              {flipped(outside.Reference(t, "uniform_encryption"), 700), published(t, "kf", "kc1", "kc2"), fault.NotAuthentic},
		"a wrong key under a right id":  {whole, wrongKey(t), fault.NotAuthentic},
		"an INT96 that fits no instant": {whole, published(t, "kf", "kc1", "kc2"), fault.InvalidRequest},
	} {
		if _, err := readEncrypted(t, c.b, c.d, ""); !errors.Is(err, c.want) {
			t.Errorf("%s: want %s, got %v", name, c.want, err)
		}
	}
	if bytes.Equal(forged, signed) {
		t.Error("the plaintext footer was not changed")
	}
	d := published(t, "kf", "kc2")
	d.SkipHidden = true
	schema := strings.Replace(referenceSchema, "double_field float64 not null, ", "", 1)
	rec, err := readEncrypted(t, whole, d, schema)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	if rec.NumCols() != 7 || rec.NumRows() != 50 {
		t.Errorf("%d columns, %d rows", rec.NumCols(), rec.NumRows())
	}
}

func withPrefix(d *Decryption, prefix string) *Decryption {
	d.AADPrefix = []byte(prefix)
	return d
}

func wrongKey(t *testing.T) *Decryption {
	d, err := NewDecryption([]DecryptionKey{{"kf", make([]byte, 16)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}
