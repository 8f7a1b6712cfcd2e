package pme_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"

	"coldframe/columnar/pme"
	"coldframe/internal/secret"
)

// benchBytes is the size of the data that the benchmarks seal: one column of int64 in pages of 1 MiB.
const benchBytes = 64 << 20

func benchPlain(b *testing.B) []byte {
	b.Helper()
	build := array.NewInt64Builder(memory.DefaultAllocator)
	r := newRand(1)
	for range benchBytes / 8 {
		build.Append(r.Int64())
	}
	s := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	rec := array.NewRecordBatch(s, []arrow.Array{build.NewInt64Array()}, benchBytes/8)
	return encode(b, rec, parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(1<<20))
}

func benchWriter(b *testing.B, plain []byte, w io.Writer) (*pme.FileWriter, pme.Keys) {
	b.Helper()
	mk := pme.NamedKey{ID: "k", Key: secret.Random()}
	f, err := pme.NewFileWriter(w, pme.FileConfig{Template: plain, Footer: mk, ColumnKey: func(pme.Leaf) pme.NamedKey { return mk }})
	if err != nil {
		b.Fatal(err)
	}
	return f, pme.Keys{Footer: mk, Column: func(pme.Leaf) (pme.NamedKey, bool) { return mk, true }}
}

// BenchmarkGCM is the bound: AES-256-GCM over one buffer.
func BenchmarkGCM(b *testing.B) {
	a, err := pme.AESGCM(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	plain, nonce, dst := make([]byte, benchBytes), make([]byte, 12), make([]byte, 0, benchBytes+16)
	sealed := a.Seal(nil, nonce, plain, nil)
	b.Run("seal", func(b *testing.B) {
		b.SetBytes(benchBytes)
		for b.Loop() {
			a.Seal(dst, nonce, plain, nil)
		}
	})
	b.Run("open", func(b *testing.B) {
		work := make([]byte, len(sealed))
		b.SetBytes(benchBytes)
		for b.Loop() {
			b.StopTimer()
			copy(work, sealed)
			b.StartTimer()
			if _, err := a.Open(work[:0], nonce, work, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSeal seals the modules of a column, without the SHA-256 that SealColumn takes of the result.
func BenchmarkSeal(b *testing.B) {
	plain := benchPlain(b)
	w, _ := benchWriter(b, plain, io.Discard)
	dst := make([]byte, 0, len(plain)+1<<20)
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.SealOnly(plain, dst); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSealColumn is what a caller pays: modules and SHA-256.
func BenchmarkSealColumn(b *testing.B) {
	plain := benchPlain(b)
	w, _ := benchWriter(b, plain, io.Discard)
	dst := make([]byte, 0, len(plain)+1<<20)
	b.SetBytes(benchBytes)
	for b.Loop() {
		if _, err := w.SealPlain(0, 0, plain, dst); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnseal(b *testing.B) {
	plain := benchPlain(b)
	var out bytes.Buffer
	w, keys := benchWriter(b, plain, &out)
	c, err := w.SealPlain(0, 0, plain, nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.AppendRowGroup([]*pme.SealedColumn{c}); err != nil {
		b.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		b.Fatal(err)
	}
	f, err := open(out.Bytes(), keys, pme.ReadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	off, n, _ := f.Range(0, 0)
	work := make([]byte, n)
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		copy(work, out.Bytes()[off:])
		b.StartTimer()
		if _, err := f.UnsealChunk(0, 0, work); err != nil {
			b.Fatal(err)
		}
	}
}
