package pme_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

// counter is a cipher that remembers every (key, nonce) pair that sealed something.
type counter struct {
	mu     sync.Mutex
	pairs  map[[sha256.Size]byte]bool
	keys   map[[sha256.Size]byte]bool
	twice  int
	sealed int
}

type countingAEAD struct {
	cipher.AEAD
	id [sha256.Size]byte
	c  *counter
}

func (c *counter) make(key []byte) (cipher.AEAD, error) {
	a, err := pme.AESGCM(key)
	id := sha256.Sum256(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[id] = true
	return countingAEAD{AEAD: a, id: id, c: c}, err
}

func (a countingAEAD) Seal(dst, nonce, plaintext, aad []byte) []byte {
	pair := sha256.Sum256(append(a.id[:], nonce...))
	a.c.mu.Lock()
	a.c.sealed++
	if a.c.pairs[pair] {
		a.c.twice++
	}
	a.c.pairs[pair] = true
	a.c.mu.Unlock()
	return a.AEAD.Seal(dst, nonce, plaintext, aad)
}

// TestD16_NoNonceTwice writes 10,000 files with the same wrapping keys and looks at every key and nonce.
func TestD16_NoNonceTwice(t *testing.T) {
	const files = 10_000
	c := &counter{pairs: map[[sha256.Size]byte]bool{}, keys: map[[sha256.Size]byte]bool{}}
	defer pme.SwapAEAD(c.make)()
	rec := column(testRecord(newRand(41), 20, ""), 0)
	template, plain := encode(t, rec), encode(t, rec)
	k := newKeyring(1)
	for range files {
		w, err := pme.NewFileWriter(&bytes.Buffer{}, pme.FileConfig{
			Template: template, AADPrefix: testPrefix, Footer: k.footer, NoFiller: true,
			ColumnKey: func(pme.Leaf) pme.NamedKey { return k.columns[0] },
		})
		if err != nil {
			t.Fatal(err)
		}
		for g := range 2 {
			s, err := w.SealPlain(g, 0, plain, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.AppendRowGroup([]*pme.SealedColumn{s}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d modules under %d keys", c.sealed, len(c.keys))
	if c.twice != 0 || len(c.pairs) != c.sealed {
		t.Errorf("%d pairs of key and nonce came twice", c.twice)
	}
	if len(c.keys) != 2*files {
		t.Errorf("%d data keys for %d files of a footer and a column", len(c.keys), files)
	}
	if c.sealed < files*(2*3+1) {
		t.Errorf("only %d modules were counted", c.sealed)
	}
}

// TestD16_ParallelSealing seals many columns of one file at once, and chunks of one column too.
func TestD16_ParallelSealing(t *testing.T) {
	c := &counter{pairs: map[[sha256.Size]byte]bool{}, keys: map[[sha256.Size]byte]bool{}}
	defer pme.SwapAEAD(c.make)()
	rec := testRecord(newRand(42), 500, "")
	k := newKeyring(testSchema.NumFields())
	var out bytes.Buffer
	w, err := pme.NewFileWriter(&out, pme.FileConfig{
		Template: encode(t, testRecord(nil, 0, "")), AADPrefix: testPrefix, Footer: k.footer,
		ColumnKey: func(l pme.Leaf) pme.NamedKey { return k.columns[l.Column] },
	})
	if err != nil {
		t.Fatal(err)
	}
	const groups = 4
	columns := make([][]*pme.SealedColumn, groups)
	var wg sync.WaitGroup
	for g := range groups {
		columns[g] = make([]*pme.SealedColumn, rec.NumCols())
		for i := range columns[g] {
			plain := encode(t, column(rec, i))
			wg.Go(func() {
				s, err := w.SealPlain(g, i, plain, nil)
				if err != nil {
					t.Error(err)
				}
				columns[g][i] = s
			})
		}
	}
	wg.Wait()
	for _, g := range columns {
		if _, err := w.AppendRowGroup(g); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if c.twice != 0 {
		t.Errorf("%d pairs of key and nonce came twice", c.twice)
	}
	got, err := readAll(out.Bytes(), k.keys(), strict, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []arrow.RecordBatch{rec, rec, rec, rec}, all())
}

func TestD16_KeyLimits(t *testing.T) {
	for name, c := range map[string]struct {
		modules, bytes uint64
		size           int
		ok             bool
	}{
		"last module":     {pme.MaxKeyModules - 1, 0, 1, true},
		"one module more": {pme.MaxKeyModules, 0, 1, false},
		"last byte":       {0, pme.MaxKeyBytes - 100, 100, true},
		"one byte more":   {0, pme.MaxKeyBytes - 100, 101, false},
	} {
		err := pme.SpendKey(c.modules, c.bytes, c.size)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOrdinalLimits asks for one row group and one page more than the format can number.
func TestOrdinalLimits(t *testing.T) {
	rec := column(testRecord(newRand(43), 20, ""), 0)
	k := newKeyring(1)
	w, err := pme.NewFileWriter(&bytes.Buffer{}, pme.FileConfig{
		Template: encode(t, rec), Footer: k.footer, ColumnKey: func(pme.Leaf) pme.NamedKey { return k.columns[0] },
	})
	if err != nil {
		t.Fatal(err)
	}
	plain := encode(t, rec)
	if _, err := w.SealPlain(pme.MaxOrdinal, 0, plain, nil); err != nil {
		t.Errorf("the last row group: %v", err)
	}
	if _, err := w.SealPlain(pme.MaxOrdinal+1, 0, plain, nil); !errors.Is(err, fault.TooLarge) {
		t.Errorf("one row group more: %v", err)
	}
	for pages, ok := range map[int]bool{pme.MaxOrdinal + 1: true, pme.MaxOrdinal + 2: false} {
		_, err := w.SealPlain(0, 0, manyPages(plain, pages), nil)
		if (err == nil) != ok || err != nil && !errors.Is(err, fault.TooLarge) {
			t.Errorf("%d pages: %v", pages, err)
		}
	}
}

// manyPages is a plain file like plain, of one column of int64, whose chunk is n pages of one value.
func manyPages(plain []byte, n int) []byte {
	var page pme.Encoder
	page.Int(1, pme.TI32, 0)
	page.Int(2, pme.TI32, 8)
	page.Int(3, pme.TI32, 8)
	page.Begin(5)
	for id, v := range []int64{1, 0, 3, 3} {
		page.Int(int16(id+1), pme.TI32, v)
	}
	page.End()
	page.End()
	page.Raw(make([]byte, 8))
	pages := bytes.Repeat(page.Bytes(), n)
	return pme.PlainWithChunk(plain, pages, int64(n))
}

func TestPadme(t *testing.T) {
	last := int64(0)
	for n := int64(0); n < 1<<17; n++ {
		p := pme.Padme(n)
		if p < n || float64(p-n) > 0.12*float64(n) || p < last || pme.Padme(p) != p {
			t.Fatalf("%d is filled up to %d", n, p)
		}
		last = p
	}
	// From the definition: 1000 has e = 9 and s = 4, so its last 5 bits become zero; 2^20+1 has e = 20 and s = 5.
	for n, want := range map[int64]int64{9: 10, 1000: 1024, 1 << 20: 1 << 20, 1<<20 + 1: 1<<20 + 1<<15} {
		if got := pme.Padme(n); got != want {
			t.Errorf("%d is filled up to %d, want %d", n, got, want)
		}
	}
}

// TestFiller looks at the sizes of files of different numbers of rows.
func TestFiller(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	sizes := map[int]bool{}
	var fillers [][]byte
	for rows := 1000; rows < 1020; rows++ {
		rec := testRecord(newRand(44), rows, "")
		s := seal(t, k, []arrow.RecordBatch{rec}, nil)
		rec.Release()
		if n := int64(len(s.bytes)); pme.Padme(n) != n {
			t.Fatalf("a file of %d bytes", n)
		}
		last := s.chunks[len(s.chunks)-1]
		fillers = append(fillers, s.bytes[last.Offset+last.Length:s.tail.Offset])
		sizes[len(s.bytes)] = true
	}
	if len(sizes) > 4 {
		t.Errorf("20 files of nearly the same rows have %d sizes", len(sizes))
	}
	for i, a := range fillers {
		for _, b := range fillers[:i] {
			if len(a) >= 16 && len(b) >= 16 && bytes.Equal(a[:16], b[:16]) {
				t.Fatal("two files have the same filler")
			}
		}
	}
}
