package pme_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

// TestParallelUnseal unseals all chunks of a file at once and reads them with a parallel decoder, which is what kills arrow-go's own
// decryption.
func TestParallelUnseal(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, recs := sealShape(t, k, shapes()[2], 81)
	f, err := open(s.bytes, k.keys(), strict)
	if err != nil {
		t.Fatal(err)
	}
	leaves := len(f.Leaves())
	chunks := make([]*pme.UnsealedChunk, f.NumRowGroups()*leaves)
	var wg sync.WaitGroup
	for i := range chunks {
		sealed := chunkBytes(t, f, s.bytes, i/leaves, i%leaves)
		wg.Go(func() {
			var err error
			if chunks[i], err = f.UnsealChunk(i/leaves, i%leaves, sealed); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := decode(f.PlainFile([]int{0, 1, 2}, all(), chunks))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, recs, all())
}

// TestPaddedModules reads a page header that is padded to 100 bytes, as parquet-java writes every Thrift module.
func TestPaddedModules(t *testing.T) {
	rec := column(testRecord(newRand(82), 20, ""), 0)
	template := encode(t, rec)
	k := newKeyring(1)
	page := hostilePage{raw: 64, values: 20}.encode()
	_, chunk := forgeChunk(t, k, template, page, false)
	short := len(chunk)
	f, chunk := forgePadded(t, k, template, page, 100)
	if len(chunk) <= short {
		t.Fatal("nothing is padded")
	}
	u, err := f.UnsealChunk(0, 0, chunk)
	if err != nil {
		t.Fatal(err)
	}
	if got := pageBodies(t, u.Bytes()); len(got) != 1 || !bytes.Equal(got[0], page[len(page)-64:]) {
		t.Fatal("the page differs")
	}
}

// TestHostileData has an insider seal nonsense: the decoder must fail with an error, and not take the process down.
func TestHostileData(t *testing.T) {
	rec := column(testRecord(newRand(83), 200, ""), 3)
	r := newRand(83)
	failed := 0
	for _, codec := range []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Zstd} {
		plain := encode(t, rec, parquet.WithCompression(codec), parquet.WithDictionaryDefault(false))
		for range 300 {
			k := newKeyring(1)
			var out bytes.Buffer
			w, err := pme.NewFileWriter(&out, pme.FileConfig{
				Template: plain, AADPrefix: testPrefix, Footer: k.footer, ColumnKey: func(pme.Leaf) pme.NamedKey { return k.columns[0] },
			})
			if err != nil {
				t.Fatal(err)
			}
			broken := bytes.Clone(plain)
			for range 8 { // in the page, not in the footer
				broken[40+r.IntN(len(plain)/2)] = byte(r.Uint32())
			}
			c, err := w.SealPlain(0, 0, broken, nil)
			if err != nil {
				continue
			}
			if _, err := w.AppendRowGroup([]*pme.SealedColumn{c}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := readAll(out.Bytes(), k.keys(), strict, []int{0}); err != nil {
				failed++
				if !errors.Is(err, fault.NotAuthentic) {
					t.Fatalf("want not_authentic, got %v", err)
				}
			}
		}
	}
	if failed == 0 {
		t.Fatal("no nonsense was noticed")
	}
	t.Logf("%d of 600 could not be decoded", failed)
}

func TestGuard(t *testing.T) {
	for name, c := range map[string]struct {
		fn   func() error
		want error
	}{
		"nothing":            {func() error { return nil }, nil},
		"a panic":            {func() error { panic("cell 4: secret") }, fault.NotAuthentic},
		"a runtime panic":    {func() error { var p []int; p[len(p)]++; return nil }, fault.NotAuthentic},
		"an error of theirs": {func() error { return io.ErrUnexpectedEOF }, fault.NotAuthentic},
		"an error of ours":   {func() error { return fault.New(fault.Forbidden, "no") }, fault.Forbidden},
		"a joined error":     {func() error { return errors.Join(io.ErrUnexpectedEOF, context.Canceled) }, fault.NotAuthentic},
		"a wrapped stop":     {func() error { return fmt.Errorf("reading: %w", context.Canceled) }, context.Canceled},
		"a stop":             {func() error { return context.Canceled }, context.Canceled},
	} {
		err := pme.Guard(c.fn)
		if !errors.Is(err, c.want) || err != nil && bytes.Contains([]byte(err.Error()), []byte("secret")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPlainFileReads compares the ways to read a plain file.
func TestPlainFileReads(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[0], 84)
	f, err := open(s.bytes, k.keys(), strict)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plainFile(f, s.bytes, []int{0, 7})
	if err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if n, err := p.WriteTo(&whole); err != nil || n != p.Size() {
		t.Fatal(n, err)
	}
	if err := iotest.TestReader(io.NewSectionReader(p, 0, p.Size()), whole.Bytes()); err != nil {
		t.Error(err)
	}
	if _, err := p.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(struct{ io.ReadSeeker }{p}, whole.Bytes()); err != nil {
		t.Error(err)
	}
}

// TestNoAllocationPerPage compares what sealing and unsealing of one page and of hundreds allocate.
func TestNoAllocationPerPage(t *testing.T) {
	rec := column(testRecord(newRand(85), 20, ""), 0)
	plain := encode(t, rec)
	k := newKeyring(1)
	measure := func(pages int) (seal, unseal float64) {
		var out bytes.Buffer
		w, err := pme.NewFileWriter(&out, pme.FileConfig{
			Template: plain, AADPrefix: testPrefix, Footer: k.footer, ColumnKey: func(pme.Leaf) pme.NamedKey { return k.columns[0] },
		})
		if err != nil {
			t.Fatal(err)
		}
		in, dst := manyPages(plain, pages), make([]byte, 0, 1<<20)
		var c *pme.SealedColumn
		seal = testing.AllocsPerRun(5, func() {
			if c, err = w.SealPlain(0, 0, in, dst); err != nil {
				t.Fatal(err)
			}
		})
		if _, err := w.AppendRowGroup([]*pme.SealedColumn{c}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := open(out.Bytes(), k.keys(), strict)
		if err != nil {
			t.Fatal(err)
		}
		sealed := chunkBytes(t, f, out.Bytes(), 0, 0)
		work := make([]byte, len(sealed))
		unseal = testing.AllocsPerRun(5, func() {
			copy(work, sealed)
			if _, err := f.UnsealChunk(0, 0, work); err != nil {
				t.Fatal(err)
			}
		})
		return seal, unseal
	}
	seal1, unseal1 := measure(1)
	seal500, unseal500 := measure(500)
	if seal500 > seal1+4 || unseal500 > unseal1+4 {
		t.Errorf("1 page: %v and %v allocations, 500 pages: %v and %v", seal1, unseal1, seal500, unseal500)
	}
}
