package pme_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"coldframe/columnar/pme"
	"coldframe/internal/fault"
)

func TestRoundTrip(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.name, func(t *testing.T) {
			k := newKeyring(testSchema.NumFields())
			s, recs := sealShape(t, k, sh, 7)
			got, err := readAll(s.bytes, k.keys(), strict, nil)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, recs, all())
		})
	}
}

func TestProjection(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, recs := sealShape(t, k, shapes()[0], 8)
	for _, columns := range [][]int{{0}, {7}, {2, 6, 8}, {6, 7}} {
		got, err := readAll(s.bytes, k.keys(), strict, columns)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, recs, columns)
	}
}

func TestHiddenColumns(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, recs := sealShape(t, k, shapes()[0], 9)
	k.without[3], k.without[7] = true, true
	columns := []int{0, 1, 2, 4, 5, 6, 8}
	got, err := readAll(s.bytes, k.keys(), strict, columns)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, recs, columns)
	if _, err := readAll(s.bytes, k.keys(), strict, []int{3}); !errors.Is(err, fault.Forbidden) {
		t.Fatalf("a hidden column: %v", err)
	}
}

func TestReportedHashes(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	s, _ := sealShape(t, k, shapes()[0], 10)
	f, err := open(s.bytes, k.keys(), strict)
	if err != nil {
		t.Fatal(err)
	}
	if want := f.NumRowGroups() * len(f.Leaves()); len(s.chunks) != want || want != 22 {
		t.Fatalf("%d chunks, want %d", len(s.chunks), want)
	}
	for _, c := range s.chunks {
		off, n, err := f.Range(c.RowGroup, c.Leaf)
		if err != nil || off != c.Offset || n != c.Length {
			t.Fatalf("chunk %+v lies at %d, %d (%v)", c, off, n, err)
		}
		if sha256.Sum256(s.bytes[off:off+n]) != c.SHA256 {
			t.Fatalf("chunk %+v has another hash", c)
		}
	}
	end := s.tail.Offset + s.tail.Length
	if end != int64(len(s.bytes)) || sha256.Sum256(s.bytes[s.tail.Offset:]) != s.tail.SHA256 {
		t.Fatal("the tail is not the end of the file")
	}
	if !bytes.HasPrefix(s.bytes, []byte("PARE")) || !bytes.HasSuffix(s.bytes, []byte("PARE")) {
		t.Fatal("no magic")
	}
}

func TestColumnWithoutKeyIsNotWritten(t *testing.T) {
	k := newKeyring(testSchema.NumFields())
	empty := testRecord(nil, 0, "")
	_, err := pme.NewFileWriter(&bytes.Buffer{}, pme.FileConfig{
		Template: encode(t, empty), Footer: k.footer,
		ColumnKey: func(l pme.Leaf) pme.NamedKey {
			if l.Column == 4 {
				return pme.NamedKey{}
			}
			return k.columns[l.Column]
		},
	})
	if !errors.Is(err, fault.Policy) {
		t.Fatalf("want policy, got %v", err)
	}
}

// TestNothingInTheClear plants texts whose minimum and maximum are long, which is what made arrow-go's own encryption leak.
func TestNothingInTheClear(t *testing.T) {
	const planted = "PLANTED-SECRET-"
	k := newKeyring(testSchema.NumFields())
	long := ""
	for range 400 {
		long += planted
	}
	for _, sh := range shapes()[:4] {
		recs := []arrow.RecordBatch{testRecord(newRand(3), 200, long)}
		s := seal(t, k, recs, nil, sh.opts...)
		for _, word := range []string{planted, "token", "price", "ARROW:schema", "coldframe test", "where", "amount"} {
			if bytes.Contains(s.bytes, []byte(word)) {
				t.Fatalf("%s: %q stands in the file", sh.name, word)
			}
		}
	}
}
