package pme_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
	"coldframe/internal/outside"
)

// publishedKeys are the data keys of the reference files, by the key id that stands in their metadata.
type publishedKeys map[string]string

func (k publishedKeys) DataKey(_ *pme.Leaf, metadata []byte) ([]byte, error) {
	if v, ok := k[string(metadata)]; ok {
		return []byte(v), nil
	}
	return nil, nil
}

var published = publishedKeys{"kf": "0123456789012345", "kc1": "1234567890123450", "kc2": "1234567890123451"}

// TestReferenceFiles reads the files of other implementations that are AES_GCM_V1 with an encrypted footer, every value of them.
func TestReferenceFiles(t *testing.T) {
	files := []struct {
		name   string
		prefix []byte
		rows   int
		values int
	}{
		{"uniform_encryption", nil, 50, 425},
		{"encrypt_columns_and_footer", nil, 50, 425},
		{"encrypt_columns_and_footer_aad", []byte("tester"), 50, 425},
		{"encrypt_columns_and_footer_disable_aad_storage", []byte("tester"), 50, 425},
		{"encrypt_columns_and_footer_bloom_filter", nil, 2000, 8000},
	}
	for _, ref := range files {
		t.Run(ref.name, func(t *testing.T) {
			b := outside.Reference(t, ref.name)
			pf := openReference(t, b, pme.ReadOptions{AADPrefix: ref.prefix, Foreign: true})
			if pf.NumRows() != int64(ref.rows) || pf.NumRowGroups() != 1 {
				t.Fatalf("%d rows, want %d", pf.NumRows(), ref.rows)
			}
			values := 0
			for c := range pf.MetaData().Schema.NumColumns() {
				r, err := pf.RowGroup(0).Column(c)
				if err != nil {
					t.Fatal(err)
				}
				values += checkReference(t, r, pf.MetaData().Schema.Column(c).Path(), ref.rows)
			}
			t.Logf("%d values compared", values)
			if values != ref.values {
				t.Fatalf("%d values, want %d", values, ref.values)
			}
		})
	}
	t.Logf("%d files", len(files))
}

func openReference(t *testing.T, b []byte, o pme.ReadOptions) *file.Reader {
	t.Helper()
	f, err := open(b, published, o)
	if err != nil {
		t.Fatal(err)
	}
	columns := make([]int, len(f.Columns()))
	for i := range columns {
		columns[i] = i
	}
	p, err := plainFile(f, b, columns)
	if err != nil {
		t.Fatal(err)
	}
	pf, err := file.NewParquetReader(p)
	if err != nil {
		t.Fatal(err)
	}
	return pf
}

// checkReference compares every value of a column with what the generators of the reference files write in row i, and returns how
// many there are. One generator writes the file with Bloom filters, the other one all others.
func checkReference(t *testing.T, r file.ColumnChunkReader, path string, rows int) int {
	bloom := rows == 2000
	switch r := r.(type) {
	case *file.BooleanColumnChunkReader:
		return compare(t, path, r.ReadBatch, rows, func(i int) bool { return i%2 == 0 })
	case *file.Int32ColumnChunkReader:
		return compare(t, path, r.ReadBatch, rows, func(i int) int32 { return int32(i) })
	case *file.Int64ColumnChunkReader: // a list of two in each row
		return compare(t, path, r.ReadBatch, 2*rows, func(i int) int64 { return int64(i) * 1e12 })
	case *file.Int96ColumnChunkReader:
		return compare(t, path, r.ReadBatch, rows, func(i int) (v parquet.Int96) {
			for j := range 3 {
				binary.LittleEndian.PutUint32(v[4*j:], uint32(i+j))
			}
			return v
		})
	case *file.Float32ColumnChunkReader:
		return compare(t, path, r.ReadBatch, rows, func(i int) float32 {
			if bloom {
				return float32(i) + 0.25
			}
			return float32(i) * 1.1
		})
	case *file.Float64ColumnChunkReader:
		return compare(t, path, r.ReadBatch, rows, func(i int) float64 {
			if bloom {
				return float64(i) + 0.5
			}
			return float64(i) * 1.1111111
		})
	case *file.ByteArrayColumnChunkReader:
		read := func(n int64, v []string, def, rep []int16) (int64, int, error) {
			raw := make([]parquet.ByteArray, n)
			total, got, err := r.ReadBatch(n, raw, def, rep)
			for i, b := range raw[:got] {
				v[i] = string(b)
			}
			return total, got, err
		}
		if bloom {
			return compare(t, path, read, rows, func(i int) string { return fmt.Sprintf("name_%d", i) })
		}
		return compare(t, path, read, rows/2, func(i int) string { return fmt.Sprintf("parquet%03d", 2*i) }) // every other one is null
	case *file.FixedLenByteArrayColumnChunkReader:
		read := func(n int64, v []string, def, rep []int16) (int64, int, error) {
			raw := make([]parquet.FixedLenByteArray, n)
			total, got, err := r.ReadBatch(n, raw, def, rep)
			for i, b := range raw[:got] {
				v[i] = string(b)
			}
			return total, got, err
		}
		return compare(t, path, read, rows, func(i int) string { return string(slices.Repeat([]byte{byte(i)}, 10)) })
	}
	t.Fatalf("column %s of type %T", path, r)
	return 0
}

func compare[T comparable](
	t *testing.T, path string, read func(int64, []T, []int16, []int16) (int64, int, error), n int, want func(i int) T,
) int {
	t.Helper()
	values, def, rep := make([]T, 4096), make([]int16, 4096), make([]int16, 4096)
	got := 0
	for {
		total, m, err := read(4096, values, def, rep)
		if err != nil {
			t.Fatal(path, err)
		}
		for i, v := range values[:m] {
			if v != want(got+i) {
				t.Fatalf("%s: value %d is %v, want %v", path, got+i, v, want(got+i))
			}
		}
		if got += m; total == 0 {
			break
		}
	}
	if got != n {
		t.Fatalf("%s: %d values, want %d", path, got, n)
	}
	return got
}

// TestD07_PlaintextRefused gives the reader a plain file of the same schema, and a file with a plaintext footer.
func TestD07_PlaintextRefused(t *testing.T) {
	plain := encode(t, testRecord(newRand(1), 10, ""))
	if _, err := open(plain, newKeyring(1).keys(), strict); !errors.Is(err, fault.Policy) {
		t.Errorf("a plain file: %v", err)
	}
	if _, err := open(outside.Reference(t, "encrypt_columns_plaintext_footer"), published, pme.ReadOptions{Foreign: true}); !errors.Is(err, fault.Policy) {
		t.Errorf("a plaintext footer: %v", err)
	}
}

// TestPolicy refuses other algorithms, foreign files where ours are expected, and prefixes that are not the expected one.
func TestPolicy(t *testing.T) {
	foreign := pme.ReadOptions{Foreign: true}
	tester := pme.ReadOptions{Foreign: true, AADPrefix: []byte("tester")}
	for _, c := range []struct {
		name string
		o    pme.ReadOptions
		want fault.Code
	}{
		{"encrypt_columns_and_footer_ctr", foreign, fault.Policy},
		{"encrypt_columns_and_footer", pme.ReadOptions{}, fault.NotAuthentic},
		{"uniform_encryption", pme.ReadOptions{}, fault.NotAuthentic},
		{"encrypt_columns_and_footer", tester, fault.NotAuthentic},
		{"encrypt_columns_and_footer_aad", foreign, fault.NotAuthentic},
		{"encrypt_columns_and_footer_aad", pme.ReadOptions{Foreign: true, AADPrefix: []byte("Tester")}, fault.NotAuthentic},
		{"encrypt_columns_and_footer_disable_aad_storage", foreign, fault.NotAuthentic},
		{"encrypt_columns_and_footer_disable_aad_storage", pme.ReadOptions{Foreign: true, AADPrefix: []byte("other")}, fault.NotAuthentic},
	} {
		if _, err := open(outside.Reference(t, c.name), published, c.o); !errors.Is(err, c.want) {
			t.Errorf("%s with prefix %q: want %s, got %v", c.name, c.o.AADPrefix, c.want, err)
		}
	}
}

// TestReferenceFileHiddenColumn opens the file without one of its keys.
func TestReferenceFileHiddenColumn(t *testing.T) {
	f, err := open(outside.Reference(t, "encrypt_columns_and_footer"), publishedKeys{"kf": published["kf"], "kc2": published["kc2"]}, pme.ReadOptions{Foreign: true})
	if err != nil {
		t.Fatal(err)
	}
	hidden := 0
	for _, l := range f.Leaves() {
		if f.Hidden(l.Index) {
			hidden++
		}
	}
	if hidden != 1 {
		t.Fatalf("%d columns are hidden, want 1", hidden)
	}
}
