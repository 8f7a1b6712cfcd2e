package pme_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

// maxMemory bounds what opening a hostile file may allocate in all, which bounds the peak.
const maxMemory = 64 << 20

// allocated returns how many bytes fn allocates in all.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// wantSmall opens a file with little memory and asks for an error of one of the codes.
func wantSmall(t *testing.T, name string, b []byte, keys pme.DataKeys, codes ...fault.Code) {
	t.Helper()
	var err error
	n := allocated(func() { _, err = pme.OpenFooter(b, int64(len(b)), keys, strict) })
	ok := len(codes) == 0 && err == nil
	for _, c := range codes {
		ok = ok || errors.Is(err, c)
	}
	if !ok {
		t.Errorf("%s: want %v, got %v", name, codes, err)
	}
	if n > maxMemory {
		t.Errorf("%s: %d MiB were allocated", name, n>>20)
	}
	t.Logf("%-34s %6d KiB, %v", name, n>>10, err)
}

// element writes a schema element.
func element(e *pme.Encoder, name string, children int) {
	e.Elem()
	if children == 0 {
		e.Int(1, pme.TI32, 2)
		e.Int(3, pme.TI32, 0)
	}
	e.Str(4, name)
	if children != 0 {
		e.Int(5, pme.TI32, int64(children))
	}
	e.End()
}

// hostileFooter is a FileMetaData with a schema of its own.
func hostileFooter(elements int, schema func(e *pme.Encoder)) []byte {
	var e pme.Encoder
	e.Int(1, pme.TI32, 2)
	e.List(2, pme.TStruct, elements)
	schema(&e)
	e.Int(3, pme.TI64, 0)
	e.List(4, pme.TStruct, 0)
	e.End()
	return e.Bytes()
}

func TestD13_HostileFooters(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 61)
	f, err := pme.Forge(s.bytes, k.keys(), testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	nested := func(depth int) []byte {
		var e pme.Encoder
		e.Int(1, pme.TI32, 2)
		for range depth {
			e.Begin(40)
		}
		for range depth + 1 {
			e.End()
		}
		return e.Bytes()
	}
	var hugeList, hugeString, emptyGroups, manyValues pme.Encoder
	hugeList.List(2, pme.TStruct, math.MaxInt32)
	hugeString.Header(6, pme.TBinary)
	hugeString.Raw(binary.AppendUvarint(nil, 1<<40))
	emptyGroups.List(2, pme.TStruct, 2)
	element(&emptyGroups, "root", 1)
	element(&emptyGroups, "a", 0)
	emptyGroups.List(4, pme.TStruct, 15<<20)
	emptyGroups.Raw(make([]byte, 15<<20))
	emptyGroups.List(5, pme.TStruct, 1)
	emptyGroups.Elem()
	emptyGroups.Str(1, "coldframe.key_commitments")
	emptyGroups.Str(2, base64.StdEncoding.EncodeToString(make([]byte, 32)))
	emptyGroups.End()
	emptyGroups.End()
	manyValues.Int(1, pme.TI32, 2)
	manyValues.List(5, pme.TStruct, 1_000_000)
	manyValues.Raw(make([]byte, 1_000_001))

	for _, c := range []struct {
		name   string
		footer []byte
		codes  []fault.Code
	}{
		{"a million columns, declared", hostileFooter(1_000_001, func(e *pme.Encoder) { element(e, "root", 1_000_000) }), []fault.Code{fault.TooLarge, fault.NotAuthentic}},
		{"a million columns", hostileFooter(1_000_001, func(e *pme.Encoder) {
			element(e, "root", 1_000_000)
			for range 1_000_000 {
				element(e, "c", 0)
			}
		}), []fault.Code{fault.TooLarge}},
		{"as many columns as are allowed, +1", hostileFooter(pme.MaxOrdinal+3, func(e *pme.Encoder) {
			element(e, "root", pme.MaxOrdinal+2)
			for range pme.MaxOrdinal + 2 {
				element(e, strings.Repeat("c", 400), 0)
			}
		}), []fault.Code{fault.TooLarge}},
		{"as many deep columns as are allowed", hostileFooter(pme.MaxOrdinal+1+31, func(e *pme.Encoder) {
			element(e, "root", 1)
			for range 29 {
				element(e, strings.Repeat("g", 1000), 1)
			}
			element(e, "g", pme.MaxOrdinal+1)
			for range pme.MaxOrdinal + 1 {
				element(e, strings.Repeat("c", 400), 0)
			}
		}), []fault.Code{fault.NotAuthentic}}, // well formed, but for the commitments
		{"columns nested 5,000 deep", hostileFooter(5002, func(e *pme.Encoder) {
			for range 5001 {
				element(e, "g", 1)
			}
			element(e, "leaf", 0)
		}), []fault.Code{fault.TooLarge}},
		{"2^31-1 children", hostileFooter(2, func(e *pme.Encoder) { element(e, "root", math.MaxInt32); element(e, "a", 0) }), []fault.Code{fault.TooLarge}},
		{"-1 children", hostileFooter(2, func(e *pme.Encoder) { element(e, "root", -1); element(e, "a", 0) }), []fault.Code{fault.TooLarge}},
		{"structs nested 5,000 deep", nested(5000), []fault.Code{fault.TooLarge}},
		{"a list of 2^31-1", hugeList.Bytes(), []fault.Code{fault.TooLarge, fault.NotAuthentic}},
		{"a string of 1 TiB", hugeString.Bytes(), []fault.Code{fault.TooLarge, fault.NotAuthentic}},
		{"15 million row groups", emptyGroups.Bytes(), []fault.Code{fault.TooLarge}},
		{"a million key-value pairs", manyValues.Bytes(), []fault.Code{fault.TooLarge}},
		{"empty", []byte{0}, []fault.Code{fault.NotAuthentic}},
		{"nothing", nil, []fault.Code{fault.NotAuthentic}},
	} {
		f.Footer = c.footer
		wantSmall(t, c.name, f.Seal(testPrefix), k.keys(), c.codes...)
	}
}

// TestD13_ClearParts edits what no tag protects: the footer's length and the crypto header.
func TestD13_ClearParts(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[1], 62)
	for _, n := range []uint32{0, 1, 27, 1 << 24, 1 << 30, 1<<31 - 1, 1<<32 - 1, uint32(len(s.bytes))} {
		b := bytes.Clone(s.bytes)
		binary.LittleEndian.PutUint32(b[len(b)-8:], n)
		wantSmall(t, "a footer's length", b, k.keys(), fault.NotAuthentic, fault.TooLarge)
	}
	f, err := pme.Forge(s.bytes, k.keys(), testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	g := *f
	g.KeyMetadata = bytes.Repeat([]byte(" "), 8<<20)
	wantSmall(t, "key metadata of 8 MiB", g.Seal(testPrefix), k.keys(), fault.TooLarge)
	g = *f
	g.Unique = make([]byte, 8<<20)
	wantSmall(t, "an identifier of 8 MiB", g.Seal(testPrefix), k.keys(), fault.NotAuthentic, fault.TooLarge)
	wantSmall(t, "a prefix of 8 MiB", f.Seal(make([]byte, 8<<20)), k.keys(), fault.NotAuthentic, fault.TooLarge)
	if _, err := pme.TailSize([]byte("\xff\xff\xff\x7fPARE"), 1<<40, strict); !errors.Is(err, fault.TooLarge) {
		t.Errorf("a footer of 2 GiB: %v", err)
	}
	if _, err := pme.OpenFooter(s.bytes[len(s.bytes)-100:], int64(len(s.bytes)), k.keys(), strict); !errors.Is(err, fault.Incomplete) {
		t.Errorf("a tail cut short by its reader: %v", err)
	}
}

// hostilePage is a page header and a small page under it.
type hostilePage struct {
	name   string
	kind   int64
	raw    int64
	values int64
	levels int64
	pad    int // bytes of a long field in the header
	want   fault.Code
}

func (h hostilePage) encode() []byte {
	body := bytes.Repeat([]byte{1}, 64)
	var e pme.Encoder
	e.Int(1, pme.TI32, h.kind)
	e.Int(2, pme.TI32, h.raw)
	e.Int(3, pme.TI32, int64(len(body)))
	switch h.kind {
	case 0:
		e.Begin(5)
		e.Int(1, pme.TI32, h.values)
		e.End()
	case 2:
		e.Begin(7)
		e.Int(1, pme.TI32, h.values)
		e.End()
	case 3:
		e.Begin(8)
		e.Int(1, pme.TI32, h.values)
		e.Int(5, pme.TI32, h.levels)
		e.Int(6, pme.TI32, h.levels)
		e.End()
	}
	if h.pad > 0 {
		e.Str(20, strings.Repeat("x", h.pad))
	}
	e.End()
	e.Raw(body)
	return e.Bytes()
}

// TestD13_HostilePages has an insider seal pages whose headers claim too much; the insider's writer has no limits.
func TestD13_HostilePages(t *testing.T) {
	rec := column(testRecord(newRand(63), 20, ""), 0)
	template := encode(t, rec, parquet.WithCompression(compress.Codecs.Zstd))
	k := newKeyring(1)
	for _, h := range []hostilePage{
		{name: "2 GiB uncompressed", raw: math.MaxInt32, values: 20, want: fault.TooLarge},
		{name: "just beyond the limit", raw: pme.DefaultMaxPage + 1, values: 20, want: fault.TooLarge},
		{name: "levels longer than the page, v2", kind: 3, raw: 100, values: 20, levels: 60, want: fault.NotAuthentic},
		{name: "a dictionary of 2^31-1 values", kind: 2, raw: 100, values: math.MaxInt32, want: fault.TooLarge},
		{name: "2^31-1 values", raw: 100, values: math.MaxInt32, want: fault.TooLarge},
		{name: "an index page", kind: 1, raw: 100, values: 20, want: fault.NotAuthentic},
		{name: "a header of 2 MiB", raw: 100, values: 20, pad: 2 << 20, want: fault.TooLarge},
	} {
		unsealed, chunk := forgeChunk(t, k, template, h.encode(), h.kind == 2)
		var err error
		n := allocated(func() { _, err = unsealed.UnsealChunk(0, 0, chunk) })
		if !errors.Is(err, h.want) {
			t.Errorf("%s: want %s, got %v", h.name, h.want, err)
		}
		if n > 4<<20 {
			t.Errorf("%s: %d MiB were allocated", h.name, n>>20)
		}
	}
	// The writer refuses what the reader would.
	w, err := pme.NewFileWriter(&bytes.Buffer{}, pme.FileConfig{
		Template: template, Footer: k.footer, ColumnKey: func(pme.Leaf) pme.NamedKey { return k.columns[0] },
	})
	if err != nil {
		t.Fatal(err)
	}
	plain := pme.PlainWithChunk(template, hostilePage{raw: pme.DefaultMaxPage + 1, values: 20}.encode(), 20)
	if _, err := w.SealPlain(0, 0, plain, nil); !errors.Is(err, fault.TooLarge) {
		t.Errorf("writing a page beyond the limit: %v", err)
	}
}

// TestD13_ManyLargePages seals a chunk of pages that are each within the limit of a page, and together far above that of a chunk.
func TestD13_ManyLargePages(t *testing.T) {
	rec := column(testRecord(newRand(64), 20, ""), 0)
	template := encode(t, rec, parquet.WithCompression(compress.Codecs.Zstd))
	k := newKeyring(1)
	seal := func(pages int) error {
		w, err := pme.NewFileWriter(&bytes.Buffer{}, pme.FileConfig{
			Template: template, Footer: k.footer, ColumnKey: func(pme.Leaf) pme.NamedKey { return k.columns[0] },
		})
		if err != nil {
			t.Fatal(err)
		}
		page := hostilePage{raw: 32 << 20, values: 1}.encode()
		_, err = w.SealPlain(0, 0, pme.PlainWithChunk(template, bytes.Repeat(page, pages), int64(pages)), nil)
		return err
	}
	if err := seal(pme.MaxChunkBytes / (32 << 20)); err != nil {
		t.Errorf("as much as a chunk may hold: %v", err)
	}
	if err := seal(pme.MaxChunkBytes/(32<<20) + 1); !errors.Is(err, fault.TooLarge) {
		t.Errorf("a page more: %v", err)
	}
}

// forgeChunk is a file of one chunk whose only page is sealed as it is, whatever it claims.
func forgeChunk(t *testing.T, k *keyring, template, page []byte, dictionary bool) (*pme.File, []byte) {
	t.Helper()
	return forge(t, k, template, page, dictionary, 0)
}

// forgePadded pads the header of the page to a length with zeros.
func forgePadded(t *testing.T, k *keyring, template, page []byte, header int) (*pme.File, []byte) {
	t.Helper()
	return forge(t, k, template, page, false, header)
}

func forge(t *testing.T, k *keyring, template, page []byte, dictionary bool, header int) (*pme.File, []byte) {
	t.Helper()
	var out bytes.Buffer
	w, err := pme.NewFileWriter(&out, pme.FileConfig{
		Template: template, AADPrefix: testPrefix, Footer: k.footer, MaxPage: math.MaxInt32,
		ColumnKey: func(pme.Leaf) pme.NamedKey { return k.columns[0] },
	})
	if err != nil {
		t.Fatal(err)
	}
	c := w.ForgeColumn(pme.PlainWithChunk(template, page, 20), page, dictionary, header)
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
	return f, chunkBytes(t, f, out.Bytes(), 0, 0)
}
